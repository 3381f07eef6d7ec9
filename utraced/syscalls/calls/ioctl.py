"""ioctl: its command decides what the argument is."""

from __future__ import annotations

import struct

from utraced.syscalls.basics import (
    MASK_32,
    Address,
    Array,
    Buffer,
    Enum,
    Fd,
    Flags,
    Hex,
    Int,
    Long,
    Pointer,
    Struct,
    Table,
    Text,
    Unsigned,
    UnsignedLong,
    address_text,
    flags_text,
    hex_text,
)
from utraced.syscalls.call import Call
from utraced.syscalls.kinds import Kind
from utraced.syscalls.signature import Signature
from utraced.syscalls.tables.ioctl import (
    BARE,
    COMMANDS,
    COUNTING,
    FIEMAP_FLAGS,
    FLOW_ACTIONS,
    FLUSH_QUEUES,
    INODE_FLAGS,
    MODEM_LINES,
    POINTING,
    XFLAGS,
)

from .terminal import TERMIO, TERMIOS, TERMIOS2, Termios, Winsize

_DIRECTIONS: Table = ((2, "_IOC_READ"), (1, "_IOC_WRITE"))


class Command(Kind):
    """The command by name, or taken apart as the macro ``_IOC`` put it together."""

    __slots__ = ()

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        value &= MASK_32
        name = COMMANDS.get(value)
        if name is not None:
            return name
        direction = value >> 30
        text = flags_text(direction, _DIRECTIONS) if direction else "_IOC_NONE"
        parts = (value >> 8 & 0xFF, value & 0xFF, value >> 16 & 0x3FFF)
        return f"_IOC({text}, {', '.join(map(hex_text, parts))})"


class CloneRange(Struct):
    """``struct file_clone_range``."""

    __slots__ = ()
    layout = struct.Struct("<qQQQ")

    def text(self, data: bytes, call: Call) -> str:
        """See ``Struct.text``."""
        fd, offset, length, destination = self.layout.unpack(data)
        return f"{{src_fd={fd}, src_offset={offset}, src_length={length}, dest_offset={destination}}}"


class TrimRange(Struct):
    """``struct fstrim_range``."""

    __slots__ = ()
    layout = struct.Struct("<QQQ")

    def text(self, data: bytes, call: Call) -> str:
        """See ``Struct.text``."""
        start, length, least = self.layout.unpack(data)
        return f"{{start={hex_text(start)}, len={length}, minlen={least}}}"


class FsXattr(Struct):
    """``struct fsxattr``; the number of extents is the kernel's to tell."""

    __slots__ = ()
    layout = struct.Struct("<IIIII8x")

    def text(self, data: bytes, call: Call) -> str:
        """See ``Struct.text``."""
        flags, size, extents, project, cow_size = self.layout.unpack(data)
        counted = f"fsx_nextents={extents}, " if self.out else ""
        return (
            f"{{fsx_xflags={flags_text(flags, XFLAGS, 'FS_XFLAG_???')}, fsx_extsize={size}, {counted}"
            f"fsx_projid={hex_text(project)}, fsx_cowextsize={cow_size}}}"
        )


class Fiemap(Kind):
    """``struct fiemap``: what is asked, and `` => `` what came of it, without the extents."""

    __slots__ = ()
    reads = True
    layout = struct.Struct("<QQIII4x")

    def __init__(self) -> None:
        super().__init__(out=True)

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        asked = call.entered.read(value, self.layout.size) if value else b""
        if len(asked) < self.layout.size:
            return address_text(value)
        start, length, flags, _, count = self.layout.unpack(asked)
        text = f"{{fm_start={start}, fm_length={length}, fm_flags={_fiemap_flags(flags)}, fm_extent_count={count}}}"
        if call.errno:
            return text
        told = call.left.read(value, self.layout.size)
        if len(told) < self.layout.size:
            return f"{text} => {hex(value)}"
        flags, mapped = self.layout.unpack(told)[2:4]
        return f"{text} => {{fm_flags={_fiemap_flags(flags)}, fm_mapped_extents={mapped}, ...}}"

    def read_entry(self, value: int, call: Call) -> None:
        """See ``Kind.read_entry``."""
        if value:
            call.entered.read(value, self.layout.size)

    def read_return(self, value: int, call: Call) -> None:
        """See ``Kind.read_return``."""
        if value and not call.errno:
            call.left.read(value, self.layout.size)


class TypedCharacter(Buffer):
    """The one character that TIOCSTI types."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(lambda _: 1)


def _fiemap_flags(flags: int) -> str:
    return flags_text(flags, FIEMAP_FLAGS, "FIEMAP_FLAG_???")


_FD = Fd()
_COMMAND = Command()
_NUMBERS = {name: number for number, text in COMMANDS.items() for name in text.split(" or ")}
_INT_OUT = Pointer(Int(), out=True)
_INT_IN = Pointer(Int())
_UNSIGNED_OUT = Pointer(Unsigned(), out=True)
_LONG_OUT = Pointer(Long(), 0, out=True)
_UNSIGNED_LONG_OUT = Pointer(UnsignedLong(), 0, out=True)
_UNSIGNED_64_OUT = Pointer(UnsignedLong(), 8, out=True)
_RANGE = Array(UnsignedLong(), lambda _: 2, size=8)
_TERMIOS_IN = Termios(TERMIOS)
_TERMIOS_OUT = Termios(TERMIOS, out=True)
_TERMIOS2_IN = Termios(TERMIOS2)
_TERMIO_IN = Termios(TERMIO)
_MODEM_IN = Pointer(Flags(MODEM_LINES, "TIOCM_???"))
_INODE_FLAGS = Flags(INODE_FLAGS, "FS_???_FL")

_KINDS: dict[str, Kind] = {
    "TCGETS": _TERMIOS_OUT,
    "TCSETS": _TERMIOS_IN,
    "TCSETSW": _TERMIOS_IN,
    "TCSETSF": _TERMIOS_IN,
    "TIOCGLCKTRMIOS": _TERMIOS_OUT,
    "TIOCSLCKTRMIOS": _TERMIOS_IN,
    "TCGETS2": Termios(TERMIOS2, out=True),
    "TCSETS2": _TERMIOS2_IN,
    "TCSETSW2": _TERMIOS2_IN,
    "TCSETSF2": _TERMIOS2_IN,
    "TCGETA": Termios(TERMIO, out=True),
    "TCSETA": _TERMIO_IN,
    "TCSETAW": _TERMIO_IN,
    "TCSETAF": _TERMIO_IN,
    "TIOCGWINSZ": Winsize(Winsize.layout.size, out=True),
    "TIOCSWINSZ": Winsize(Winsize.layout.size),
    "TIOCGPGRP": _INT_OUT,
    "TIOCSPGRP": _INT_IN,
    "TIOCGSID": _INT_OUT,
    "TIOCOUTQ": _INT_OUT,
    "TIOCGSOFTCAR": _INT_OUT,
    "TIOCSSOFTCAR": _INT_IN,
    "TIOCGETD": _INT_OUT,
    "TIOCSETD": _INT_IN,
    "TIOCGPTN": _INT_OUT,
    "TIOCSPTLCK": _INT_IN,
    "TIOCGEXCL": _INT_OUT,
    "TIOCPKT": _INT_IN,
    "TIOCMGET": Pointer(Flags(MODEM_LINES, "TIOCM_???"), out=True),
    "TIOCMSET": _MODEM_IN,
    "TIOCMBIS": _MODEM_IN,
    "TIOCMBIC": _MODEM_IN,
    "TIOCSTI": TypedCharacter(),
    "TCXONC": Enum(FLOW_ACTIONS, "TC???"),
    "TCFLSH": Enum(FLUSH_QUEUES, "TC???"),
    "FIONREAD": _INT_OUT,
    "FIONBIO": _INT_IN,
    "FIOASYNC": _INT_IN,
    "FIOSETOWN": _INT_IN,
    "FIOGETOWN": _INT_OUT,
    "SIOCSPGRP": _INT_IN,
    "SIOCGPGRP": _INT_OUT,
    "SIOCATMARK": _INT_OUT,
    "FICLONE": _FD,
    "FICLONERANGE": CloneRange(CloneRange.layout.size),
    "FITRIM": TrimRange(TrimRange.layout.size),
    "FS_IOC_GETFLAGS": Pointer(_INODE_FLAGS, out=True),
    "FS_IOC_SETFLAGS": Pointer(_INODE_FLAGS),
    "FS_IOC_FSGETXATTR": FsXattr(FsXattr.layout.size, out=True),
    "FS_IOC_FSSETXATTR": FsXattr(FsXattr.layout.size),
    "FS_IOC_FIEMAP": Fiemap(),
    "FS_IOC_GETFSLABEL": Text(out=True),
    "FS_IOC_SETFSLABEL": Text(),
    "BLKGETSIZE64": _UNSIGNED_64_OUT,
    "BLKGETSIZE": _UNSIGNED_LONG_OUT,
    "BLKSSZGET": _INT_OUT,
    "BLKPBSZGET": _UNSIGNED_OUT,
    "BLKIOMIN": _UNSIGNED_OUT,
    "BLKIOOPT": _UNSIGNED_OUT,
    "BLKALIGNOFF": _INT_OUT,
    "BLKROGET": _INT_OUT,
    "BLKROSET": _INT_IN,
    "BLKRAGET": _LONG_OUT,
    "BLKFRAGET": _LONG_OUT,
    "BLKDISCARD": _RANGE,
    "BLKSECDISCARD": _RANGE,
    "BLKZEROOUT": _RANGE,
}
_SIGNATURES = {_NUMBERS[name]: Signature(_FD, _COMMAND, kind) for name, kind in _KINDS.items() if name in _NUMBERS}
_OTHER = Signature(_FD, _COMMAND, Hex())
_BARE = Signature(_FD, _COMMAND)
_POINTING = Signature(_FD, _COMMAND, Address())
_COUNTING = Signature(_FD, _COMMAND, UnsignedLong())


def _ioctl(call: Call) -> Signature:
    command = call.args[1] & MASK_32
    signature = _SIGNATURES.get(command)
    if signature is not None:
        return signature
    if command in POINTING:
        return _POINTING
    if command in BARE:
        return _BARE
    return _COUNTING if command in COUNTING else _OTHER


SIGNATURES = {"ioctl": Signature(choose=_ioctl)}
