"""Addresses of sockets: ``struct sockaddr`` of the common families, given and filled in.

Interfaces are shown by number: their names are not the caller's to tell.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from utraced.syscalls.basics import address_text, enum_text, hex_text, signed_32
from utraced.syscalls.call import Call
from utraced.syscalls.kinds import Kind
from utraced.syscalls.quote import quote_bytes
from utraced.syscalls.tables.network import (
    ADDRESS_FAMILIES,
    ETHERNET_PROTOCOLS,
    HARDWARE_TYPES,
    PACKET_TYPES,
    VSOCK_ADDRESSES,
)

AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_VSOCK = 1, 2, 10, 16, 17, 40
LONGEST = 128
"""Of ``struct sockaddr_storage``, the longest there is."""
UNIX_PATH = 108

_NETLINK = struct.Struct("<HII")
_PACKET = struct.Struct("<HiHBB8s")
_VSOCK = struct.Struct("<HIII")


def in4_text(data: bytes) -> str:
    """Return four bytes of an address as ``inet_addr("127.0.0.1")``."""
    return f'inet_addr("{data[0]}.{data[1]}.{data[2]}.{data[3]}")'


def in6_text(data: bytes) -> str:
    """Return sixteen bytes of an address in the form of inet_ntop(3)."""
    groups = struct.unpack(">8H", data)
    last = f"{data[12]}.{data[13]}.{data[14]}.{data[15]}"
    if not any(groups[:5]) and groups[5] == 0xFFFF:
        return f"::ffff:{last}"
    if not any(groups[:6]) and groups[6]:
        return f"::{last}"
    best, length, at = 0, 1, 0
    while at < 8:
        end = at
        while end < 8 and not groups[end]:
            end += 1
        if end - at > length:
            best, length = at, end - at
        at = end + 1
    if length < 2:
        return ":".join([f"{group:x}" for group in groups])
    head, tail = groups[:best], groups[best + length :]
    return f"{':'.join([f'{g:x}' for g in head])}::{':'.join([f'{g:x}' for g in tail])}"


def _unix(data: bytes) -> str | None:
    path = data[2 : 2 + UNIX_PATH]
    if not path:
        return ""
    if path[0]:
        return f", sun_path={quote_bytes(path.partition(bytes(1))[0])}"
    return f", sun_path=@{quote_bytes(path[1:])}"


def _inet(data: bytes) -> str | None:
    if len(data) < 16:
        return None
    port = int.from_bytes(data[2:4], "big")
    return f", sin_port=htons({port}), sin_addr={in4_text(data[4:8])}"


def _inet6(data: bytes) -> str | None:
    if len(data) < 24:
        return None
    port, flow = struct.unpack_from(">HI", data, 2)
    text = (
        f", sin6_port=htons({port}), sin6_flowinfo=htonl({flow}), "
        f'inet_pton(AF_INET6, "{in6_text(data[8:24])}", &sin6_addr)'
    )
    return f"{text}, sin6_scope_id={int.from_bytes(data[24:28], 'little')}" if len(data) >= 28 else text


def _netlink(data: bytes) -> str | None:
    if len(data) < 12:
        return None
    pad, pid, groups = _NETLINK.unpack_from(data, 2)
    padding = f", nl_pad={pad:#x}" if pad else ""
    return f"{padding}, nl_pid={signed_32(pid)}, nl_groups={f'{groups:#08x}' if groups else '00000000'}"


def protocol_text(value: int) -> str:
    """Return an Ethernet protocol, given as it lies in memory, as ``htons(ETH_P_IP)``."""
    return f"htons({enum_text(value >> 8 & 0xFF | (value & 0xFF) << 8, ETHERNET_PROTOCOLS, 'ETH_P_???')})"


def _list_text(shown: list[str]) -> str:
    return f", sll_addr=[{', '.join(shown)}]" if shown else ""


def _packet(data: bytes) -> str | None:
    if len(data) < 20:
        return None
    protocol, index, hardware, kind, length, address = _PACKET.unpack_from(data, 2)
    shown = [hex_text(byte) for byte in address[:length]]
    if length > len(address):
        shown.append("...")
    return (
        f", sll_protocol={protocol_text(protocol)}, sll_ifindex={index}, "
        f"sll_hatype={enum_text(hardware, HARDWARE_TYPES, 'ARPHRD_???')}, "
        f"sll_pkttype={enum_text(kind, PACKET_TYPES, 'PACKET_???')}, sll_halen={length}"
        f"{_list_text(shown)}"
    )


def _vsock(data: bytes) -> str | None:
    if len(data) < 16:
        return None
    _, port, cid, flags = _VSOCK.unpack_from(data, 2)
    name = dict(VSOCK_ADDRESSES).get(cid) or str(cid)
    return f", svm_cid={name}, svm_port={hex_text(port)}, svm_flags={hex_text(flags & 0xFF)}"


_FAMILIES: dict[int, Callable[[bytes], str | None]] = {
    AF_UNIX: _unix,
    AF_INET: _inet,
    AF_INET6: _inet6,
    AF_NETLINK: _netlink,
    AF_PACKET: _packet,
    AF_VSOCK: _vsock,
}


def sockaddr_text(data: bytes) -> str:
    """Return an address of two bytes or more; what is too short for its family is shown as bytes."""
    family = int.from_bytes(data[:2], "little")
    decode = _FAMILIES.get(family)
    rest = decode(data) if decode is not None else None
    if rest is None:
        rest = f", sa_data={quote_bytes(data[2:])}" if len(data) > 2 else ""
    return f"{{sa_family={enum_text(family, ADDRESS_FAMILIES, 'AF_???')}{rest}}}"


def address_at(address: int, length: int, call: Call, *, out: bool = False) -> str:
    """Return the socket's address of ``length`` bytes at ``address``, which is signed as the kernel has it."""
    if not address or length < 2:
        return address_text(address)
    size = min(length, LONGEST)
    data = (call.left if out else call.entered).read(address, size)
    return sockaddr_text(data) if len(data) == size else hex(address)


class SockAddr(Kind):
    """An address whose length is the argument ``index``."""

    __slots__ = ("index",)
    reads = True

    def __init__(self, index: int) -> None:
        super().__init__()
        self.index = index

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        return address_at(value, signed_32(call.args[self.index]), call)


def lengths(pointer: int, call: Call) -> tuple[int, int] | None:
    """Return the int at ``pointer`` before and after the call; None where it cannot be read."""
    before = call.entered.read(pointer, 4) if pointer else b""
    after = call.left.read(pointer, 4) if pointer and not call.errno else before
    if len(before) < 4 or len(after) < 4:
        return None
    return signed_32(int.from_bytes(before, "little")), signed_32(int.from_bytes(after, "little"))


class FilledSockAddr(Kind):
    """An address that the kernel fills in; the argument ``index`` points to its length."""

    __slots__ = ("index",)
    reads = True

    def __init__(self, index: int) -> None:
        super().__init__(out=True)
        self.index = index

    def read_entry(self, value: int, call: Call) -> None:
        """See ``Kind.read_entry``."""
        if call.args[self.index]:
            call.entered.read(call.args[self.index], 4)

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        found = lengths(call.args[self.index], call) if value and not call.errno else None
        return address_at(value, min(found), call, out=True) if found is not None else address_text(value)


class FilledLength(Kind):
    """The length of what the argument ``index`` points to, before and after: ``[128 => 16]``.

    Not looked at where that argument is NULL.
    """

    __slots__ = ("index",)
    reads = True

    def __init__(self, index: int) -> None:
        super().__init__(out=True)
        self.index = index

    def read_entry(self, value: int, call: Call) -> None:
        """See ``Kind.read_entry``."""
        if value:
            call.entered.read(value, 4)

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        found = lengths(value, call) if call.args[self.index] else None
        if found is None:
            return address_text(value)
        before, after = found
        return f"[{before}]" if before == after else f"[{before} => {after}]"
