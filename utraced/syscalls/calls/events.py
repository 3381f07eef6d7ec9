"""Descriptors that tell events: inotify, fanotify, eventfd, signalfd, timerfd; and memfd_create."""

from __future__ import annotations

from utraced.syscalls.basics import MASK_32, Enum, Fd, Flags, Int, Path, Size, Text, Unsigned, enum_text, flags_text
from utraced.syscalls.call import Call
from utraced.syscalls.kinds import Kind
from utraced.syscalls.signature import Signature
from utraced.syscalls.tables.events import (
    EVENTFD_FLAGS,
    FANOTIFY_CLASSES,
    FANOTIFY_FLAGS,
    INOTIFY_EVENTS,
    INOTIFY_FLAGS,
    MEMFD_FLAGS,
    SIGNALFD_FLAGS,
    TIMERFD_CLOCKS,
    TIMERFD_FLAGS,
)

from .opening import OpenFlags
from .sigset import SigSet
from .timespec import Itimerspec

FAN_CLASSES = 0xC
HUGE_SHIFT = 26
HUGE_MASK = 0x3F << HUGE_SHIFT


class MemfdFlags(Kind):
    """The flags of memfd_create, with the size of huge pages in the uppermost six bits."""

    __slots__ = ()

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        value &= MASK_32
        huge = (value & HUGE_MASK) >> HUGE_SHIFT
        rest = value & ~HUGE_MASK
        text = flags_text(rest, MEMFD_FLAGS, "MFD_???") if rest or not huge else ""
        return f"{text}{'|' if text else ''}{huge}<<MFD_HUGE_SHIFT" if huge else text


class FanotifyFlags(Kind):
    """The flags of fanotify_init: the class of notifications, then the bits."""

    __slots__ = ()

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        value &= MASK_32
        text = enum_text(value & FAN_CLASSES, FANOTIFY_CLASSES, "FAN_CLASS_???")
        rest = value & ~FAN_CLASSES
        return f"{text}|{flags_text(rest, FANOTIFY_FLAGS)}" if rest else text


_FD = Fd()
_INT = Int()
_UNSIGNED = Unsigned()
_CLOCK = Enum(TIMERFD_CLOCKS, "CLOCK_???")
_TIMER = Flags(TIMERFD_FLAGS, "TFD_???")

SIGNATURES = {
    "inotify_init": Signature(),
    "inotify_init1": Signature(Flags(INOTIFY_FLAGS, "IN_???")),
    "inotify_add_watch": Signature(_FD, Path(), Flags(INOTIFY_EVENTS, "IN_???")),
    "inotify_rm_watch": Signature(_FD, _INT),
    "fanotify_init": Signature(FanotifyFlags(), OpenFlags()),
    "memfd_create": Signature(Text(), MemfdFlags()),
    "eventfd": Signature(_UNSIGNED),
    "eventfd2": Signature(_UNSIGNED, Flags(EVENTFD_FLAGS, "EFD_???")),
    "signalfd": Signature(_FD, SigSet(2), Size()),
    "signalfd4": Signature(_FD, SigSet(2), Size(), Flags(SIGNALFD_FLAGS, "SFD_???")),
    "timerfd_create": Signature(_CLOCK, _TIMER),
    "timerfd_settime": Signature(_FD, _TIMER, Itimerspec(), Itimerspec(out=True)),
    "timerfd_gettime": Signature(_FD, Itimerspec(out=True)),
    "timerfd_settime64": Signature(_FD, _TIMER, Itimerspec(wide=True), Itimerspec(wide=True, out=True)),
    "timerfd_gettime64": Signature(_FD, Itimerspec(wide=True, out=True)),
}
