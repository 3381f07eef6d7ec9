"""Options of sockets: setsockopt and getsockopt (socket(7), ip(7), ipv6(7), tcp(7))."""

from __future__ import annotations

import struct
from functools import cache

from utraced.syscalls.basics import MASK_32, Enum, Fd, Int, Table, address_text, enum_text, signed_32
from utraced.syscalls.call import Call
from utraced.syscalls.kinds import Kind
from utraced.syscalls.quote import quote_bytes
from utraced.syscalls.signature import Signature
from utraced.syscalls.tables.network import (
    ALG_OPTIONS,
    IP_OPTIONS,
    IPV6_OPTIONS,
    NETLINK_OPTIONS,
    PACKET_OPTIONS,
    RAW_OPTIONS,
    SOCKET_LEVELS,
    SOCKET_OPTIONS,
    TCP_OPTIONS,
    TLS_OPTIONS,
    UDP_OPTIONS,
    XDP_OPTIONS,
)

from .seccomp import Program
from .sockaddr import FilledLength, in4_text, in6_text, lengths

SOL_IP, SOL_SOCKET, SOL_TCP, SOL_UDP, SOL_IPV6 = 0, 1, 6, 17, 41
SOL_RAW, SOL_PACKET, SOL_NETLINK, SOL_ALG, SOL_TLS, SOL_XDP = 255, 263, 270, 279, 282, 283
SO_ATTACH_FILTER = 26
IN_MREQ = 8
IN6_MREQ = 20
TPACKET_REQ = 16

_TABLES: dict[int, tuple[Table, str]] = {
    SOL_SOCKET: (SOCKET_OPTIONS, "SO_???"),
    SOL_IP: (IP_OPTIONS, "IP_???"),
    SOL_IPV6: (IPV6_OPTIONS, "IPV6_???"),
    SOL_TCP: (TCP_OPTIONS, "TCP_???"),
    SOL_UDP: (UDP_OPTIONS, "UDP_???"),
    SOL_RAW: (RAW_OPTIONS, "RAW_???"),
    SOL_PACKET: (PACKET_OPTIONS, "PACKET_???"),
    SOL_NETLINK: (NETLINK_OPTIONS, "NETLINK_???"),
    SOL_ALG: (ALG_OPTIONS, "ALG_???"),
    SOL_TLS: (TLS_OPTIONS, "TLS_???"),
    SOL_XDP: (XDP_OPTIONS, "XDP_???"),
}
_REHASH = ((255, "SOCK_TXREHASH_DEFAULT"), (0, "SOCK_TXREHASH_DISABLED"), (1, "SOCK_TXREHASH_ENABLED"))

_NUMBERS = frozenset(
    f"SO_{name}"
    for name in (
        "DEBUG", "REUSEADDR", "DONTROUTE", "BROADCAST", "SNDBUF", "RCVBUF", "KEEPALIVE", "OOBINLINE", "NO_CHECK",
        "PRIORITY", "BSDCOMPAT", "REUSEPORT", "PASSCRED", "RCVLOWAT", "SNDLOWAT", "DETACH_FILTER", "TIMESTAMP_OLD",
        "ACCEPTCONN", "SNDBUFFORCE", "RCVBUFFORCE", "PASSSEC", "TIMESTAMPNS_OLD", "MARK", "TIMESTAMPING_OLD",
        "RXQ_OVFL", "WIFI_STATUS", "PEEK_OFF", "NOFCS", "LOCK_FILTER", "SELECT_ERR_QUEUE", "BUSY_POLL",
        "INCOMING_CPU", "CNX_ADVICE", "INCOMING_NAPI_ID", "ZEROCOPY", "TIMESTAMP_NEW", "TIMESTAMPNS_NEW",
        "TIMESTAMPING_NEW", "DETACH_REUSEPORT_BPF", "PREFER_BUSY_POLL", "BUSY_POLL_BUDGET", "RESERVE_MEM", "RCVMARK",
    )
)  # fmt: skip
"""Options of SOL_SOCKET of which strace knows that they are an int however long the program says they are."""
_MEMBERSHIPS_4 = frozenset({"IP_ADD_MEMBERSHIP", "IP_DROP_MEMBERSHIP"})
_MEMBERSHIPS_6 = frozenset({"IPV6_ADD_MEMBERSHIP", "IPV6_DROP_MEMBERSHIP", "IPV6_JOIN_ANYCAST", "IPV6_LEAVE_ANYCAST"})
_FILTERS = frozenset({"SO_ATTACH_FILTER", "SO_ATTACH_REUSEPORT_CBPF"})
_RINGS = frozenset({"PACKET_RX_RING", "PACKET_TX_RING"})
_NOT_FOLLOWED = frozenset({"MCAST_JOIN_GROUP", "MCAST_LEAVE_GROUP", "PACKET_ADD_MEMBERSHIP", "PACKET_DROP_MEMBERSHIP"})
"""Structures with another address in them, shown by their own."""
_PROGRAM = Program()


@cache
def _names(level: int) -> dict[int, str]:
    return dict(reversed(_TABLES[level][0])) if level in _TABLES else {}


def _name(call: Call) -> str:
    """Return the name of the call's option, empty where it has none."""
    return _names(call.args[1] & MASK_32).get(call.args[2] & MASK_32, "")


class Option(Kind):
    """An option of the level that the argument before it names; ``get``: in getsockopt."""

    __slots__ = ("get",)

    def __init__(self, *, get: bool) -> None:
        super().__init__()
        self.get = get

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        level, number = call.args[1] & MASK_32, value & MASK_32
        known = _TABLES.get(level)
        if known is None:
            return str(signed_32(value))
        if self.get and level == SOL_SOCKET and number == SO_ATTACH_FILTER:
            return "SO_GET_FILTER"
        return enum_text(number, *known)


def _number_text(data: bytes) -> str:
    return f"[{signed_32(int.from_bytes(data[:4], 'little'))}]"


def _rehash_text(data: bytes) -> str:
    number = int.from_bytes(data[:4], "little")
    name = dict(_REHASH).get(number)
    return f"[{name}]" if name else f"[{number} /* SOCK_TXREHASH_??? */]"


def _structure_text(name: str, data: bytes) -> str | None:
    """Return an option of its own form from all its bytes; None where it is too short or of a common form."""
    if name == "SO_LINGER" and len(data) >= 8:
        on, seconds = struct.unpack_from("<ii", data)
        return f"{{l_onoff={on}, l_linger={seconds}}}"
    if name == "SO_TXREHASH" and len(data) >= 4:
        return _rehash_text(data)
    if name in _MEMBERSHIPS_4 and len(data) >= IN_MREQ:
        return f"{{imr_multiaddr={in4_text(data[:4])}, imr_interface={in4_text(data[4:8])}}}"
    if name in _MEMBERSHIPS_6 and len(data) >= IN6_MREQ:
        group = f'inet_pton(AF_INET6, "{in6_text(data[:16])}", &ipv6mr_multiaddr)'
        return f"{{{group}, ipv6mr_interface={int.from_bytes(data[16:20], 'little')}}}"
    if name in _RINGS and len(data) >= TPACKET_REQ:
        size, count, frame, frames = struct.unpack_from("<4I", data)
        return f"{{tp_block_size={size}, tp_block_nr={count}, tp_frame_size={frame}, tp_frame_nr={frames}}}"
    return None


_SIZES = dict.fromkeys(_MEMBERSHIPS_4, IN_MREQ) | dict.fromkeys(_MEMBERSHIPS_6, IN6_MREQ)
_SIZES |= dict.fromkeys(_RINGS, TPACKET_REQ) | {"SO_LINGER": 8, "SO_TXREHASH": 4}


class Value(Kind):
    """What an option is set to; its length in bytes is the last argument."""

    __slots__ = ()
    reads = True
    string = True

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        length = signed_32(call.args[4])
        if not value or length <= 0:
            return address_text(value)
        name = _name(call)
        if name in _FILTERS:
            return _PROGRAM.render(value, call) if length == _PROGRAM.size(call) else hex(value)
        if name in _NOT_FOLLOWED:
            return hex(value)
        wanted = _SIZES.get(name)
        number = name in _NUMBERS or call.args[1] & MASK_32 == SOL_NETLINK
        if wanted is None and (number or length == 4):
            wanted = 4
        if wanted is not None:
            fits = length == wanted if name in _RINGS else length >= wanted
            data = call.entered.read(value, wanted) if fits else b""
            if len(data) < wanted:
                return hex(value)
            return _structure_text(name, data) or _number_text(data)
        shown = min(length, call.limit)
        data = call.entered.read(value, shown)
        return quote_bytes(data, truncated=length > shown) if len(data) == shown else hex(value)


def _credentials_text(data: bytes) -> str:
    """Return ``struct ucred``, as many members of it as there was room for."""
    names = ("pid", "uid", "gid")
    numbers = struct.unpack_from(f"<{min(len(data) // 4, 3)}i", data)
    return f"{{{', '.join([f'{name}={number}' for name, number in zip(names, numbers, strict=False)])}}}"


class FilledValue(Kind):
    """What an option is; the last argument points to its length before and after the call."""

    __slots__ = ()
    reads = True
    string = True

    def __init__(self) -> None:
        super().__init__(out=True)

    def read_entry(self, value: int, call: Call) -> None:
        """See ``Kind.read_entry``."""
        if call.args[4]:
            call.entered.read(call.args[4], 4)

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        found = lengths(call.args[4], call) if value and not call.errno else None
        length = found[1] if found is not None else 0
        if length <= 0:
            return address_text(value)
        name = _name(call)
        if name == "SO_LINGER" and length < 8:
            data = call.left.read(value, 4)
            return f"{{l_onoff={signed_32(int.from_bytes(data, 'little'))}}}" if len(data) == 4 else hex(value)
        if name == "SO_PEERCRED" and length >= 4:
            size = min(length // 4, 3) * 4
            data = call.left.read(value, size)
            return _credentials_text(data) if len(data) == size else hex(value)
        if call.args[1] & MASK_32 == SOL_NETLINK and length >= 4:
            count = length // 4
            shown = min(count, call.limit)
            data = call.left.read(value, 4 * shown)
            if len(data) < 4 * shown:
                return hex(value)
            numbers = [str(number) for number in struct.unpack(f"<{shown}i", data)]
            return f"[{', '.join(numbers + (['...'] if count > shown else []))}]"
        wanted = _SIZES.get(name) if name in {"SO_LINGER", "SO_TXREHASH"} else None
        if length == 4 or (name in _NUMBERS and length >= 4):
            wanted = 4
        if wanted is not None:
            data = call.left.read(value, wanted)
            if len(data) < wanted:
                return hex(value)
            return _structure_text(name, data) or _number_text(data)
        shown = min(length, call.limit)
        data = call.left.read(value, shown)
        return quote_bytes(data, truncated=length > shown) if len(data) == shown else hex(value)


class OptionLength(FilledLength):
    """The length of an option, read whether or not there is room for the option."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(4)


_FIRST = (Fd(), Enum(SOCKET_LEVELS, "SOL_??"))

SIGNATURES = {
    "setsockopt": Signature(*_FIRST, Option(get=False), Value(), Int()),
    "getsockopt": Signature(*_FIRST, Option(get=True), FilledValue(), OptionLength()),
}
