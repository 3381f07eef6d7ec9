"""What the kernel says about a signal (siginfo_t), decoded and as strace writes it.  Seen from strace 6.1.

The layout is the 64-bit one of arch/x86 (include/uapi/asm-generic/siginfo.h), which ptrace gives a 64-bit tracer for
32-bit programs too.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct as Layout
from typing import NamedTuple

from .abi import ABIS, Abi, from_audit
from .basics import address_text, hex_text
from .results import errno_name
from .signals import signal_name
from .tables.signals import (
    ANY_CODES,
    AUDIT_ARCHES,
    SIGBUS_CODES,
    SIGCHLD_CODES,
    SIGFPE_CODES,
    SIGILL_CODES,
    SIGIO_CODES,
    SIGSEGV_CODES,
    SIGSYS_CODES,
    SIGTRAP_CODES,
)

SIZE = 128
SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV, SIGCHLD, SIGIO, SIGSYS = 4, 5, 7, 8, 11, 17, 29, 31
SI_USER, SI_TIMER, SI_SIGIO, SI_TKILL = 0, -2, -5, -6
CLD_EXITED = 1
SEGV_BNDERR, SEGV_PKUERR = 3, 4
BUS_MCEERR = (4, 5)
CLOCK_TICKS = 100
"""Of si_utime and si_stime in a second: USER_HZ, which is 100 on x86."""

_CODES = {
    SIGILL: SIGILL_CODES,
    SIGFPE: SIGFPE_CODES,
    SIGSEGV: SIGSEGV_CODES,
    SIGBUS: SIGBUS_CODES,
    SIGTRAP: SIGTRAP_CODES,
    SIGCHLD: SIGCHLD_CODES,
    SIGIO: SIGIO_CODES,
    SIGSYS: SIGSYS_CODES,
}
_FAULTS = frozenset({SIGILL, SIGFPE, SIGSEGV, SIGBUS, SIGTRAP})

_HEAD = Layout("<iii4x")
_SOURCE = Layout("<iI")
_VALUE = Layout("<i")
_POINTER = Layout("<Q")
_CHILD = Layout("<iIi4xQQ")
_TIMER = Layout("<Ii")
_POLL = Layout("<qi")
_SYSTEM_CALL = Layout("<QII")
_UNION = 16
_SIGVAL = 24


class SigInfo(NamedTuple):
    """A siginfo_t; ``members``, by name and in order, are those that ``signo`` and ``code`` give a meaning."""

    signo: int
    errno: int
    code: int
    members: dict[str, int]


def decode_siginfo(data: bytes) -> SigInfo:
    """Return what the 128 bytes of a siginfo_t say; missing bytes count as zero."""
    data = data.ljust(SIZE, b"\0")
    signo, errno, code = _HEAD.unpack_from(data)
    return SigInfo(signo, errno, code, _from_program(data, code) if code <= 0 else _from_kernel(data, signo, code))


def code_name(signo: int, code: int) -> str:
    """Return the name of a si_code, the unsigned number in hexadecimal where it has none."""
    return ANY_CODES.get(code) or _CODES.get(signo, {}).get(code) or hex(code & 0xFFFFFFFF)


def siginfo_text(data: bytes, abi: Abi = ABIS["x86_64"]) -> str:
    """Return the structure as strace writes it, ``{si_signo=SIGCHLD, ...}``; ``{}`` where there was no signal.

    ``abi`` is the one of the program that is told: SIGSYS names calls after it.
    """
    info = decode_siginfo(data)
    if not info.signo:
        return "{}"
    parts = [f"si_signo={signal_name(info.signo)}", f"si_code={code_name(info.signo, info.code)}"]
    if info.errno:
        name = errno_name(info.errno)
        parts.append(f"si_errno={info.errno if name.startswith('ERRNO_') else name}")
    for member, value in info.members.items():
        if member == "syscall":
            text = _syscall_text(value, info.members["arch"], abi)
        elif member == "status" and info.code != CLD_EXITED:
            text = signal_name(value)
        else:
            write = _WRITERS.get(member)
            text = write(value) if write is not None else str(value)
        parts.append(f"si_{member}={text}")
    return f"{{{', '.join(parts)}}}"


def signal_text(data: bytes, abi: Abi = ABIS["x86_64"]) -> str:
    """Return the line of a signal's delivery, ``--- SIGCHLD {si_signo=SIGCHLD, ...} ---``."""
    signo: int = _HEAD.unpack_from(data.ljust(SIZE, b"\0"))[0]
    return f"--- {signal_name(signo)} {siginfo_text(data, abi)} ---"


def _from_program(data: bytes, code: int) -> dict[str, int]:
    """Return the members of a signal that a program sent, or asked the kernel to send."""
    if code == SI_TIMER:
        timer, overrun = _TIMER.unpack_from(data, _UNION)
        return {"timerid": timer, "overrun": overrun} | _value(data)
    if code == SI_SIGIO:
        band, fd = _POLL.unpack_from(data, _UNION)
        return {"band": band, "fd": fd}
    members = _source(data)
    if code not in {SI_USER, SI_TKILL} and any(data[_SIGVAL : _SIGVAL + 8]):
        members |= _value(data)
    return members


def _from_kernel(data: bytes, signo: int, code: int) -> dict[str, int]:
    """Return the members of a signal that the kernel sent on its own account."""
    if signo == SIGCHLD:
        pid, uid, status, user, system = _CHILD.unpack_from(data, _UNION)
        return {"pid": pid, "uid": uid, "status": status, "utime": user, "stime": system}
    if signo in _FAULTS:
        return _fault(data, signo, code)
    if signo == SIGIO:
        band, fd = _POLL.unpack_from(data, _UNION)
        return {"band": band, "fd": fd} if code in SIGIO_CODES else {}
    if signo == SIGSYS:
        address, number, arch = _SYSTEM_CALL.unpack_from(data, _UNION)
        return {"call_addr": address, "syscall": number, "arch": arch}
    members = _source(data) if any(data[_UNION:_SIGVAL]) else {}
    return members | _value(data) if any(data[_SIGVAL : _SIGVAL + 8]) else members


def _fault(data: bytes, signo: int, code: int) -> dict[str, int]:
    """Return the members of a signal that an instruction caused."""
    members = {"addr": _POINTER.unpack_from(data, _UNION)[0]}
    if signo == SIGBUS and code in BUS_MCEERR:
        members["addr_lsb"] = int.from_bytes(data[24:26], "little")
    elif signo == SIGSEGV and code == SEGV_BNDERR:
        members["lower"] = _POINTER.unpack_from(data, 32)[0]
        members["upper"] = _POINTER.unpack_from(data, 40)[0]
    elif signo == SIGSEGV and code == SEGV_PKUERR:
        members["pkey"] = int.from_bytes(data[32:36], "little")
    return members


def _source(data: bytes) -> dict[str, int]:
    """Return who sent a signal."""
    pid, uid = _SOURCE.unpack_from(data, _UNION)
    return {"pid": pid, "uid": uid}


def _value(data: bytes) -> dict[str, int]:
    """Return the sigval that came with a signal, in both its meanings."""
    return {"int": _VALUE.unpack_from(data, _SIGVAL)[0], "ptr": _POINTER.unpack_from(data, _SIGVAL)[0]}


def _uid_text(uid: int) -> str:
    """Return a user's number, -1 for none."""
    return "-1" if uid == 0xFFFFFFFF else str(uid)


def _ticks_text(ticks: int) -> str:
    """Return a time in clock ticks, with seconds in a comment."""
    return f"{ticks} /* {ticks // CLOCK_TICKS}.{ticks % CLOCK_TICKS:02} s */" if ticks else "0"


def _arch_text(arch: int) -> str:
    """Return the name of an AUDIT_ARCH number."""
    return AUDIT_ARCHES.get(arch) or f"{hex_text(arch)} /* AUDIT_ARCH_??? */"


def _syscall_text(nr: int, arch: int, abi: Abi) -> str:
    """Return a call's name, as a comment where it is not of the program's own ABI."""
    try:
        caller = from_audit(arch, nr)
    except ValueError:
        return str(nr)
    name = caller.names.get(nr)
    if name is None:
        return str(nr)
    return f"__NR_{name}" if caller is abi else f"{nr} /* {name} */"


_WRITERS: dict[str, Callable[[int], str]] = {
    "addr": address_text,
    "addr_lsb": hex_text,
    "arch": _arch_text,
    "call_addr": address_text,
    "lower": address_text,
    "ptr": address_text,
    "stime": _ticks_text,
    "timerid": hex_text,
    "uid": _uid_text,
    "upper": address_text,
    "utime": _ticks_text,
}
