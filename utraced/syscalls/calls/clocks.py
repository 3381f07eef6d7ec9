"""Time: clocks, sleeping and timers."""

from __future__ import annotations

import struct
from datetime import datetime

from utraced.syscalls.basics import (
    Enum,
    Flags,
    Int,
    Pointer,
    Struct,
    address_text,
    enum_text,
    flags_text,
    signed_32,
    signed_64,
)
from utraced.syscalls.call import Call
from utraced.syscalls.kinds import Kind
from utraced.syscalls.results import ReturnsWith
from utraced.syscalls.signals import signal_name
from utraced.syscalls.signature import Signature
from utraced.syscalls.tables.processes import (
    CLOCKS,
    INTERVAL_TIMERS,
    SIGNAL_NOTIFICATIONS,
    TIMER_FLAGS,
    TIMEX_MODES,
    TIMEX_STATES,
    TIMEX_STATUSES,
)

from .timespec import TIMEVAL, Itimerspec, Timespec, time_size

SIGEV_NONE, SIGEV_THREAD, SIGEV_THREAD_ID = 1, 2, 4
INTERRUPTED = 516
"""ERESTART_RESTARTBLOCK: what a sleep that a signal ended returns while it is traced."""

_EVENT = struct.Struct("<QIi")
_EVENT_32 = struct.Struct("<IIi")
_TIMEX = struct.Struct("<I4xQQQQi4xQQQ16xQQQi4x5Qi44x")


class Itimerval(Struct):
    """``struct itimerval``: an interval and what is left of the present one."""

    __slots__ = ()

    def size(self, call: Call) -> int:
        """See ``Struct.size``."""
        return 2 * time_size(call)

    def text(self, data: bytes, call: Call) -> str:
        """See ``Struct.text``."""
        half = len(data) // 2
        return f"{{it_interval={TIMEVAL.text(data[:half], call)}, it_value={TIMEVAL.text(data[half:], call)}}}"


class Timezone(Struct):
    """``struct timezone``."""

    __slots__ = ()

    def text(self, data: bytes, call: Call) -> str:
        """See ``Struct.text``."""
        west, dst = struct.unpack("<ii", data)
        return f"{{tz_minuteswest={west}, tz_dsttime={dst}}}"


class Remaining(Timespec):
    """What was left of a sleep, which the kernel tells only where a signal ended it."""

    __slots__ = ()

    def __init__(self, *, wide: bool = False) -> None:
        super().__init__(wide=wide, out=True)

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        if call.errno != INTERRUPTED or not value:
            return address_text(value)
        size = self.size(call)
        data = call.left.read(value, size)
        return self.text(data, call) if len(data) == size else hex(value)


class Event(Struct):
    """``struct sigevent``: how a timer tells that it expired."""

    __slots__ = ()

    def size(self, call: Call) -> int:
        """See ``Struct.size``."""
        return 64

    def text(self, data: bytes, call: Call) -> str:
        """See ``Struct.text``."""
        layout = _EVENT if call.abi.word == 8 else _EVENT_32
        value, signal, notify = layout.unpack_from(data)
        parts = []
        if value:
            number = signed_32(value)
            parts.append(f"sigev_value={{sival_int={number}, sival_ptr={address_text(value)}}}")
        name = str(signed_32(signal)) if notify == SIGEV_NONE else signal_name(signed_32(signal))
        parts.append(f"sigev_signo={name}")
        shown = enum_text(notify & 0xFFFFFFFF, SIGNAL_NOTIFICATIONS, "SIGEV_???")
        parts.append(f"sigev_notify={shown}")
        rest = data[layout.size :]
        if notify == SIGEV_THREAD_ID:
            parts.append(f"sigev_notify_thread_id={signed_32(int.from_bytes(rest[:4], 'little'))}")
        elif notify == SIGEV_THREAD:
            word = call.abi.word
            function, attributes = (int.from_bytes(rest[at : at + word], "little") for at in (0, word))
            parts.append(f"sigev_notify_function={address_text(function)}")
            parts.append(f"sigev_notify_attributes={address_text(attributes)}")
        return f"{{{', '.join(parts)}}}"


class Timex(Struct):
    """``struct timex`` of 64-bit callers (adjtimex(2)); shown whole when the call returned."""

    __slots__ = ()

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        return address_text(value) if call.abi.word != 8 else super().render(value, call)

    def text(self, data: bytes, call: Call) -> str:
        """See ``Struct.text``."""
        (
            modes, offset, freq, maxerror, esterror, status, constant, precision, tolerance,
            tick, ppsfreq, jitter, shift, stabil, jitcnt, calcnt, errcnt, stbcnt, tai,
        ) = _TIMEX.unpack(data)  # fmt: skip
        numbers = {"maxerror": maxerror, "esterror": esterror}
        after = {"constant": constant, "precision": precision, "tolerance": tolerance}
        last = {
            "tick": tick, "ppsfreq": signed_64(ppsfreq), "jitter": signed_64(jitter), "shift": shift,
            "stabil": signed_64(stabil), "jitcnt": jitcnt, "calcnt": calcnt, "errcnt": errcnt, "stbcnt": stbcnt,
            "tai": tai,
        }  # fmt: skip
        parts = [f"modes={flags_text(modes, TIMEX_MODES, 'ADJ_???')}"]
        parts += [f"offset={signed_64(offset)}", f"freq={signed_64(freq)}"]
        parts += [f"{name}={number}" for name, number in numbers.items()]
        parts.append(f"status={flags_text(status & 0xFFFFFFFF, TIMEX_STATUSES, 'STA_???')}")
        parts += [f"{name}={signed_64(number)}" for name, number in after.items()]
        parts.append(f"time={TIMEVAL.text(data[72:88], call)}")
        parts += [f"{name}={number}" for name, number in last.items()]
        return f"{{{', '.join(parts)}}}"


def date_text(seconds: int) -> str | None:
    """Return a time since 1970 as strace's comments have it, in the time zone of who reads it; None where it cannot."""
    try:
        return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%dT%H:%M:%S%z")
    except (OverflowError, OSError, ValueError):
        return None


class Moment(Kind):
    """Seconds since 1970, with the date in a comment."""

    __slots__ = ()

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        seconds = signed_64(value) if call.abi.word == 8 else signed_32(value)
        date = date_text(seconds)
        return f"{seconds} /* {date} */" if date is not None else str(seconds)


def _state_note(call: Call) -> str | None:
    return enum_text(call.result or 0, TIMEX_STATES, "TIME_???")


_INT = Int()
_CLOCK = Enum(CLOCKS, "CLOCK_???")
_TIMER_FLAGS = Flags(TIMER_FLAGS, "TIMER_???")
_TIME = Timespec()
_TIME_OUT = Timespec(out=True)
_WIDE = Timespec(wide=True)
_WIDE_OUT = Timespec(wide=True, out=True)
_VALUE = Timespec("usec")
_WHICH = Enum(INTERVAL_TIMERS, "ITIMER_???")
_STATE = ReturnsWith(_state_note)
_SPEC_64 = Itimerspec(wide=True)
_SPEC_64_OUT = Itimerspec(wide=True, out=True)

SIGNATURES = {
    "nanosleep": Signature(_TIME, Remaining()),
    "clock_nanosleep": Signature(_CLOCK, _TIMER_FLAGS, _TIME, Remaining()),
    "clock_nanosleep_time64": Signature(_CLOCK, _TIMER_FLAGS, _WIDE, Remaining(wide=True)),
    "clock_gettime": Signature(_CLOCK, _TIME_OUT),
    "clock_gettime64": Signature(_CLOCK, _WIDE_OUT),
    "clock_getres": Signature(_CLOCK, _TIME_OUT),
    "clock_getres_time64": Signature(_CLOCK, _WIDE_OUT),
    "clock_settime": Signature(_CLOCK, _TIME),
    "clock_settime64": Signature(_CLOCK, _WIDE),
    "clock_adjtime": Signature(_CLOCK, Timex(_TIMEX.size, out=True), returns=_STATE),
    "adjtimex": Signature(Timex(_TIMEX.size, out=True), returns=_STATE),
    "gettimeofday": Signature(Timespec("usec", out=True), Timezone(8, out=True)),
    "settimeofday": Signature(_VALUE, Timezone(8)),
    "time": Signature(Pointer(Moment(), 0, out=True), returns=ReturnsWith(lambda call: date_text(call.result or 0))),
    "stime": Signature(Pointer(Moment(), 0)),
    "getitimer": Signature(_WHICH, Itimerval(out=True)),
    "setitimer": Signature(_WHICH, Itimerval(), Itimerval(out=True)),
    "timer_create": Signature(_CLOCK, Event(), Pointer(_INT, out=True)),
    "timer_settime": Signature(_INT, _TIMER_FLAGS, Itimerspec(), Itimerspec(out=True)),
    "timer_settime64": Signature(_INT, _TIMER_FLAGS, _SPEC_64, _SPEC_64_OUT),
    "timer_gettime": Signature(_INT, Itimerspec(out=True)),
    "timer_gettime64": Signature(_INT, _SPEC_64_OUT),
    "timer_getoverrun": Signature(_INT),
    "timer_delete": Signature(_INT),
}
