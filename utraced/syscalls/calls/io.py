"""Reading and writing, and moving bytes from file to file."""

from __future__ import annotations

from utraced.syscalls.basics import (
    MASK_32,
    Buffer,
    Enum,
    Fd,
    Flags,
    Long,
    Path,
    Pid,
    Pointer,
    Size,
    Unsigned,
    UnsignedLong,
    address_text,
    signed_64,
)
from utraced.syscalls.call import Call
from utraced.syscalls.kinds import Kind
from utraced.syscalls.signature import Signature
from utraced.syscalls.tables.files import (
    ADVICES,
    FALLOCATE_MODES,
    FLOCK_OPERATIONS,
    IO_URING_ENTER_FLAGS,
    RWF_FLAGS,
    SPLICE_FLAGS,
    SYNC_RANGE_FLAGS,
    WHENCES,
)

from .iovec import Iovecs
from .places import At, Length, Offset
from .sigset import SigSet


class SignedLong(Kind):
    """A 64-bit number behind a pointer."""

    __slots__ = ()

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        return str(signed_64(value))


class SplitOffset(Kind):
    """The offset of _llseek, its upper half in the argument before the lower one."""

    __slots__ = ()

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        return str(signed_64((value & MASK_32) << 32 | call.args[2] & MASK_32))


class MovedOffset(Kind):
    """An offset behind a pointer that the call moves: ``[5] => [15]``.  ``size`` in bytes, 0 for a long."""

    __slots__ = ("bytes",)
    reads = True

    def __init__(self, size: int = 8) -> None:
        super().__init__(out=True)
        self.bytes = size

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        size = self.bytes or call.abi.word
        before = call.entered.read(value, size) if value else b""
        if len(before) < size:
            return address_text(value)
        text = f"[{int.from_bytes(before, 'little')}]"
        if call.errno or not call.result:
            return text
        after = call.left.read(value, size)
        moved = f"[{int.from_bytes(after, 'little')}]" if len(after) == size else hex(value)
        return f"{text} => {moved}"

    def read_entry(self, value: int, call: Call) -> None:
        """See ``Kind.read_entry``."""
        if value:
            call.entered.read(value, self.bytes or call.abi.word)

    def read_return(self, value: int, call: Call) -> None:
        """See ``Kind.read_return``."""
        if value and call.result and not call.errno:
            call.left.read(value, self.bytes or call.abi.word)


_FD = Fd()
_OFFSET = Offset(3)
_SIZE = Size()
_COUNT = UnsignedLong()
_OFFSET_POINTER = Pointer(SignedLong(), 8)
_SPLICE = Flags(SPLICE_FLAGS, "SPLICE_F_???")
_SYNC_RANGE = Flags(SYNC_RANGE_FLAGS, "SYNC_FILE_RANGE_???")
_RWF = Flags(RWF_FLAGS, "RWF_???")
_WHENCE = Enum(WHENCES, "SEEK_???")
_INTO = Buffer("result", out=True)
_FROM = Buffer(2)
_SCATTER = Iovecs(2, out=True)
_GATHER = Iovecs(2)
_REMOTE = Iovecs(4, contents=False)

SIGNATURES = {
    "read": Signature(_FD, _INTO, _SIZE),
    "write": Signature(_FD, _FROM, _SIZE),
    "pread64": Signature(_FD, _INTO, _SIZE, _OFFSET),
    "pwrite64": Signature(_FD, _FROM, _SIZE, _OFFSET),
    "readv": Signature(_FD, _SCATTER, _COUNT),
    "writev": Signature(_FD, _GATHER, _COUNT),
    "preadv": Signature(_FD, _SCATTER, _COUNT, _OFFSET),
    "pwritev": Signature(_FD, _GATHER, _COUNT, _OFFSET),
    "preadv2": Signature(_FD, _SCATTER, _COUNT, _OFFSET, At(5, _RWF)),
    "pwritev2": Signature(_FD, _GATHER, _COUNT, _OFFSET, At(5, _RWF)),
    "process_vm_readv": Signature(Pid(), Iovecs(2, out=True), _COUNT, _REMOTE, _COUNT, _COUNT),
    "process_vm_writev": Signature(Pid(), Iovecs(2), _COUNT, _REMOTE, _COUNT, _COUNT),
    "lseek": Signature(_FD, Long(), _WHENCE),
    "flock": Signature(_FD, Flags(FLOCK_OPERATIONS, "LOCK_???")),
    "fsync": Signature(_FD),
    "fdatasync": Signature(_FD),
    "sync": Signature(),
    "syncfs": Signature(_FD),
    "truncate": Signature(Path(), _COUNT),
    "ftruncate": Signature(_FD, _COUNT),
    "fallocate": Signature(_FD, Flags(FALLOCATE_MODES, "FALLOC_FL_???"), Offset(2), Offset(3)),
    "fadvise64": Signature(_FD, Offset(1), Length(2), Enum(ADVICES, "POSIX_FADV_???")),
    "readahead": Signature(_FD, Offset(1), _SIZE),
    "sync_file_range": Signature(_FD, Offset(1), Offset(2), _SYNC_RANGE),
    "sendfile": Signature(_FD, _FD, MovedOffset(0), _SIZE),
    "sendfile64": Signature(_FD, _FD, MovedOffset(), _SIZE),
    "splice": Signature(_FD, _OFFSET_POINTER, _FD, _OFFSET_POINTER, _SIZE, _SPLICE),
    "tee": Signature(_FD, _FD, _SIZE, _SPLICE),
    "vmsplice": Signature(_FD, _GATHER, _COUNT, _SPLICE),
    "copy_file_range": Signature(_FD, _OFFSET_POINTER, _FD, _OFFSET_POINTER, _SIZE, Unsigned()),
    "io_uring_enter": Signature(
        _FD, Unsigned(), Unsigned(), Flags(IO_URING_ENTER_FLAGS, "IORING_ENTER_???"), SigSet(5), _SIZE
    ),
}

I386_SIGNATURES = {
    "_llseek": Signature(_FD, SplitOffset(), At(3, Pointer(SignedLong(), 8, out=True)), At(4, _WHENCE)),
    "truncate64": Signature(Path(), Length(1)),
    "ftruncate64": Signature(_FD, Length(1)),
    "fallocate": Signature(_FD, Flags(FALLOCATE_MODES, "FALLOC_FL_???"), Offset(2), At(4, Offset(4))),
    "fadvise64": Signature(_FD, Offset(1), At(3, _SIZE), At(4, Enum(ADVICES, "POSIX_FADV_???"))),
    "fadvise64_64": Signature(_FD, Offset(1), At(3, Length(3)), At(5, Enum(ADVICES, "POSIX_FADV_???"))),
    "readahead": Signature(_FD, Offset(1), At(3, _SIZE)),
    "sync_file_range": Signature(_FD, Offset(1), At(3, Offset(3)), At(5, _SYNC_RANGE)),
}
