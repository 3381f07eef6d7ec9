"""What a process asks for itself: prctl, arch_prctl and personality."""

from __future__ import annotations

from utraced.syscalls.basics import (
    MASK_32,
    Address,
    Enum,
    Flags,
    Hex,
    Int,
    Pid,
    Pointer,
    Signal,
    Table,
    Text,
    UnsignedLong,
    address_text,
    enum_text,
    flags_text,
    hex_text,
    signed_32,
)
from utraced.syscalls.call import Call
from utraced.syscalls.kinds import Kind
from utraced.syscalls.quote import quote_bytes
from utraced.syscalls.results import RETURNS_HEX, ReturnsWith
from utraced.syscalls.signature import RETURNS_INT, Returns, Signature
from utraced.syscalls.tables.processes import (
    AMBIENT_OPERATIONS,
    ARCH_PRCTLS,
    CAPABILITIES,
    CORE_OPERATIONS,
    DISPATCH_MODES,
    DUMPABLE_VALUES,
    FP_MODES,
    MCE_KILLS,
    MCE_POLICIES,
    MM_FIELDS,
    PERSONALITIES,
    PERSONALITY_FLAGS,
    PID_TYPES,
    PRCTLS,
    SECCOMP_MODES,
    SECUREBITS,
    SPECULATION_STATES,
    SPECULATIONS,
    STATE_COMPONENTS,
    TSC_MODES,
    UNALIGN_FLAGS,
    VMA_OPERATIONS,
)

from .seccomp import Program

NAME_MAX = 15
"""Of a thread's name, its NUL not counted: TASK_COMM_LEN of the kernel less one."""
PER_MASK = 0xFF
NO_CHANGE = 0xFFFFFFFF
SECCOMP_MODE_FILTER = 2
DISPATCH_OFF, DISPATCH_ON = 0, 1
MCE_KILL_SET = 1


class Name(Kind):
    """A thread's name."""

    __slots__ = ()
    reads = True
    string = True

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        if not value or (self.out and call.errno):
            return address_text(value)
        data, ended = self.memory(call).string(value, NAME_MAX)
        if not ended and len(data) < NAME_MAX:
            return hex(value)
        shown = data[: call.limit]
        return quote_bytes(shown, truncated=not ended or len(shown) < len(data))


class Tracer(Kind):
    """Who may trace: a process, anyone or no one (Yama of the kernel)."""

    __slots__ = ()

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        anyone = (1 << 8 * call.abi.word) - 1
        return "PR_SET_PTRACER_ANY" if value == anyone else str(signed_32(value))


class PidType(Kind):
    """A number with the name of what it means in a comment."""

    __slots__ = ()

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        return f"{hex_text(value)} /* {enum_text(value, PID_TYPES)} */"


class Components(Kind):
    """A set of components of the processor's state, named in a comment."""

    __slots__ = ()

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        names = flags_text(value, _STATE, "XFEATURE_MASK_???")
        return f"{value:#x} /* {names} */" if value and not names.endswith("*/") else names


class Component(Kind):
    """One component of the processor's state by its number, named in a comment."""

    __slots__ = ()

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        return f"{hex_text(value)} /* {_FEATURES.get(value, 'XFEATURE_???')} */"


class Personality(Kind):
    """A system to imitate, and what of it."""

    __slots__ = ()

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        return personality_text(value & MASK_32)


def personality_text(value: int) -> str:
    """Return a personality as its domain and its flags (personality(2))."""
    if value == NO_CHANGE:
        return "0xffffffff"
    text = enum_text(value & PER_MASK, PERSONALITIES, "PER_???")
    rest = value & ~PER_MASK
    return f"{text}|{flags_text(rest, PERSONALITY_FLAGS)}" if rest else text


_STATE: Table = (
    (3, "XFEATURE_MASK_FPSSE"),
    *STATE_COMPONENTS[:5],
    (0xE0, "XFEATURE_MASK_AVX512"),
    *STATE_COMPONENTS[5:],
)
_FEATURES = {bit.bit_length() - 1: name.replace("_MASK_", "_") for bit, name in STATE_COMPONENTS}
_HEX = Hex()
_LONG = UnsignedLong()
_OPTION = Enum(PRCTLS, "PR_???")
_REST = (_HEX,) * 4
_OTHER = Signature(_OPTION, *_REST)
_CAPABILITY = Enum(CAPABILITIES, "CAP_???", bits=64)


def _note(table: Table, unknown: str) -> ReturnsWith:
    """Return the kind of a result that is a name, where there is anything to name."""
    return ReturnsWith(lambda call: enum_text((call.result or 0) & MASK_32, table, unknown))


def _option(*kinds: Kind, returns: Returns = RETURNS_INT) -> Signature:
    return Signature(_OPTION, *kinds, returns=returns)


def _got(item: Kind, size: int = 4) -> Signature:
    return _option(Pointer(item, size, out=True))


_PLAIN = _option()
_NUMBER = _option(_LONG)
_GOT_INT = _got(Int())
_SPECULATION = Enum(SPECULATIONS, "PR_SPEC_???", bits=64)
_SPECULATION_STATE = Enum(SPECULATION_STATES, "PR_SPEC_???", bits=64)


def _speculation_note(call: Call) -> str | None:
    return flags_text(call.result, SPECULATION_STATES, "PR_SPEC_???") if call.result else None


def _securebits_note(call: Call) -> str | None:
    return flags_text(call.result, SECUREBITS, "SECBIT_???") if call.result else None


_BY_NAME = {
    "PR_SET_PDEATHSIG": _option(Signal()),
    "PR_GET_PDEATHSIG": _got(Signal()),
    "PR_GET_DUMPABLE": _option(returns=_note(DUMPABLE_VALUES, "SUID_DUMP_???")),
    "PR_SET_DUMPABLE": _option(Enum(DUMPABLE_VALUES, "SUID_DUMP_???", bits=64)),
    "PR_GET_UNALIGN": _got(Flags(UNALIGN_FLAGS, "PR_UNALIGN_???")),
    "PR_SET_UNALIGN": _option(Flags(UNALIGN_FLAGS, "PR_UNALIGN_???", bits=64)),
    "PR_GET_KEEPCAPS": _PLAIN,
    "PR_SET_KEEPCAPS": _NUMBER,
    "PR_GET_FPEMU": _GOT_INT,
    "PR_SET_FPEMU": _NUMBER,
    "PR_GET_FPEXC": _GOT_INT,
    "PR_SET_FPEXC": _NUMBER,
    "PR_GET_TIMING": _PLAIN,
    "PR_SET_TIMING": _NUMBER,
    "PR_SET_NAME": _option(Name()),
    "PR_GET_NAME": _option(Name(out=True)),
    "PR_GET_ENDIAN": _GOT_INT,
    "PR_SET_ENDIAN": _NUMBER,
    "PR_GET_SECCOMP": _PLAIN,
    "PR_CAPBSET_READ": _option(_CAPABILITY),
    "PR_CAPBSET_DROP": _option(_CAPABILITY),
    "PR_GET_TSC": _got(Enum(TSC_MODES, "PR_TSC_???")),
    "PR_SET_TSC": _option(Enum(TSC_MODES, "PR_TSC_???", bits=64)),
    "PR_GET_SECUREBITS": _option(returns=ReturnsWith(_securebits_note, RETURNS_HEX)),
    "PR_SET_SECUREBITS": _option(Flags(SECUREBITS, "SECBIT_???", bits=64)),
    "PR_SET_TIMERSLACK": _NUMBER,
    "PR_GET_TIMERSLACK": _PLAIN,
    "PR_TASK_PERF_EVENTS_DISABLE": _PLAIN,
    "PR_TASK_PERF_EVENTS_ENABLE": _PLAIN,
    "PR_MCE_KILL_GET": Signature(_OPTION, *_REST, returns=_note(MCE_POLICIES, "PR_MCE_KILL_???")),
    "PR_SET_CHILD_SUBREAPER": _NUMBER,
    "PR_GET_CHILD_SUBREAPER": _GOT_INT,
    "PR_SET_NO_NEW_PRIVS": _option(_LONG, _HEX, _HEX, _HEX),
    "PR_SET_THP_DISABLE": _option(_LONG, _HEX, _HEX, _HEX),
    "PR_SET_IO_FLUSHER": _option(_LONG, _HEX, _HEX, _HEX),
    "PR_GET_TID_ADDRESS": _got(Address(), 0),
    "PR_SET_FP_MODE": _option(Flags(FP_MODES, "PR_FP_MODE_???", bits=64)),
    "PR_GET_FP_MODE": _PLAIN,
    "PR_SVE_GET_VL": _PLAIN,
    "PR_SME_GET_VL": _PLAIN,
    "PR_GET_SPECULATION_CTRL": _option(_SPECULATION, returns=ReturnsWith(_speculation_note, RETURNS_HEX)),
    "PR_SCHED_CORE": _option(Enum(CORE_OPERATIONS, "PR_SCHED_CORE_???", bits=64), Pid(), PidType(), Address()),
    "PR_SET_PTRACER": _option(Tracer()),
}
_VALUES = {name: value for value, name in PRCTLS}
_BY_VALUE = {_VALUES[name]: signature for name, signature in _BY_NAME.items()}

_MCE = Enum(MCE_KILLS, "PR_MCE_KILL_???", bits=64)
_MCE_POLICY = Enum(MCE_POLICIES, "PR_MCE_KILL_???", bits=64)
_MM = Enum(MM_FIELDS, "PR_SET_MM_???", bits=64)
_AMBIENT = Enum(AMBIENT_OPERATIONS, "PR_CAP_AMBIENT_???", bits=64)
_SECCOMP = Enum(SECCOMP_MODES, "SECCOMP_MODE_???", bits=64)
_VMA = Enum(VMA_OPERATIONS, "PR_SET_VMA_???", bits=64)
_DISPATCH = Enum(DISPATCH_MODES, "PR_SYS_DISPATCH_???", bits=64)

_MCE_SET = _option(_MCE, _MCE_POLICY, _HEX, _HEX)
_AMBIENT_ONE = _option(_AMBIENT, _CAPABILITY, _HEX, _HEX)
_DISPATCHED = _option(_DISPATCH, _HEX, _HEX, Address())


def _by_second(option: str, known: dict[int, Signature], other: Signature) -> None:
    """Let the second argument decide about the signature of ``option``."""
    _BY_VALUE[_VALUES[option]] = Signature(choose=lambda call: known.get(call.args[1], other))


_by_second("PR_MCE_KILL", {MCE_KILL_SET: _MCE_SET}, _option(_MCE, _HEX, _HEX, _HEX))
_by_second(
    "PR_SET_SPECULATION_CTRL",
    {value: _option(_SPECULATION, _SPECULATION_STATE) for value, _ in SPECULATIONS},
    _option(_SPECULATION, _HEX),
)
_by_second("PR_SET_MM", {}, _option(_MM, _HEX, _HEX, _HEX))
_by_second("PR_CAP_AMBIENT", {1: _AMBIENT_ONE, 2: _AMBIENT_ONE, 3: _AMBIENT_ONE}, _option(_AMBIENT, _HEX, _HEX, _HEX))
_by_second("PR_SET_SECCOMP", {SECCOMP_MODE_FILTER: _option(_SECCOMP, Program())}, _option(_SECCOMP, *_REST[1:]))
_by_second("PR_SET_VMA", {0: _option(_VMA, Address(), _LONG, Text())}, _option(_VMA, _HEX, _HEX, _HEX))
_by_second(
    "PR_SET_SYSCALL_USER_DISPATCH",
    {DISPATCH_OFF: _DISPATCHED, DISPATCH_ON: _DISPATCHED},
    _option(_DISPATCH, _HEX, _HEX, _HEX),
)


def _prctl(call: Call) -> Signature:
    return _BY_VALUE.get(call.args[0] & MASK_32, _OTHER).of(call)


_ARCH = Enum(ARCH_PRCTLS, "ARCH_???")
_ARCH_HEX = Signature(_ARCH, _HEX)
_ARCH_GOT = Signature(_ARCH, Pointer(Address(), 0, out=True))
_ARCH_COMPONENTS = Signature(_ARCH, Pointer(Components(), 8, out=True))
_ARCH_COMPONENT = Signature(_ARCH, Component())
_ARCH_SIGNATURES = {
    "ARCH_GET_FS": _ARCH_GOT,
    "ARCH_GET_GS": _ARCH_GOT,
    "ARCH_GET_CPUID": Signature(_ARCH),
    "ARCH_GET_XCOMP_SUPP": _ARCH_COMPONENTS,
    "ARCH_GET_XCOMP_PERM": _ARCH_COMPONENTS,
    "ARCH_GET_XCOMP_GUEST_PERM": _ARCH_COMPONENTS,
    "ARCH_REQ_XCOMP_PERM": _ARCH_COMPONENT,
    "ARCH_REQ_XCOMP_GUEST_PERM": _ARCH_COMPONENT,
}
_ARCH_BY_VALUE = {value: _ARCH_SIGNATURES.get(name, _ARCH_HEX) for value, name in ARCH_PRCTLS}


def _personality_note(call: Call) -> str:
    return personality_text((call.result or 0) & MASK_32)


SIGNATURES = {
    "prctl": Signature(choose=_prctl),
    "arch_prctl": Signature(choose=lambda call: _ARCH_BY_VALUE.get(call.args[0] & MASK_32, _ARCH_HEX)),
    "personality": Signature(Personality(), returns=ReturnsWith(_personality_note, RETURNS_HEX)),
}
