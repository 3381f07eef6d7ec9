"""Names in the file system: making, moving, removing and mounting; owners, permissions and extended attributes."""

from __future__ import annotations

from utraced.syscalls.basics import (
    MASK_32,
    Address,
    Buffer,
    DirFd,
    Fd,
    Flags,
    Mode,
    Path,
    Size,
    Text,
    Unsigned,
    address_text,
    count_of,
    flags_text,
)
from utraced.syscalls.call import Call
from utraced.syscalls.kinds import Kind
from utraced.syscalls.quote import quote_bytes
from utraced.syscalls.results import RETURNS_OCTAL
from utraced.syscalls.signature import Signature
from utraced.syscalls.tables.files import (
    ACCESS_FLAGS,
    AT_FLAGS,
    FACCESSAT_FLAGS,
    MOUNT_FLAGS,
    RENAME_FLAGS,
    UMOUNT_FLAGS,
    XATTR_FLAGS,
)

from .stat import device_text, file_mode_text, is_device

MS_MGC_MSK = 0xFFFF0000
MS_MGC_VAL = 0xC0ED0000
MS_REMOUNT = 0x20
MS_BIND_MOVE_PROPAGATION = 0x1000 | 0x2000 | 0x20000 | 0x40000 | 0x80000 | 0x100000
GETDENTS_MAX = 1 << 20
"""What is read of a directory's buffer at most; no C library has one as large."""


class Owner(Kind):
    """A user or group, -1 for none."""

    __slots__ = ()

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        value &= MASK_32
        return "-1" if value == MASK_32 else str(value)


class OldOwner(Kind):
    """The same in 16 bits, as i386's first calls have it."""

    __slots__ = ()

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        value &= 0xFFFF
        return "-1" if value == 0xFFFF else str(value)


class NodeMode(Kind):
    """The type and permissions of a node to be made."""

    __slots__ = ()

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        return file_mode_text(value & 0xFFFF)


class Device(Kind):
    """The device number of a node to be made, 32 bits of it (the kernel's new_decode_dev)."""

    __slots__ = ()

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        return device_text(value & MASK_32)


class MountFlags(Kind):
    """The flags of mount, with the magic number that old programs put into the upper half."""

    __slots__ = ()

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        if value & MS_MGC_MSK != MS_MGC_VAL:
            return flags_text(value, MOUNT_FLAGS, "MS_???")
        rest = value & ~MS_MGC_MSK
        return f"MS_MGC_VAL|{flags_text(rest, MOUNT_FLAGS, 'MS_???')}" if rest else "MS_MGC_VAL"


class Entries(Kind):
    """A directory's entries: their address and how many came.  ``struct linux_dirent``, or with ``wide`` the 64."""

    __slots__ = ("wide",)
    reads = True

    def __init__(self, *, wide: bool) -> None:
        super().__init__(out=True)
        self.wide = wide

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        if call.errno:
            return address_text(value)
        size = min(call.result or 0, GETDENTS_MAX)
        data = call.left.read(value, size) if size > 0 else b""
        if len(data) < size:
            return address_text(value)
        # d_reclen comes after d_ino and d_off, which are longs in the older structure.
        at = 16 if self.wide else 2 * call.abi.word
        count = start = 0
        while start + at + 2 <= len(data):
            length = int.from_bytes(data[start + at : start + at + 2], "little")
            if not length:
                break
            count += 1
            start += length
        more = "+" if start < len(data) else ""
        return f"{address_text(value)} /* {count}{more} entries */"


class Value(Buffer):
    """An extended attribute's value; a NUL at the end of what is shown is left out."""

    __slots__ = ()
    string = True

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        if not value or (self.out and call.errno):
            return address_text(value)
        size = count_of(self.length, call)
        shown = min(size, call.limit)
        data = self.memory(call).read(value, shown) if shown else b""
        if len(data) < shown:
            return hex(value)
        return quote_bytes(data[:-1]) if data.endswith(b"\0") else quote_bytes(data, truncated=size > shown)


class WorkingDirectory(Path):
    """The path that getcwd wrote, as long as the result says, its NUL included."""

    __slots__ = ()

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        if not value or call.errno:
            return address_text(value)
        length = max((call.result or 0) - 1, 0)
        data, ended = call.left.string(value, length)
        return quote_bytes(data, truncated=not ended) if ended or len(data) == length else hex(value)


class Names(Buffer):
    """The names of attributes that listxattr found; not filled in when only their length was asked for."""

    __slots__ = ()

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        return super().render(value, call) if call.args[2] else address_text(value)


_FD = Fd()
_DIR = DirFd()
_PATH = Path()
_TEXT = Text()
_SIZE = Size()
_MODE = Mode()
_OWNER = Owner()
_OLD_OWNER = OldOwner()
_ACCESS = Flags(ACCESS_FLAGS, "?_OK")
_AT = Flags(AT_FLAGS, "AT_???")
_UNSIGNED = Unsigned()
_XATTR = Flags(XATTR_FLAGS, "XATTR_???")
_VALUE_OUT = Value("result", out=True)
_NAMES = Names("result", out=True)
_ADDRESS = Address()
_TARGET = Buffer("result", out=True)
_MKNOD = Signature(_PATH, NodeMode())
_MKNOD_DEVICE = Signature(_PATH, NodeMode(), Device())
_MKNODAT = Signature(_DIR, _PATH, NodeMode())
_MKNODAT_DEVICE = Signature(_DIR, _PATH, NodeMode(), Device())
_MOUNT = Signature(_PATH, _PATH, _TEXT, MountFlags(), _TEXT)
_MOUNT_NO_TYPE = Signature(_PATH, _PATH, _ADDRESS, MountFlags(), _TEXT)
_MOUNT_FLAGS_ONLY = Signature(_PATH, _PATH, _ADDRESS, MountFlags(), _ADDRESS)


def _mount(call: Call) -> Signature:
    """Choose by what the flags leave unused: changes of a mount need no type, those of its place no data either."""
    flags = call.args[3]
    if flags & MS_MGC_MSK == MS_MGC_VAL:
        flags &= ~MS_MGC_MSK
    if flags & MS_REMOUNT:
        return _MOUNT_NO_TYPE
    return _MOUNT_FLAGS_ONLY if flags & MS_BIND_MOVE_PROPAGATION else _MOUNT


SIGNATURES = {
    "access": Signature(_PATH, _ACCESS),
    "faccessat": Signature(_DIR, _PATH, _ACCESS),
    "faccessat2": Signature(_DIR, _PATH, _ACCESS, Flags(FACCESSAT_FLAGS, "AT_???")),
    "readlink": Signature(_PATH, _TARGET, _SIZE),
    "readlinkat": Signature(_DIR, _PATH, _TARGET, _SIZE),
    "getcwd": Signature(WorkingDirectory(out=True), _SIZE),
    "chdir": Signature(_PATH),
    "fchdir": Signature(_FD),
    "chroot": Signature(_PATH),
    "pivot_root": Signature(_PATH, _PATH),
    "mkdir": Signature(_PATH, _MODE),
    "mkdirat": Signature(_DIR, _PATH, _MODE),
    "rmdir": Signature(_PATH),
    "unlink": Signature(_PATH),
    "unlinkat": Signature(_DIR, _PATH, _AT),
    "rename": Signature(_PATH, _PATH),
    "renameat": Signature(_DIR, _PATH, _DIR, _PATH),
    "renameat2": Signature(_DIR, _PATH, _DIR, _PATH, Flags(RENAME_FLAGS, "RENAME_??")),
    "link": Signature(_PATH, _PATH),
    "linkat": Signature(_DIR, _PATH, _DIR, _PATH, _AT),
    "symlink": Signature(_PATH, _PATH),
    "symlinkat": Signature(_PATH, _DIR, _PATH),
    "chmod": Signature(_PATH, _MODE),
    "fchmod": Signature(_FD, _MODE),
    "fchmodat": Signature(_DIR, _PATH, _MODE),
    "chown": Signature(_PATH, _OWNER, _OWNER),
    "lchown": Signature(_PATH, _OWNER, _OWNER),
    "fchown": Signature(_FD, _OWNER, _OWNER),
    "chown32": Signature(_PATH, _OWNER, _OWNER),
    "lchown32": Signature(_PATH, _OWNER, _OWNER),
    "fchown32": Signature(_FD, _OWNER, _OWNER),
    "fchownat": Signature(_DIR, _PATH, _OWNER, _OWNER, _AT),
    "umask": Signature(_MODE, returns=RETURNS_OCTAL),
    "mknod": Signature(choose=lambda call: _MKNOD_DEVICE if is_device(call.args[1]) else _MKNOD),
    "mknodat": Signature(choose=lambda call: _MKNODAT_DEVICE if is_device(call.args[2]) else _MKNODAT),
    "getdents": Signature(_FD, Entries(wide=False), _UNSIGNED),
    "getdents64": Signature(_FD, Entries(wide=True), _UNSIGNED),
    "mount": Signature(choose=_mount),
    "umount": Signature(_PATH),
    "umount2": Signature(_PATH, Flags(UMOUNT_FLAGS, "MNT_???")),
    "getxattr": Signature(_PATH, _TEXT, _VALUE_OUT, _SIZE),
    "lgetxattr": Signature(_PATH, _TEXT, _VALUE_OUT, _SIZE),
    "fgetxattr": Signature(_FD, _TEXT, _VALUE_OUT, _SIZE),
    "setxattr": Signature(_PATH, _TEXT, Value(3), _SIZE, _XATTR),
    "lsetxattr": Signature(_PATH, _TEXT, Value(3), _SIZE, _XATTR),
    "fsetxattr": Signature(_FD, _TEXT, Value(3), _SIZE, _XATTR),
    "listxattr": Signature(_PATH, _NAMES, _SIZE),
    "llistxattr": Signature(_PATH, _NAMES, _SIZE),
    "flistxattr": Signature(_FD, _NAMES, _SIZE),
    "removexattr": Signature(_PATH, _TEXT),
    "lremovexattr": Signature(_PATH, _TEXT),
    "fremovexattr": Signature(_FD, _TEXT),
}

I386_SIGNATURES = {
    "chown": Signature(_PATH, _OLD_OWNER, _OLD_OWNER),
    "lchown": Signature(_PATH, _OLD_OWNER, _OLD_OWNER),
    "fchown": Signature(_FD, _OLD_OWNER, _OLD_OWNER),
}
