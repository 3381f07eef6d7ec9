"""Times as programs hand them to the kernel: ``struct timespec``, ``struct timeval`` and pairs of them."""

from __future__ import annotations

import struct

from utraced.syscalls.basics import Struct
from utraced.syscalls.call import Call

_UNPACK_32 = struct.Struct("<iI").unpack
_UNPACK_64 = struct.Struct("<qQ").unpack


def time_size(call: Call, *, wide: bool = False) -> int:
    """Return the length in bytes of the caller's timespec and timeval; ``wide``: of a call with 64-bit times."""
    return 8 if call.abi.name == "i386" and not wide else 16


def split_time(data: bytes) -> tuple[int, int]:
    """Return the seconds, signed, and the fraction, unsigned, of a timespec or timeval of 8 or 16 bytes."""
    seconds, fraction = _UNPACK_32(data) if len(data) == 8 else _UNPACK_64(data)
    return seconds, fraction


class Timespec(Struct):
    """``struct timespec``, or with ``unit="usec"`` ``struct timeval``.

    ``wide``: the call takes 64-bit times from 32-bit callers too.
    """

    __slots__ = ("unit", "wide")

    def __init__(self, unit: str = "nsec", *, wide: bool = False, out: bool = False) -> None:
        super().__init__(out=out)
        self.unit = unit
        self.wide = wide

    def size(self, call: Call) -> int:
        """See ``Struct.size``."""
        return time_size(call, wide=self.wide)

    def text(self, data: bytes, call: Call) -> str:
        """See ``Struct.text``."""
        seconds, fraction = split_time(data)
        return f"{{tv_sec={seconds}, tv_{self.unit}={fraction}}}"


class Itimerspec(Struct):
    """``struct itimerspec``: an interval and a first expiry."""

    __slots__ = ("wide",)

    def __init__(self, *, wide: bool = False, out: bool = False) -> None:
        super().__init__(out=out)
        self.wide = wide

    def size(self, call: Call) -> int:
        """See ``Struct.size``."""
        return 2 * time_size(call, wide=self.wide)

    def text(self, data: bytes, call: Call) -> str:
        """See ``Struct.text``."""
        half = len(data) // 2
        interval, value = TIMESPEC.text(data[:half], call), TIMESPEC.text(data[half:], call)
        return f"{{it_interval={interval}, it_value={value}}}"


TIMESPEC = Timespec()
TIMEVAL = Timespec("usec")
