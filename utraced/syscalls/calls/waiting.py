"""Waiting for children (wait4(2), waitid(2))."""

from __future__ import annotations

from utraced.syscalls.basics import MASK_32, Enum, Flags, Pid, Struct, enum_text, hex_text
from utraced.syscalls.call import Call
from utraced.syscalls.siginfo import SIZE, siginfo_text
from utraced.syscalls.signals import signal_name
from utraced.syscalls.signature import Signature
from utraced.syscalls.tables.processes import PTRACE_EVENTS, WAIT_FLAGS, WAIT_IDS

from .rusage import Rusage

CONTINUED = 0xFFFF
CORE = 0x80
SYSCALL_STOP = 0x85
SIGTRAP = 5


def wait_status_text(status: int) -> str:
    """Return a status of wait(2) as the macros that take it apart: ``{WIFEXITED(s) && WEXITSTATUS(s) == 0}``.

    The event of a ptrace stop follows the braces.
    """
    event = status >> 16 & MASK_32
    low = status & 0xFFFF
    if low == CONTINUED:
        text = "{WIFCONTINUED(s)}"
    elif low & 0xFF == 0x7F:
        signal = low >> 8
        name = f"{signal_name(SIGTRAP)} | 0x80" if signal == SYSCALL_STOP else signal_name(signal)
        text = f"{{WIFSTOPPED(s) && WSTOPSIG(s) == {name}}}"
    elif not low & 0x7F:
        text = f"{{WIFEXITED(s) && WEXITSTATUS(s) == {low >> 8}}}"
    else:
        core = " && WCOREDUMP(s)" if low & CORE else ""
        text = f"{{WIFSIGNALED(s) && WTERMSIG(s) == {signal_name(low & 0x7F)}{core}}}"
        event = status >> 8 & MASK_32
        return f"{text}|{hex_text(event << 8)}" if event else text
    return f"{text}|{enum_text(event, PTRACE_EVENTS, 'PTRACE_EVENT_???')}<<16" if event else text


class WaitStatus(Struct):
    """Where a status is put, when there is a child to tell of."""

    __slots__ = ()

    def text(self, data: bytes, call: Call) -> str:
        """See ``Struct.text``."""
        return f"[{wait_status_text(int.from_bytes(data, 'little'))}]"

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        return super().render(value, call) if call.result or not value else hex(value)


class SigInfo(Struct):
    """``siginfo_t``, 128 bytes of it."""

    __slots__ = ()

    def __init__(self, *, out: bool = False) -> None:
        super().__init__(SIZE, out=out)

    def text(self, data: bytes, call: Call) -> str:
        """See ``Struct.text``."""
        return siginfo_text(data, call.abi)


_PID = Pid()
_STATUS = WaitStatus(4, out=True)
_FLAGS = Flags(WAIT_FLAGS, "W???")

SIGNATURES = {
    "wait4": Signature(_PID, _STATUS, _FLAGS, Rusage(needs_result=True)),
    "waitpid": Signature(_PID, _STATUS, _FLAGS),
    "waitid": Signature(Enum(WAIT_IDS, "P_???"), _PID, SigInfo(out=True), _FLAGS, Rusage()),
}
