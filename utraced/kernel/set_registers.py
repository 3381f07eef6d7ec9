"""Writing registers of stopped threads: all that is named, or nothing.

The kernel takes one register after the other, silently drops bits that it keeps for itself (eflags), cuts selectors to
16 bits, and says EIO without saying where.  So each member is written alone, read back, and all are put back as they
were where one is refused.
"""

from __future__ import annotations

import ctypes
import difflib
import os
from collections.abc import Callable, Iterable, Mapping

from utraced.arch.x86_64 import DEBUG_OFFSETS, NT_X86_XSTATE, TRAP_FLAG, USER32_CS
from utraced.errors import InvalidParams, Unsupported
from utraced.model import hex_text
from utraced.rpc.encoding import shown

from . import ptrace, registers

NO_CALL = (1 << 64) - 1
"""orig_rax of a thread that is in no system call."""
WORD = 8
FIXED = ("mxcr_mask", "padding")
"""Members of user_fpregs_struct that the CPU does not load."""

Undo = list[Callable[[], None]]
"""What puts back what was written, to be called from the last to the first."""


def write(
    tid: int,
    *,
    general: Mapping[str, int] | None = None,
    fp: Mapping[str, int] | None = None,
    xstate: bytes | None = None,
    debug: Mapping[str, int] | None = None,
) -> None:
    """Write these registers of a stopped thread, by the names and as long as ``registers`` reads them.

    Raises InvalidParams, which names the ``member``, Unsupported and NoSuchProcess; then nothing has changed.
    """
    undo: Undo = []
    try:
        if xstate is not None:
            _write_extended(tid, xstate, undo)
        if fp is not None:
            _write_floating_point(tid, fp, undo)
        if debug is not None:
            _write_debug(tid, debug, undo)
        if general is not None:
            _write_general(tid, general, undo)
    except BaseException as error:
        for step in reversed(undo):
            step()
        if isinstance(error, ProcessLookupError):
            raise registers.dying(tid) from None
        raise


def _write_general(tid: int, values: Mapping[str, int], undo: Undo) -> None:
    now = registers.general(tid)
    _check_names("general", values, now)
    wanted = {name: value for name, value in values.items() if value != now[name]}
    if "rip" in wanted and "orig_rax" not in values and now["orig_rax"] != NO_CALL:
        # On its way to user mode a thread with a call and -ERESTART… in rax has 2 taken off its rip, to make the call
        # again (arch_do_signal_or_restart in arch/x86/kernel/signal.c): not off the new one.  As gdb does it.
        wanted["orig_rax"] = NO_CALL
    if wanted.get("eflags", 0) & TRAP_FLAG and not now["eflags"] & TRAP_FLAG:
        raise InvalidParams(
            "eflags with the trap flag set would step the thread, with nobody to take its trap",
            member="eflags",
            hint="Step with thread.resume and its action step.",
        )
    if {**now, **wanted}["cs"] == USER32_CS and wanted.get("rip", 0) >> 32:
        raise _refused("general", "rip", wanted["rip"], "the thread is in 32-bit mode")
    offsets = {name: WORD * index for index, name in enumerate(now)}
    _poke("general", tid, {name: (offsets[name], value, now[name]) for name, value in wanted.items()}, undo)
    _check_taken("general", wanted, registers.general(tid))


def _write_debug(tid: int, values: Mapping[str, int], undo: Undo) -> None:
    now = registers.debug(tid)
    _check_names("debug", values, now)
    wanted = {name: value for name, value in values.items() if value != now[name]}
    control = wanted.get("dr7", now["dr7"])
    armed = [name for name in wanted if name in {"dr0", "dr1", "dr2", "dr3"} and control >> 2 * int(name[2:]) & 3]
    if armed or (control and "dr7" in wanted):
        raise Unsupported(
            f"{armed[0] if armed else 'dr7'} would arm a debug register: it would outlive this engine, and its trap"
            " kill the process",
            feature="registers.debug",
            hint="dr7 can be cleared, and addresses that it does not use can be set.",
        )
    # Clear first: an address that is still in use is checked with its length.
    order = sorted(wanted, key=lambda name: name != "dr7")
    _poke("debug", tid, {name: (DEBUG_OFFSETS[name], wanted[name], now[name]) for name in order}, undo)
    _check_taken("debug", wanted, registers.debug(tid))


def _write_floating_point(tid: int, values: Mapping[str, int], undo: Undo) -> None:
    places = registers.floating_point_places()
    _check_names("fp", values, places)
    area = bytearray(registers.floating_point_area(tid))
    for name, value in values.items():
        at, size = places[name]
        if value >> 8 * size:
            raise _refused("fp", name, value, f"it has {8 * size} bits")
        new = value.to_bytes(size, "little")
        if new != area[at : at + size] and name.startswith(FIXED):
            raise _refused("fp", name, value, "it is no register of the program's")
        area[at : at + size] = new
    put_back = _floating_point_keeper(tid)
    try:
        _set_floating_point(tid, bytes(area))
    except ProcessLookupError:
        raise
    except OSError as error:
        # The only thing that is checked is mxcsr (xfpregs_set in arch/x86/kernel/fpu/regset.c).
        raise _refused("fp", "mxcsr", int.from_bytes(area[24:28], "little"), _reason(error)) from error
    undo.append(put_back)
    _check_taken("fp", values, registers.floating_point(tid))


def _floating_point_keeper(tid: int) -> Callable[[], None]:
    """Return what puts the floating point registers back as they are now.

    Where there is an extended state that is exact: writing the old ones says that they are in use.
    """
    try:
        state = registers.extended(tid)
    except Unsupported:
        old = registers.floating_point_area(tid)
        return lambda: _put_back(lambda: _set_floating_point(tid, old))
    return lambda: _put_back(lambda: ptrace.set_register_set(tid, NT_X86_XSTATE, state))


def _write_extended(tid: int, area: bytes, undo: Undo) -> None:
    old = registers.extended(tid)
    if len(area) != len(old):
        raise InvalidParams(
            f"xstate of {len(area)} bytes: here it has {len(old)}",
            member="xstate",
            hint="Read it with registers.read, and change what is to be changed.",
        )
    try:
        ptrace.set_register_set(tid, NT_X86_XSTATE, area)
    except ProcessLookupError:
        raise
    except OSError as error:
        raise InvalidParams(
            f"the kernel refuses this xstate: {_reason(error)}",
            member="xstate",
            hint="Its header (bytes 512 to 575) may only name features that the process has, and mxcsr only its bits.",
        ) from error
    undo.append(lambda: _put_back(lambda: ptrace.set_register_set(tid, NT_X86_XSTATE, old)))


def _poke(group: str, tid: int, words: Mapping[str, tuple[int, int, int]], undo: Undo) -> None:
    """Write words of struct user, each given as offset, value and old value."""
    for name, (offset, value, old) in words.items():
        try:
            ptrace.call(ptrace.PTRACE_POKEUSER, tid, offset, value)
        except ProcessLookupError:
            raise
        except OSError as error:
            raise _refused(group, name, value, _reason(error)) from error
        undo.append(lambda offset=offset, old=old: _put_back_word(tid, offset, old))  # type: ignore[misc]


def _set_floating_point(tid: int, area: bytes) -> None:
    buffer = ctypes.create_string_buffer(area, len(area))
    ptrace.call(ptrace.PTRACE_SETFPREGS, tid, 0, ctypes.addressof(buffer))


def _put_back_word(tid: int, offset: int, old: int) -> None:
    _put_back(lambda: ptrace.call(ptrace.PTRACE_POKEUSER, tid, offset, old))


def _put_back(change: Callable[[], object]) -> None:
    """Write what was there before; a thread that is dying meanwhile does not need it."""
    try:
        change()
    except ProcessLookupError:
        return


def _check_names(group: str, values: Mapping[str, int], known: Iterable[str]) -> None:
    names = list(known)
    for name in values:
        if name not in names:
            near = difflib.get_close_matches(name[:32], names, 1)
            raise InvalidParams(
                f"there is no register {shown(name)} in {group}",
                member=name[:64],
                hint=f"Did you mean {near[0]}?" if near else "registers.read gives the names.",
            )


def _check_taken(group: str, wanted: Mapping[str, int], now: Mapping[str, int]) -> None:
    """Raise InvalidParams where the kernel did not take a value, or not all of it."""
    for name, value in wanted.items():
        if now[name] != value:
            raise _refused(group, name, value, "the kernel keeps it, or some of its bits, as they are")


def _refused(group: str, name: str, value: int, why: str) -> InvalidParams:
    return InvalidParams(
        f"{name} of {group} cannot be {hex_text(value)}: {why}",
        member=name,
        hint="Nothing was changed: leave this register out, or change less of it.",
    )


def _reason(error: OSError) -> str:
    return os.strerror(error.errno or 0)
