"""Sockets: making, naming, connecting and shutting them, and what is sent and received (socket(7))."""

from __future__ import annotations

from utraced.syscalls.basics import (
    MASK_32,
    Address,
    Array,
    Buffer,
    Enum,
    Fd,
    Flags,
    Int,
    Size,
    Table,
    Unsigned,
    enum_text,
    flags_text,
)
from utraced.syscalls.call import Call
from utraced.syscalls.kinds import Kind
from utraced.syscalls.results import ReturnsWith
from utraced.syscalls.signature import Signature
from utraced.syscalls.tables.network import (
    ADDRESS_FAMILIES,
    BLUETOOTH_PROTOCOLS,
    CAN_PROTOCOLS,
    IP_PROTOCOLS,
    MESSAGE_FLAGS,
    NETLINK_PROTOCOLS,
    SHUTDOWN_MODES,
    SOCKET_CALLS,
    SOCKET_FLAGS,
    SOCKET_TYPES,
)

from .message import Message, Messages, ReceivedMessage
from .sockaddr import FilledLength, FilledSockAddr, SockAddr, protocol_text
from .timespec import Timespec, time_size

AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_CAN, AF_BLUETOOTH = 2, 10, 16, 17, 29, 31
TYPE_MASK = 0xF

_PROTOCOLS: dict[int, tuple[Table, str]] = {
    AF_INET: (IP_PROTOCOLS, "IPPROTO_???"),
    AF_INET6: (IP_PROTOCOLS, "IPPROTO_???"),
    AF_NETLINK: (NETLINK_PROTOCOLS, "NETLINK_???"),
    AF_CAN: (CAN_PROTOCOLS, "CAN_???"),
    AF_BLUETOOTH: (BLUETOOTH_PROTOCOLS, "BTPROTO_???"),
}
_TYPES = dict(SOCKET_TYPES)


class SocketType(Kind):
    """A socket's type and, since Linux 2.6.27, its flags."""

    __slots__ = ()

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        value &= MASK_32
        name = _TYPES.get(value & TYPE_MASK)
        if name is None:
            return flags_text(value, SOCKET_FLAGS, "SOCK_???")
        rest = value & ~TYPE_MASK
        return f"{name}|{flags_text(rest, SOCKET_FLAGS, 'SOCK_???')}" if rest else name


class Protocol(Kind):
    """A protocol of the family that the first argument names."""

    __slots__ = ()

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        value &= MASK_32
        family = call.args[0] & MASK_32
        if family == AF_PACKET:
            return protocol_text(value)
        known = _PROTOCOLS.get(family)
        return enum_text(value, *known) if known is not None else str(value)


def _received(call: Call) -> int:
    """Return how many bytes came into the buffer; with MSG_TRUNC the result may be more."""
    return min(call.result or 0, call.args[2])


def _left_note(call: Call, *, wide: bool) -> str | None:
    """Return what remained of the time that recvmmsg had."""
    if not call.result:
        return "Timeout"
    size = time_size(call, wide=wide)
    data = call.left.read(call.args[4], size) if call.args[4] else b""
    if len(data) < size:
        return None
    return f"left {Timespec(wide=wide).text(data, call)}"


_FD = Fd()
_INT = Int()
_SIZE = Size()
_UNSIGNED = Unsigned()
_FAMILY = Enum(ADDRESS_FAMILIES, "AF_???")
_TYPE = SocketType()
_FLAGS = Flags(MESSAGE_FLAGS, "MSG_???")
_ACCEPTED = (_FD, FilledSockAddr(2), FilledLength(1))
_NAMED = (_FD, SockAddr(2), _INT)
_VECTOR = (_FD, Messages(received=True), _UNSIGNED, _FLAGS)

SIGNATURES = {
    "socket": Signature(_FAMILY, _TYPE, Protocol()),
    "socketpair": Signature(_FAMILY, _TYPE, _INT, Array(_INT, lambda _: 2, out=True)),
    "bind": Signature(*_NAMED),
    "connect": Signature(*_NAMED),
    "listen": Signature(_FD, _INT),
    "accept": Signature(*_ACCEPTED),
    "accept4": Signature(*_ACCEPTED, Flags(SOCKET_FLAGS, "SOCK_???")),
    "getsockname": Signature(*_ACCEPTED),
    "getpeername": Signature(*_ACCEPTED),
    "shutdown": Signature(_FD, Enum(SHUTDOWN_MODES, "SHUT_???")),
    "send": Signature(_FD, Buffer(2), _SIZE, _FLAGS),
    "sendto": Signature(_FD, Buffer(2), _SIZE, _FLAGS, SockAddr(5), _INT),
    "recv": Signature(_FD, Buffer(_received, out=True), _SIZE, _FLAGS),
    "recvfrom": Signature(_FD, Buffer(_received, out=True), _SIZE, _FLAGS, FilledSockAddr(5), FilledLength(4)),
    "sendmsg": Signature(_FD, Message(), _FLAGS),
    "recvmsg": Signature(_FD, ReceivedMessage(), _FLAGS),
    "sendmmsg": Signature(_FD, Messages(received=False), _UNSIGNED, _FLAGS),
    "recvmmsg": Signature(*_VECTOR, Timespec(), returns=ReturnsWith(lambda call: _left_note(call, wide=False))),
    "socketcall": Signature(Enum(SOCKET_CALLS), Address()),
    "recvmmsg_time64": Signature(
        *_VECTOR, Timespec(wide=True), returns=ReturnsWith(lambda call: _left_note(call, wide=True))
    ),
}
