"""What files and file systems are: stat, statx, statfs."""

from __future__ import annotations

import struct

from utraced.syscalls.basics import DirFd, Fd, Flags, Path, Struct, Unsigned, enum_text, flags_text, hex_text
from utraced.syscalls.call import Call
from utraced.syscalls.kinds import Kind
from utraced.syscalls.signature import Signature
from utraced.syscalls.tables.files import AT_FLAGS, FILE_TYPES, MAGICS, STATFS_FLAGS, STATX_ATTRIBUTES, STATX_MASKS

S_IFMT = 0o170000
S_IFCHR = 0o020000
S_IFBLK = 0o060000
ST_VALID = 0x20
STATX_SIZE = 0x200
_SPECIAL = ((0o4000, "S_ISUID"), (0o2000, "S_ISGID"), (0o1000, "S_ISVTX"))
_TYPES = {0: "", **dict(FILE_TYPES)}
_SYNC_TYPES = (
    (0, "AT_STATX_SYNC_AS_STAT"),
    (0x2000, "AT_STATX_FORCE_SYNC"),
    (0x4000, "AT_STATX_DONT_SYNC"),
    (0x6000, "AT_STATX_FORCE_SYNC|AT_STATX_DONT_SYNC"),
)
_SYNC_TYPE = 0x6000


def octal_text(mode: int) -> str:
    """Return permission bits in three octal digits or more."""
    return f"{'0' if mode else ''}{mode:o}".rjust(3, "0")


def file_mode_text(mode: int) -> str:
    """Return a file's type and permissions; in octal alone where the type is not known."""
    kind = mode & S_IFMT
    if kind not in _TYPES:
        return octal_text(mode)
    names = [_TYPES[kind]] if kind else []
    names += [text for bit, text in _SPECIAL if mode & bit]
    return "|".join([*names, octal_text(mode & ~(S_IFMT | 0o7000))])


def device_text(device: int) -> str:
    """Return a device number as the C library splits it (makedev(3))."""
    major = device >> 8 & 0xFFF | device >> 32 & 0xFFFFF000
    minor = device & 0xFF | device >> 12 & 0xFFFFFF00
    return f"makedev({hex_text(major)}, {hex_text(minor & 0xFFFFFFFF)})"


def is_device(mode: int) -> bool:
    """Return whether a file of ``mode`` is a device's node."""
    return mode & S_IFMT in (S_IFCHR, S_IFBLK)


class Stat(Struct):
    """``struct stat`` of 64-bit callers and of i386's old calls (arch/x86/include/uapi/asm/stat.h)."""

    __slots__ = ("narrow", "wide")

    def __init__(self, narrow: struct.Struct) -> None:
        super().__init__(out=True)
        self.wide = struct.Struct("<24xI12xQQ88x")
        self.narrow = narrow

    def layout(self, call: Call) -> struct.Struct:
        """Return the layout, its fields mode, device and size, for the caller's ABI."""
        return self.narrow if call.abi.name == "i386" else self.wide

    def size(self, call: Call) -> int:
        """See ``Struct.size``."""
        return self.layout(call).size

    def text(self, data: bytes, call: Call) -> str:
        """See ``Struct.text``."""
        mode, device, size = self.layout(call).unpack(data)
        what = f"st_rdev={device_text(device)}" if is_device(mode) else f"st_size={size}"
        return f"{{st_mode={file_mode_text(mode)}, {what}, ...}}"


class Statx(Struct):
    """``struct statx`` (include/uapi/linux/stat.h)."""

    __slots__ = ()
    layout = struct.Struct("<I4xQ12xH10xQ208x")

    def text(self, data: bytes, call: Call) -> str:
        """See ``Struct.text``."""
        mask, attributes, mode, size = self.layout.unpack(data)
        shown = flags_text(mask, STATX_MASKS, "STATX_???")
        attributes_text = flags_text(attributes, STATX_ATTRIBUTES, "STATX_ATTR_???")
        text = f"stx_mask={shown}, stx_attributes={attributes_text}, stx_mode={file_mode_text(mode)}"
        return f"{{{text}, stx_size={size}, ...}}" if mask & STATX_SIZE else f"{{{text}, ...}}"


class StatxFlags(Kind):
    """The flags of statx, how fresh the answer is to be first."""

    __slots__ = ()

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        value &= 0xFFFFFFFF
        text = enum_text(value & _SYNC_TYPE, _SYNC_TYPES)
        rest = value & ~_SYNC_TYPE
        return f"{text}|{flags_text(rest, AT_FLAGS)}" if rest else text


class Statfs(Struct):
    """``struct statfs``, or ``struct statfs64`` where ``wide`` (include/uapi/asm-generic/statfs.h)."""

    __slots__ = ("narrow", "wide")

    def __init__(self, *, wide: bool = False) -> None:
        super().__init__(out=True)
        self.wide = struct.Struct("<QQQQQQQIIQQQ32x")
        self.narrow = struct.Struct("<IIQQQQQIIIII16x" if wide else "<IIIIIIIIIIII16x")

    def layout(self, call: Call) -> struct.Struct:
        """Return the layout for the caller's ABI."""
        return self.narrow if call.abi.name == "i386" else self.wide

    def size(self, call: Call) -> int:
        """See ``Struct.size``."""
        return self.layout(call).size

    def text(self, data: bytes, call: Call) -> str:
        """See ``Struct.text``."""
        kind, bsize, blocks, bfree, bavail, files, ffree, low, high, namelen, frsize, flags = self.layout(call).unpack(
            data
        )
        valid = f", f_flags={flags_text(flags, STATFS_FLAGS)}" if flags & ST_VALID else ""
        return (
            f"{{f_type={enum_text(kind, MAGICS)}, f_bsize={bsize}, f_blocks={blocks}, f_bfree={bfree}, "
            f"f_bavail={bavail}, f_files={files}, f_ffree={ffree}, "
            f"f_fsid={{val=[{hex_text(low)}, {hex_text(high)}]}}, f_namelen={namelen}, "
            f"f_frsize={frsize}{valid}}}"
        )


_FD = Fd()
_DIR = DirFd()
_PATH = Path()
_AT = Flags(AT_FLAGS, "AT_???")
_STAT = Stat(struct.Struct("<8xH6xHxxI40x"))
_STAT_64 = Stat(struct.Struct("<16xI12xQ4xQ44x"))
_STATFS = Statfs()
_STATFS_64 = Statfs(wide=True)

SIGNATURES = {
    "stat": Signature(_PATH, _STAT),
    "lstat": Signature(_PATH, _STAT),
    "fstat": Signature(_FD, _STAT),
    "newfstatat": Signature(_DIR, _PATH, _STAT, _AT),
    "stat64": Signature(_PATH, _STAT_64),
    "lstat64": Signature(_PATH, _STAT_64),
    "fstat64": Signature(_FD, _STAT_64),
    "fstatat64": Signature(_DIR, _PATH, _STAT_64, _AT),
    "statx": Signature(_DIR, _PATH, StatxFlags(), Flags(STATX_MASKS, "STATX_???"), Statx(Statx.layout.size, out=True)),
    "statfs": Signature(_PATH, _STATFS),
    "fstatfs": Signature(_FD, _STATFS),
    "statfs64": Signature(_PATH, Unsigned(), _STATFS_64),
    "fstatfs64": Signature(_FD, Unsigned(), _STATFS_64),
}
