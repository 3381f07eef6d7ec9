"""Messages of sockets: ``struct msghdr``, its buffers and its control messages (recvmsg(2), cmsg(3))."""

from __future__ import annotations

import struct
from typing import NamedTuple

from utraced.syscalls.basics import address_text, enum_text, flags_text, hex_text, signed_32
from utraced.syscalls.call import Call
from utraced.syscalls.kinds import Kind
from utraced.syscalls.quote import quote_bytes
from utraced.syscalls.tables.network import CONTROL_IP, CONTROL_RIGHTS, MESSAGE_FLAGS, SOCKET_LEVELS

from .iovec import iovec_text
from .sockaddr import address_at, in4_text, sockaddr_text
from .timespec import split_time

SOL_IP, SOL_SOCKET = 0, 1
MAX_CONTROL = 1 << 16
"""Of the bytes of control messages that are read; net.core.optmem_max is less."""

_HEADER = struct.Struct("<QI4xQQQQI4x")
_HEADER_32 = struct.Struct("<IIIIIII")
_CREDENTIALS = struct.Struct("<III")
_PKTINFO = struct.Struct("<I4s4s")
_EXTENDED = struct.Struct("<IBBBxII")


class Header(NamedTuple):
    """``struct msghdr``; addresses and lengths in bytes, but ``buffer_count`` counts buffers."""

    name: int
    name_length: int
    buffers: int
    buffer_count: int
    control: int
    control_length: int
    flags: int


def header_size(call: Call) -> int:
    """Return the length in bytes of the caller's ``struct msghdr``."""
    return _HEADER.size if call.abi.word == 8 else _HEADER_32.size


def read_header(address: int, call: Call, *, out: bool = False) -> Header | None:
    """Return the ``struct msghdr`` at ``address``, None where it cannot be read."""
    size = header_size(call)
    data = (call.left if out else call.entered).read(address, size) if address else b""
    if len(data) < size:
        return None
    return Header(*(_HEADER if call.abi.word == 8 else _HEADER_32).unpack(data))


def header_text(header: Header, call: Call, *, out: bool = False, total: int | None = None, before: int = -1) -> str:
    """Return a message with its buffers.

    ``total`` is how many bytes came, ``before`` the length of the name that there was room for when they came.
    """
    after = signed_32(header.name_length)
    length = after
    shown = str(after)
    if out and before >= 0:
        length = min(before, after)
        shown = str(after) if before == after else f"{before} => {after}"
    parts = [f"msg_name={address_at(header.name, length, call, out=out)}", f"msg_namelen={shown}"]
    buffers = iovec_text(header.buffers, header.buffer_count, call, total=total, out=out)
    parts += [f"msg_iov={buffers}", f"msg_iovlen={header.buffer_count}"]
    if header.control_length:
        parts.append(f"msg_control={control_text(header.control, header.control_length, call, out=out)}")
    parts.append(f"msg_controllen={header.control_length}")
    parts.append(f"msg_flags={flags_text(header.flags, MESSAGE_FLAGS, 'MSG_???')}")
    return f"{{{', '.join(parts)}}}"


def control_text(address: int, length: int, call: Call, *, out: bool = False) -> str:
    """Return the control messages in the ``length`` bytes at ``address``."""
    word = call.abi.word
    head = word + 8
    if not address or length < head:
        return address_text(address)
    size = min(length, MAX_CONTROL)
    data = (call.left if out else call.entered).read(address, size)
    if len(data) < size:
        return hex(address)
    texts = []
    at = 0
    while size - at >= head:
        declared = int.from_bytes(data[at : at + word], "little")
        level, kind = struct.unpack_from("<II", data, at + word)
        end = min(at + declared, size)
        texts.append(f"{{cmsg_len={declared}, {_message_text(level, kind, data[at + head : end], call)}}}")
        if declared < head:
            at += head
            break
        at = min(at + -(-declared // word) * word, size)
    if at < size:
        texts.append(f"... /* {address + at:#x} */")
    return f"[{', '.join(texts)}]"


def _message_text(level: int, kind: int, data: bytes, call: Call) -> str:
    """Return one control message without its length."""
    level_text = enum_text(level, SOCKET_LEVELS, "SOL_???")
    if level == SOL_SOCKET:
        kind_text, shown = enum_text(kind, CONTROL_RIGHTS, "SCM_???"), _socket_data(kind, data, call)
    elif level == SOL_IP:
        kind_text, shown = enum_text(kind, CONTROL_IP, "IP_???"), _ip_data(kind, data)
    else:
        kind_text, shown = hex_text(kind), None
    text = f"cmsg_level={level_text}, cmsg_type={kind_text}"
    return text if shown is None or not data else f"{text}, cmsg_data={shown}"


def _list_text(numbers: list[str], limit: int) -> str:
    """Return numbers in brackets, no more of them than ``limit``."""
    more = ["..."] if len(numbers) > limit else []
    return f"[{', '.join(numbers[:limit] + more)}]"


def _socket_data(kind: int, data: bytes, call: Call) -> str | None:
    """Return what a message of SOL_SOCKET says; None where that is not shown."""
    name = dict(CONTROL_RIGHTS).get(kind)
    if name == "SCM_RIGHTS":
        whole = len(data) // 4
        numbers = [str(number) for number in struct.unpack_from(f"<{whole}i", data)]
        return _list_text(numbers, call.limit) if numbers else None
    if name == "SCM_CREDENTIALS":
        if len(data) < _CREDENTIALS.size:
            return None
        pid, uid, gid = (signed_32(number) for number in _CREDENTIALS.unpack_from(data))
        return f"{{pid={pid}, uid={uid}, gid={gid}}}"
    if name == "SCM_SECURITY":
        return quote_bytes(data)
    if name is None:
        return None
    return _time_data(name, data, call)


def _time_data(name: str, data: bytes, call: Call) -> str:
    """Return the time, or the three of SO_TIMESTAMPING, at which a message came."""
    size = 8 if call.abi.name == "i386" and name.endswith("_OLD") else 16
    unit = "usec" if name.startswith("SO_TIMESTAMP_") else "nsec"
    count = 3 if "STAMPING" in name else 1
    if len(data) < size * count:
        return "???"
    times = []
    for start in range(0, size * count, size):
        seconds, fraction = split_time(data[start : start + size])
        times.append(f"{{tv_sec={seconds}, tv_{unit}={fraction}}}")
    return times[0] if count == 1 else f"[{', '.join(times)}]"


def _ip_data(kind: int, data: bytes) -> str | None:
    """Return what a message of SOL_IP says; None where that is not shown."""
    name = dict(CONTROL_IP).get(kind)
    if name in {"IP_TOS", "IP_OPTIONS", "IP_RECVOPTS", "IP_RETOPTS"}:
        return f"[{', '.join([hex_text(byte) for byte in (data[:1] if name == 'IP_TOS' else data)])}]"
    if name in {"IP_TTL", "IP_CHECKSUM", "IP_RECVFRAGSIZE"}:
        return f"[{int.from_bytes(data[:4], 'little')}]" if len(data) >= 4 else None
    if name == "SCM_SECURITY":
        return quote_bytes(data)
    if name == "IP_PKTINFO" and len(data) >= _PKTINFO.size:
        index, local, address = _PKTINFO.unpack_from(data)
        return f"{{ipi_ifindex={index}, ipi_spec_dst={in4_text(local)}, ipi_addr={in4_text(address)}}}"
    if name == "IP_ORIGDSTADDR" and len(data) >= 16:
        return sockaddr_text(data[:16])
    if name == "IP_RECVERR" and len(data) >= _EXTENDED.size + 16:
        number, origin, ee_type, code, info, value = _EXTENDED.unpack_from(data)
        return (
            f"{{ee_errno={number}, ee_origin={origin}, ee_type={ee_type}, ee_code={code}, ee_info={info}, "
            f"ee_data={value}, offender={sockaddr_text(data[_EXTENDED.size : _EXTENDED.size + 16])}}}"
        )
    return None


class Message(Kind):
    """A message to be sent."""

    __slots__ = ()
    reads = True

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        header = read_header(value, call)
        return header_text(header, call) if header is not None else address_text(value)


class ReceivedMessage(Kind):
    """A message that was received; of one that was not, only the room for the sender's address is known."""

    __slots__ = ()
    reads = True

    def __init__(self) -> None:
        super().__init__(out=True)

    def read_entry(self, value: int, call: Call) -> None:
        """See ``Kind.read_entry``."""
        read_header(value, call)

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        asked = read_header(value, call)
        if asked is None:
            return address_text(value)
        room = signed_32(asked.name_length)
        if call.errno:
            return f"{{msg_namelen={room}}}"
        header = read_header(value, call, out=True)
        if header is None:
            return hex(value)
        return header_text(header, call, out=True, total=max(call.result or 0, 0), before=room)


class Messages(Kind):
    """Messages one after another, ``struct mmsghdr``: as many as argument 2 tells, or as the result when received.

    How long each was is known of those that the result counts.
    """

    __slots__ = ("received",)
    reads = True

    def __init__(self, *, received: bool) -> None:
        super().__init__(out=True)
        self.received = received

    def slot(self, call: Call) -> int:
        """Return the length in bytes of ``struct mmsghdr``."""
        return header_size(call) + call.abi.word

    def read_entry(self, value: int, call: Call) -> None:
        """See ``Kind.read_entry``."""
        if self.received and value:
            for index in range(min(call.args[2] & 0xFFFFFFFF, call.limit)):
                if read_header(value + index * self.slot(call), call) is None:
                    break

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        if not value or (self.received and call.errno):
            return address_text(value)
        done = 0 if call.errno else max(call.result or 0, 0)
        count = done if self.received else call.args[2] & 0xFFFFFFFF
        texts: list[str] = []
        for index in range(min(count, call.limit)):
            text = self.one(value + index * self.slot(call), call, done=index < done)
            if text is None:
                if not texts:
                    return hex(value)
                texts.append(f"... /* {value + index * self.slot(call):#x} */")
                return f"[{', '.join(texts)}]"
            texts.append(text)
        if count > call.limit:
            texts.append("...")
        return f"[{', '.join(texts)}]"

    def one(self, address: int, call: Call, *, done: bool) -> str | None:
        """Return the message at ``address``, None where it cannot be read; ``done``: it was sent or received."""
        header = read_header(address, call, out=True)
        data = call.left.read(address + header_size(call), 4)
        if header is None or len(data) < 4:
            return None
        length = int.from_bytes(data, "little")
        asked = read_header(address, call) if self.received else None
        room = signed_32(asked.name_length) if asked is not None else -1
        text = header_text(header, call, out=True, total=length if self.received else None, before=room)
        return f"{{msg_hdr={text}, msg_len={length}}}" if done else f"{{msg_hdr={text}}}"
