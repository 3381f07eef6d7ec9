"""Waiting for many files at once: poll, select, epoll."""

from __future__ import annotations

import struct

from utraced.syscalls.basics import (
    MASK_32,
    Address,
    Array,
    Enum,
    Fd,
    Flags,
    Int,
    Size,
    Struct,
    Unsigned,
    address_text,
    array_text,
    flags_text,
    signed_32,
)
from utraced.syscalls.call import Call
from utraced.syscalls.kinds import Kind
from utraced.syscalls.results import ReturnsWith
from utraced.syscalls.signature import Signature
from utraced.syscalls.tables.events import EPOLL_EVENTS, EPOLL_FLAGS, EPOLL_OPERATIONS, POLL_EVENTS

from .sigset import SigSet
from .timespec import TIMESPEC, TIMEVAL, Timespec

EPOLL_CTL_DEL = 2
FDS_MAX = 1 << 20
"""More descriptors than this no call takes (fs.nr_open), so no more are read."""
TIMEOUT = "Timeout"
_POLLFD = struct.Struct("<ihH")
_POLL_TEXTS: dict[int, str] = {}


def poll_events_text(events: int) -> str:
    """Return the names of the events that poll waits for or found."""
    text = _POLL_TEXTS.get(events)
    if text is None:
        text = _POLL_TEXTS[events] = flags_text(events, POLL_EVENTS, "POLL???")
    return text


class PollFd(Struct):
    """``struct pollfd`` before the call: without what it is to find."""

    __slots__ = ()

    def text(self, data: bytes, call: Call) -> str:
        """See ``Struct.text``; poll looks past negative descriptors."""
        fd, events, _ = _POLLFD.unpack(data)
        return f"{{fd={fd}}}" if fd < 0 else f"{{fd={fd}, events={poll_events_text(events & 0xFFFF)}}}"


class PollFds(Kind):
    """The descriptors of poll, as many as the second argument says."""

    __slots__ = ()
    reads = True

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        return array_text(value, call.args[1] & MASK_32, _POLL_FD, call)


_POLL_FD = PollFd(_POLLFD.size)


def found_text(call: Call) -> str | None:
    """Return what poll found: ``[{fd=3, revents=POLLIN}]``."""
    if not call.result:
        return TIMEOUT
    address = call.args[0]
    count = min(call.args[1] & MASK_32, FDS_MAX)
    data = call.left.read(address, count * _POLLFD.size)
    texts: list[str] = []
    whole = len(data) // _POLLFD.size
    for fd, _, found in _POLLFD.iter_unpack(data[: whole * _POLLFD.size]):
        if not found:
            continue
        if len(texts) == call.limit:
            texts.append("...")
            break
        texts.append(f"{{fd={fd}, revents={poll_events_text(found)}}}")
    else:
        if whole < count:
            texts.append(hex(address + whole * _POLLFD.size))
    return f"[{', '.join(texts)}]" if texts else None


def left_text(call: Call, kind: Timespec, index: int) -> str:
    """Return how much of the timeout, the argument ``index``, is left: ``left {tv_sec=1, tv_nsec=2}``, or nothing."""
    address = call.args[index]
    if not address:
        return ""
    size = kind.size(call)
    data = call.left.read(address, size)
    return f"left {kind.text(data, call) if len(data) == size else hex(address)}"


def _ppoll_note(kind: Timespec) -> ReturnsWith:
    """Return the result of ppoll, whose timeout is of ``kind``."""

    def note(call: Call) -> str | None:
        found = found_text(call)
        left = left_text(call, kind, 2) if call.result else ""
        return ", ".join([text for text in (found, left) if text]) or None

    return ReturnsWith(note)


def fd_set_size(count: int) -> int:
    """Return the bytes of an ``fd_set`` that the kernel looks at for ``count`` descriptors: whole longs."""
    return (min(count, FDS_MAX) + 63) // 64 * 8


def fd_set_fds(data: bytes, count: int) -> list[int]:
    """Return the descriptors below ``count`` in a set."""
    bits = int.from_bytes(data, "little") & (1 << count) - 1
    fds = []
    while bits:
        lowest = bits & -bits
        fds.append(lowest.bit_length() - 1)
        bits ^= lowest
    return fds


class FdSet(Kind):
    """A set of select before the call."""

    __slots__ = ()
    reads = True

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        count = min(signed_32(call.args[0]), FDS_MAX)
        if not value or count <= 0:
            return address_text(value)
        size = fd_set_size(count)
        data = call.entered.read(value, size)
        return f"[{' '.join(map(str, fd_set_fds(data, count)))}]" if len(data) == size else hex(value)


def _select_note(kind: Timespec) -> ReturnsWith:
    """Return the result of select: the sets that are not empty, and what is left of the timeout of ``kind``."""

    def note(call: Call) -> str | None:
        if not call.result:
            return TIMEOUT
        count = max(min(signed_32(call.args[0]), FDS_MAX), 0)
        size = fd_set_size(count)
        texts = []
        ready = call.result
        for name, address in zip(("in", "out", "except"), call.args[1:4], strict=False):
            data = call.left.read(address, size) if address and size else b""
            fds = fd_set_fds(data, count)[:ready] if len(data) == size and ready > 0 else []
            ready -= len(fds)
            if fds:
                texts.append(f"{name} [{' '.join(map(str, fds))}]")
        left = left_text(call, kind, 4)
        if left:
            texts.append(left)
        return ", ".join(texts)

    return ReturnsWith(note)


class SelectSigMask(Struct):
    """The last argument of pselect6: a set of signals and its size, behind one pointer."""

    __slots__ = ()

    def size(self, call: Call) -> int:
        """See ``Struct.size``."""
        return 2 * call.abi.word

    def text(self, data: bytes, call: Call) -> str:
        """See ``Struct.text``."""
        half = len(data) // 2
        mask = int.from_bytes(data[:half], "little")
        length = int.from_bytes(data[half:], "little")
        return f"{{sigmask={SigSet(lambda _: length).render(mask, call)}, sigsetsize={length}}}"


class EpollEvent(Struct):
    """``struct epoll_event``, which x86 packs."""

    __slots__ = ()
    layout = struct.Struct("<IQ")

    def text(self, data: bytes, call: Call) -> str:
        """See ``Struct.text``."""
        events, value = self.layout.unpack(data)
        names = flags_text(events, EPOLL_EVENTS, "EPOLL???")
        return f"{{events={names}, data={{u32={value & MASK_32}, u64={value}}}}}"


_FD = Fd()
_INT = Int()
_SIZE = Size()
_ADDRESS = Address()
_UNSIGNED = Unsigned()
_FD_SET = FdSet()
_EVENT = EpollEvent(EpollEvent.layout.size)
_EVENTS = Array(_EVENT, "result", out=True)
_OPERATION = Enum(EPOLL_OPERATIONS, "EPOLL_CTL_???")
_CTL = Signature(_FD, _OPERATION, _FD, _EVENT)
_CTL_DEL = Signature(_FD, _OPERATION, _FD, _ADDRESS)
_WIDE = Timespec(wide=True)


def _ctl(call: Call) -> Signature:
    return _CTL_DEL if call.args[1] & MASK_32 == EPOLL_CTL_DEL else _CTL


SIGNATURES = {
    "poll": Signature(PollFds(), _UNSIGNED, _INT, returns=ReturnsWith(found_text)),
    "ppoll": Signature(PollFds(), _UNSIGNED, TIMESPEC, SigSet(4), _SIZE, returns=_ppoll_note(TIMESPEC)),
    "ppoll_time64": Signature(PollFds(), _UNSIGNED, _WIDE, SigSet(4), _SIZE, returns=_ppoll_note(_WIDE)),
    "select": Signature(_INT, _FD_SET, _FD_SET, _FD_SET, TIMEVAL, returns=_select_note(TIMEVAL)),
    "_newselect": Signature(_INT, _FD_SET, _FD_SET, _FD_SET, TIMEVAL, returns=_select_note(TIMEVAL)),
    "pselect6": Signature(_INT, _FD_SET, _FD_SET, _FD_SET, TIMESPEC, SelectSigMask(), returns=_select_note(TIMESPEC)),
    "pselect6_time64": Signature(_INT, _FD_SET, _FD_SET, _FD_SET, _WIDE, SelectSigMask(), returns=_select_note(_WIDE)),
    "epoll_create": Signature(_INT),
    "epoll_create1": Signature(Flags(EPOLL_FLAGS, "EPOLL_???")),
    "epoll_ctl": Signature(choose=_ctl),
    "epoll_wait": Signature(_FD, _EVENTS, _INT, _INT),
    "epoll_pwait": Signature(_FD, _EVENTS, _INT, _INT, SigSet(5), _SIZE),
    "epoll_pwait2": Signature(_FD, _EVENTS, _INT, _WIDE, SigSet(5), _SIZE),
}

I386_SIGNATURES = {"select": Signature(_ADDRESS)}
