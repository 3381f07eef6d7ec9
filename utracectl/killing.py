"""``utracectl kill``: a signal for a process or one of its threads."""

from __future__ import annotations

from utracectl.client import connect
from utracectl.exit_codes import OK
from utracectl.messages import WrongUsage
from utracectl.showing import print_json
from utraced.api.thread import Signal

MOST = 64


def kill(pid: int, tid: int | None, signal: str | int, *, json: bool, host: str | None = None) -> int:
    """Send a signal to a process, or to one of its threads."""
    with connect(host=host) as client:
        client.call(Signal(pid=pid, tid=tid, signal=signal))
    if json:
        print_json({})
    return OK


def signal_of(text: str) -> str | int:
    """Return a signal as the protocol has it: ``TERM``, ``SIGTERM`` and ``term`` are the same, 15 is a number.

    Raises ``WrongUsage``.
    """
    if text.isascii() and text.isdecimal():
        if 1 <= int(text[:9]) <= MOST:
            return int(text)
        raise WrongUsage(f"-s {text}: signals are numbered from 1 to {MOST}")
    name = text.upper()
    return name if name.startswith("SIG") else f"SIG{name}"
