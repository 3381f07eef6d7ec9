"""Lines of a trace as strace writes them.  Seen from strace 6.1.

A call that returns before anything else happens is one line, ``call_text``.  Where another thread's line comes
between, its line is broken: ``entry_text`` and ``UNFINISHED``, later ``resumed_text``.

``column`` is everywhere how much of the line stands already before the text: strace counts it when it aligns results.
"""

from __future__ import annotations

from collections.abc import Sequence

from .abi import Abi
from .call import Call
from .kinds import Kind
from .results import result_text
from .signals import signal_name
from .signature import Signature

UNFINISHED = " <unfinished ...>"
RESULT_COLUMN = 40
"""Where strace puts the ``=`` of a result, unless the call is longer."""
RESTART = "restart_syscall"

_MODES = {"x86_64": "64 bit", "i386": "32 bit", "x32": "x32"}


def call_text(call: Call, *, column: int = 0, interrupted: str | None = None) -> str:
    """Return the whole line of a call, as ``close(3)                                = 0``.

    ``interrupted`` is the name of the call that a restart_syscall resumes, None where that was not seen.  A call
    without a result, whose thread ended in it, is shown as far as it was known at entry, with ``= ?``.
    """
    abi = call.abi
    name = abi.names.get(call.nr) or abi.name_of(call.nr)
    signature = abi.signature(call.nr).of(call)
    if (call.result is None and not call.errno) or name == RESTART:
        text = entry_text(call, interrupted=interrupted)
        return text + _rest(call, signature, column + len(text), shown=_before_out(signature))
    text = f"{name}({_joined(signature.kinds, call.args, call)})"
    return f"{text.ljust(RESULT_COLUMN - 1 - column)} = {result_text(call, signature.returns)}"


def entry_text(call: Call, *, interrupted: str | None = None) -> str:
    """Return what is known of a call at entry: its name and the arguments before the first that the kernel fills in.

    It ends in ``, `` where more arguments are to come, and never in the closing parenthesis.
    """
    name = call.abi.name_of(call.nr)
    if name == RESTART:
        return f"{name}(<... resuming interrupted {interrupted or 'system call'} ...>"
    signature = call.abi.signature(call.nr).of(call)
    shown = _before_out(signature)
    more = ", " if 0 < shown < len(signature.kinds) and not signature.kinds[shown].joins else ""
    return f"{name}({_joined(signature.kinds[:shown], call.args, call)}{more}"


def unfinished_text(call: Call, *, interrupted: str | None = None) -> str:
    """Return the line of a call that something else interrupts, as ``read(0,  <unfinished ...>``."""
    return entry_text(call, interrupted=interrupted) + UNFINISHED


def return_text(call: Call, *, column: int) -> str:
    """Return what follows ``entry_text``: the other arguments, the parenthesis and the result.

    ``column`` counts the whole line before it, ``entry_text`` or ``<... read resumed>`` included.
    """
    signature = call.abi.signature(call.nr).of(call)
    return _rest(call, signature, column, shown=_before_out(signature))


def resumed_text(call: Call, *, column: int = 0) -> str:
    """Return the second line of an interrupted call, as ``<... read resumed>"abc", 10)      = 3``."""
    start = f"<... {call.abi.name_of(call.nr)} resumed>"
    return start + return_text(call, column=column + len(start))


def exited_text(status: int) -> str:
    """Return the line of a thread that exited with ``status`` (0 to 255)."""
    return f"+++ exited with {status} +++"


def killed_text(signal: int, *, dumped: bool = False) -> str:
    """Return the line of a thread that ``signal`` killed; ``dumped``: and its core was written."""
    return f"+++ killed by {signal_name(signal)} {'(core dumped) ' if dumped else ''}+++"


def superseded_text(tid: int) -> str:
    """Return the line of a thread that ended because thread ``tid`` of its process called execve."""
    return f"+++ superseded by execve in pid {tid} +++"


def stopped_text(signal: int) -> str:
    """Return the line of a thread that ``signal`` put into a group stop."""
    return f"--- stopped by {signal_name(signal)} ---"


def mode_text(pid: int, abi: Abi) -> str:
    """Return the line of a thread that from here on makes its calls in the manner of ``abi``."""
    return f"[ Process PID={pid} runs in {_MODES[abi.name]} mode. ]"


def _before_out(signature: Signature) -> int:
    """Return how many arguments come before the first that the kernel fills in."""
    for index, kind in enumerate(signature.kinds):
        if kind.out:
            return index
    return len(signature.kinds)


def _joined(kinds: Sequence[Kind], values: Sequence[int], call: Call) -> str:
    """Return the texts of arguments with what separates them."""
    text = ""
    for index, (kind, value) in enumerate(zip(kinds, values, strict=False)):
        text += kind.render(value, call) if not index or kind.joins else f", {kind.render(value, call)}"
    return text


def _rest(call: Call, signature: Signature, column: int, *, shown: int) -> str:
    """Return the arguments after the first ``shown``, the parenthesis and the result."""
    kinds = signature.kinds[shown:]
    if not kinds or call.abi.names.get(call.nr) == RESTART:
        text = ")"
    elif call.result is None and not call.errno:
        text = f"{UNFINISHED})"
    else:
        text = f"{_joined(kinds, call.args[shown:], call)})"
    return f"{text.ljust(RESULT_COLUMN - 1 - column)} = {result_text(call, signature.returns)}"
