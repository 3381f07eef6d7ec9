"""What threads share: futexes (futex(2)), robust lists and restartable sequences."""

from __future__ import annotations

from utraced.syscalls.basics import (
    MASK_32,
    Address,
    Enum,
    Hex,
    Pid,
    Pointer,
    Table,
    Unsigned,
    UnsignedLong,
    enum_text,
    hex_text,
)
from utraced.syscalls.call import Call
from utraced.syscalls.kinds import Kind
from utraced.syscalls.signature import Signature
from utraced.syscalls.tables.processes import CLOCKS, FUTEX_CALCULATIONS, FUTEX_COMPARISONS, FUTEX_OPERATIONS

from .places import At
from .timespec import Timespec

PRIVATE = 0x80
CLOCK_REALTIME = 0x100
OPTIONS = PRIVATE | CLOCK_REALTIME
ANY_BITS = 0xFFFFFFFF

_NAMES = dict(FUTEX_OPERATIONS)
_WITHOUT_PRIVATE_NAME = frozenset({"FUTEX_FD"})
_WITH_CLOCK = frozenset({"FUTEX_WAIT", "FUTEX_WAIT_BITSET", "FUTEX_WAIT_REQUEUE_PI"})
_SHIFTED = 8


class Operation(Kind):
    """What to do, with its options; a clock is an option only of those that wait."""

    __slots__ = ()

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        value &= MASK_32
        name = _NAMES.get(value & ~OPTIONS)
        if name is None or (value & CLOCK_REALTIME and name not in _WITH_CLOCK):
            return f"{hex_text(value)} /* FUTEX_??? */"
        if value & PRIVATE:
            name += "|FUTEX_PRIVATE_FLAG" if name in _WITHOUT_PRIVATE_NAME else "_PRIVATE"
        return f"{name}|FUTEX_CLOCK_REALTIME" if value & CLOCK_REALTIME else name


class Bits(Kind):
    """Which waiters are meant."""

    __slots__ = ()

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        value &= MASK_32
        return "FUTEX_BITSET_MATCH_ANY" if value == ANY_BITS else hex_text(value)


class Calculation(Kind):
    """What FUTEX_WAKE_OP does with the second futex: an operation, a comparison and their numbers in one word."""

    __slots__ = ()

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        operation, comparison = value >> 28 & 0xF, value >> 24 & 0xF
        number, compared = value >> 12 & 0xFFF, value & 0xFFF
        shift = "FUTEX_OP_OPARG_SHIFT<<28|" if operation & _SHIFTED else ""
        done = _shifted(operation & ~_SHIFTED, FUTEX_CALCULATIONS, 28, "FUTEX_OP_???")
        against = _shifted(comparison, FUTEX_COMPARISONS, 24, "FUTEX_OP_CMP_???")
        return f"{shift}{done}|{hex_text(number)}<<12|{against}|{hex_text(compared)}"


def _shifted(value: int, table: Table, shift: int, unknown: str) -> str:
    """Return a name moved left by ``shift`` bits, the comment for a number without one after that."""
    name = enum_text(value, table)
    known = not name[0].isdigit()
    return f"{name}<<{shift}" if known else f"{name}<<{shift} /* {unknown} */"


_ADDRESS = Address()
_COUNT = Unsigned()
_OPERATION = Operation()
_HEX = Hex()
_OPTIONAL = Bits()


def _by_operation(timeout: Timespec) -> Signature:
    """Return the signature of a futex call whose timeouts are of the kind ``timeout``."""
    first = (_ADDRESS, _OPERATION)
    wait = Signature(*first, _COUNT, timeout)
    wake = Signature(*first, _COUNT)
    lock = Signature(*first, At(3, timeout))
    requeue = Signature(*first, _COUNT, _COUNT, _ADDRESS)
    compare = Signature(*first, _COUNT, _COUNT, _ADDRESS, _COUNT)
    plain = Signature(*first)
    by_name = {
        "FUTEX_WAIT": wait,
        "FUTEX_WAKE": wake,
        "FUTEX_FD": wake,
        "FUTEX_REQUEUE": requeue,
        "FUTEX_CMP_REQUEUE": compare,
        "FUTEX_CMP_REQUEUE_PI": compare,
        "FUTEX_WAKE_OP": Signature(*first, _COUNT, _COUNT, _ADDRESS, Calculation()),
        "FUTEX_LOCK_PI": lock,
        "FUTEX_LOCK_PI2": lock,
        "FUTEX_UNLOCK_PI": plain,
        "FUTEX_TRYLOCK_PI": plain,
        "FUTEX_WAIT_BITSET": Signature(*first, _COUNT, timeout, At(5, _OPTIONAL)),
        "FUTEX_WAKE_BITSET": Signature(*first, _COUNT, At(5, _OPTIONAL)),
        "FUTEX_WAIT_REQUEUE_PI": Signature(*first, _COUNT, timeout, _ADDRESS),
    }
    known = {value: by_name[name] for value, name in FUTEX_OPERATIONS}
    other = Signature(*first, _COUNT, _HEX, _ADDRESS, _HEX)
    return Signature(choose=lambda call: known.get(call.args[1] & MASK_32 & ~OPTIONS, other))


_FUTEX = _by_operation(Timespec())
_SIZE = UnsignedLong()

SIGNATURES = {
    "futex": _FUTEX,
    "futex_time64": _by_operation(Timespec(wide=True)),
    "futex_waitv": Signature(_ADDRESS, _COUNT, Hex(), Timespec(wide=True), Enum(CLOCKS, "CLOCK_???")),
    "set_robust_list": Signature(_ADDRESS, _SIZE),
    "get_robust_list": Signature(Pid(), Pointer(_ADDRESS, 0, out=True), Pointer(_SIZE, 0, out=True)),
    "rseq": Signature(Hex(), Hex(), Hex(), Hex()),
}
