"""System V IPC: shared memory, semaphores and message queues (sysvipc(7))."""

from __future__ import annotations

import struct

from utraced.syscalls.basics import (
    MASK_32,
    Address,
    Array,
    Flags,
    Int,
    Long,
    Size,
    Struct,
    Table,
    Unsigned,
    address_text,
    buffer_text,
    enum_text,
    flags_text,
    hex_text,
)
from utraced.syscalls.call import Call
from utraced.syscalls.kinds import Kind
from utraced.syscalls.quote import quote_bytes
from utraced.syscalls.results import RETURNS_ADDRESS
from utraced.syscalls.signature import Signature
from utraced.syscalls.tables.network import (
    IPC_GET_FLAGS,
    MESSAGE_QUEUE_COMMANDS,
    MESSAGE_QUEUE_FLAGS,
    SEMAPHORE_COMMANDS,
    SEMAPHORE_FLAGS,
    SHARED_MEMORY_COMMANDS,
    SHARED_MEMORY_FLAGS,
    SHARED_MEMORY_GET_FLAGS,
)

from .timespec import Timespec

IPC_64 = 0x100
IPC_SET = 1
MODE = 0o777
HUGE_SHIFT = 26
HUGE_MASK = 0x3F << HUGE_SHIFT
SHM_HUGETLB = 0o4000

_PERM = struct.Struct("<iIIIII")
_SHM = struct.Struct("<48xQQQQiiQ16x")
_SHM_INFO = struct.Struct("<5Q32x")
_SHM_USED = struct.Struct("<i4x5Q")
_SEM = struct.Struct("<48xQ8xQ8xQ16x")
_MSG = struct.Struct("<48xQQQQQQii16x")
_OPERATION = struct.Struct("<HhH")


class Key(Kind):
    """A key, by which programs find the same object."""

    __slots__ = ()

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        value &= MASK_32
        return hex(value) if value else "IPC_PRIVATE"


def mode_text(value: int) -> str:
    """Return permissions in octal, three digits at least."""
    return f"0{value:o}" if value > 0o77 else f"{value:03o}"


class GetFlags(Kind):
    """How to make an object: flags of ``table``, permissions, and the size of huge pages."""

    __slots__ = ("huge", "table")

    def __init__(self, table: Table, *, huge: bool = False) -> None:
        super().__init__()
        self.table = table
        self.huge = huge

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        value &= MASK_32
        flags = value & ~MODE
        pages = ""
        if self.huge and flags & SHM_HUGETLB and flags & HUGE_MASK:
            pages = f"{(flags & HUGE_MASK) >> HUGE_SHIFT}<<SHM_HUGE_SHIFT|"
            flags &= ~HUGE_MASK
        return f"{f'{flags_text(flags, self.table)}|' if flags else ''}{pages}{mode_text(value & MODE)}"


class Command(Kind):
    """What to do with an object; programs of old add the version of their structures."""

    __slots__ = ("table", "unknown")

    def __init__(self, table: Table, unknown: str) -> None:
        super().__init__()
        self.table = table
        self.unknown = unknown

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        value &= MASK_32
        # The bit is a mark of its own only to calls that have an older form, which on x86-64 programs cannot make.
        mark = "IPC_64|" if value & IPC_64 else ""
        return f"{mark}{enum_text(value & ~IPC_64, self.table, self.unknown)}"


def _perm_text(prefix: str, data: bytes, *, whole: bool) -> str:
    """Return the owner and the permissions; ``whole``: with the key and the maker too."""
    key, uid, gid, cuid, cgid, mode = _PERM.unpack_from(data)
    text = f"uid={uid}, gid={gid}, mode={mode_text(mode & 0xFFFF)}"
    more = f", key={key}, cuid={cuid}, cgid={cgid}" if whole else ""
    return f"{prefix}_perm={{{text}{more}}}"


class _Described(Struct):
    """Base of what IPC_STAT tells; with IPC_SET only what can be changed is shown."""

    __slots__ = ()

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``; only the layout of 64-bit programs is known."""
        return super().render(value, call) if call.abi.word == 8 else address_text(value)


class SharedMemory(_Described):
    """``struct shmid64_ds``."""

    __slots__ = ()

    def text(self, data: bytes, call: Call) -> str:
        """See ``Struct.text``."""
        perm = _perm_text("shm", data, whole=self.out)
        if not self.out:
            return f"{{{perm}}}"
        size, attached, detached, changed, maker, last, count = _SHM.unpack(data)
        return (
            f"{{{perm}, shm_segsz={size}, shm_cpid={maker}, shm_lpid={last}, shm_nattch={count}, "
            f"shm_atime={attached}, shm_dtime={detached}, shm_ctime={changed}}}"
        )


class SharedMemoryLimits(_Described):
    """``struct shminfo64``."""

    __slots__ = ()

    def text(self, data: bytes, call: Call) -> str:
        """See ``Struct.text``."""
        names = ("shmmax", "shmmin", "shmmni", "shmseg", "shmall")
        return f"{{{', '.join([f'{n}={v}' for n, v in zip(names, _SHM_INFO.unpack(data), strict=True)])}}}"


class SharedMemoryUse(_Described):
    """``struct shm_info``."""

    __slots__ = ()

    def text(self, data: bytes, call: Call) -> str:
        """See ``Struct.text``."""
        names = ("used_ids", "shm_tot", "shm_rss", "shm_swp", "swap_attempts", "swap_successes")
        return f"{{{', '.join([f'{n}={v}' for n, v in zip(names, _SHM_USED.unpack(data), strict=True)])}}}"


class Semaphores(_Described):
    """``struct semid64_ds``."""

    __slots__ = ()

    def text(self, data: bytes, call: Call) -> str:
        """See ``Struct.text``."""
        perm = _perm_text("sem", data, whole=self.out)
        if not self.out:
            return f"{{{perm}}}"
        used, changed, count = _SEM.unpack(data)
        return f"{{{perm}, sem_otime={used}, sem_ctime={changed}, sem_nsems={count}}}"


class MessageQueue(_Described):
    """``struct msqid64_ds``."""

    __slots__ = ()

    def text(self, data: bytes, call: Call) -> str:
        """See ``Struct.text``."""
        perm = _perm_text("msg", data, whole=self.out)
        sent, received, changed, _, count, room, sender, receiver = _MSG.unpack(data)
        if not self.out:
            return f"{{{perm}, msg_qbytes={room}}}"
        return (
            f"{{{perm}, msg_stime={sent}, msg_rtime={received}, msg_ctime={changed}, msg_qnum={count}, "
            f"msg_qbytes={room}, msg_lspid={sender}, msg_lrpid={receiver}}}"
        )


class SemaphoreOperation(Struct):
    """``struct sembuf``."""

    __slots__ = ()

    def text(self, data: bytes, call: Call) -> str:
        """See ``Struct.text``."""
        number, change, flags = _OPERATION.unpack(data)
        return f"{{sem_num={number}, sem_op={change}, sem_flg={flags_text(flags, SEMAPHORE_FLAGS, 'SEM_???')}}}"


class QueuedMessage(Kind):
    """``struct msgbuf``: a type and text, as long in bytes as the argument after it says."""

    __slots__ = ()
    reads = True

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        word = call.abi.word
        if not value or (self.out and call.errno):
            return address_text(value)
        head = self.memory(call).read(value, word)
        if len(head) < word:
            return hex(value)
        kind = int.from_bytes(head, "little", signed=True)
        text = buffer_text(value + word, call.args[2], call, out=self.out) if call.args[2] else quote_bytes(b"")
        return f"{{mtype={kind}, mtext={text}}}"


class Semctl(Kind):
    """A number that SETVAL sets, or an address: strace does not follow it but for IPC_STAT and IPC_SET."""

    __slots__ = ()

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        return hex_text(value) if call.args[2] & MASK_32 == 16 else address_text(value)


_INT = Int()
_ADDRESS = Address()
_SIZE = Size()
_SHM_COMMAND = Command(SHARED_MEMORY_COMMANDS, "SHM_???")
_SEM_COMMAND = Command(SEMAPHORE_COMMANDS, "SEM_???")
_MSG_COMMAND = Command(MESSAGE_QUEUE_COMMANDS, "MSG_???")
_MSG_FLAGS = Flags(MESSAGE_QUEUE_FLAGS, "MSG_???")
_SHM_OTHER = Signature(_INT, _SHM_COMMAND, _ADDRESS)
_SEM_OTHER = Signature(_INT, _INT, _SEM_COMMAND, Semctl())
_MSG_OTHER = Signature(_INT, _MSG_COMMAND, _ADDRESS)
_SHM_STAT = Signature(_INT, _SHM_COMMAND, SharedMemory(_SHM.size, out=True))
_SEM_STAT = Signature(_INT, _INT, _SEM_COMMAND, Semaphores(_SEM.size, out=True))
_MSG_STAT = Signature(_INT, _MSG_COMMAND, MessageQueue(_MSG.size, out=True))
_SHM_BY_COMMAND = {
    IPC_SET: Signature(_INT, _SHM_COMMAND, SharedMemory(_SHM.size)),
    2: _SHM_STAT,
    13: _SHM_STAT,
    15: _SHM_STAT,
    3: Signature(_INT, _SHM_COMMAND, SharedMemoryLimits(_SHM_INFO.size, out=True)),
    14: Signature(_INT, _SHM_COMMAND, SharedMemoryUse(_SHM_USED.size, out=True)),
}
_SEM_BY_COMMAND = {
    IPC_SET: Signature(_INT, _INT, _SEM_COMMAND, Semaphores(_SEM.size)),
    2: _SEM_STAT,
    18: _SEM_STAT,
    20: _SEM_STAT,
}
_MSG_BY_COMMAND = {
    IPC_SET: Signature(_INT, _MSG_COMMAND, MessageQueue(_MSG.size)),
    2: _MSG_STAT,
    11: _MSG_STAT,
    13: _MSG_STAT,
}
_OPERATIONS = Array(SemaphoreOperation(_OPERATION.size), 2)


SIGNATURES = {
    "shmget": Signature(Key(), _SIZE, GetFlags(SHARED_MEMORY_GET_FLAGS, huge=True)),
    "shmat": Signature(_INT, _ADDRESS, Flags(SHARED_MEMORY_FLAGS, "SHM_???"), returns=RETURNS_ADDRESS),
    "shmdt": Signature(_ADDRESS),
    "shmctl": Signature(choose=lambda call: _SHM_BY_COMMAND.get(call.args[1] & MASK_32, _SHM_OTHER)),
    "semget": Signature(Key(), _INT, GetFlags(IPC_GET_FLAGS)),
    "semop": Signature(_INT, _OPERATIONS, Unsigned()),
    "semtimedop": Signature(_INT, _OPERATIONS, Unsigned(), Timespec()),
    "semtimedop_time64": Signature(_INT, _OPERATIONS, Unsigned(), Timespec(wide=True)),
    "semctl": Signature(choose=lambda call: _SEM_BY_COMMAND.get(call.args[2] & MASK_32, _SEM_OTHER)),
    "msgget": Signature(Key(), GetFlags(IPC_GET_FLAGS)),
    "msgsnd": Signature(_INT, QueuedMessage(), _SIZE, _MSG_FLAGS),
    "msgrcv": Signature(_INT, QueuedMessage(out=True), _SIZE, Long(), _MSG_FLAGS),
    "msgctl": Signature(choose=lambda call: _MSG_BY_COMMAND.get(call.args[1] & MASK_32, _MSG_OTHER)),
}
