"""A file's times: utime, utimes, utimensat."""

from __future__ import annotations

import struct
import time

from utraced.syscalls.basics import DirFd, Flags, Path, Struct
from utraced.syscalls.call import Call
from utraced.syscalls.signature import Signature
from utraced.syscalls.tables.files import AT_FLAGS

from .timespec import split_time, time_size

UTIME_NOW = (1 << 30) - 1
UTIME_OMIT = (1 << 30) - 2
_DIGITS = {"usec": 6, "nsec": 9}


def date_comment(seconds: int, fraction: int = 0, digits: int = 0) -> str:
    """Return `` /* 2023-11-14T22:13:20+0000 */``, local time with ``digits`` decimals if the fraction is not zero.

    Nothing for time zero and for what is no time.
    """
    if not (seconds or fraction) or fraction >= 10**digits:
        return ""
    try:
        local = time.localtime(seconds)
        text = time.strftime("%Y-%m-%dT%H:%M:%S|%z", local)
    except (OverflowError, OSError, ValueError):
        return ""
    date, _, zone = text.partition("|")
    return f" /* {date}{f'.{fraction:0{digits}}' if fraction else ''}{zone} */"


class Utimbuf(Struct):
    """``struct utimbuf``."""

    __slots__ = ()

    def size(self, call: Call) -> int:
        """See ``Struct.size``."""
        return 8 if call.abi.name == "i386" else 16

    def text(self, data: bytes, call: Call) -> str:
        """See ``Struct.text``."""
        access, modification = struct.unpack("<ii" if len(data) == 8 else "<qq", data)
        return f"{{actime={access}{date_comment(access)}, modtime={modification}{date_comment(modification)}}}"


class TimePair(Struct):
    """Two ``struct timespec`` or ``struct timeval``: of the last access and of the last change."""

    __slots__ = ("unit", "wide")

    def __init__(self, unit: str, *, wide: bool = False) -> None:
        super().__init__()
        self.unit = unit
        self.wide = wide

    def size(self, call: Call) -> int:
        """See ``Struct.size``."""
        return 2 * time_size(call, wide=self.wide)

    def one(self, data: bytes) -> str:
        """Return the text of one time."""
        seconds, fraction = split_time(data)
        if self.unit == "nsec" and fraction in (UTIME_NOW, UTIME_OMIT):
            return "UTIME_NOW" if fraction == UTIME_NOW else "UTIME_OMIT"
        comment = date_comment(seconds, fraction, _DIGITS[self.unit])
        return f"{{tv_sec={seconds}, tv_{self.unit}={fraction}}}{comment}"

    def text(self, data: bytes, call: Call) -> str:
        """See ``Struct.text``."""
        half = len(data) // 2
        return f"[{self.one(data[:half])}, {self.one(data[half:])}]"


_DIR = DirFd()
_PATH = Path()
_TIMEVALS = TimePair("usec")
_AT = Flags(AT_FLAGS, "AT_???")

SIGNATURES = {
    "utime": Signature(_PATH, Utimbuf()),
    "utimes": Signature(_PATH, _TIMEVALS),
    "futimesat": Signature(_DIR, _PATH, _TIMEVALS),
    "utimensat": Signature(_DIR, _PATH, TimePair("nsec"), _AT),
    "utimensat_time64": Signature(_DIR, _PATH, TimePair("nsec", wide=True), _AT),
}
