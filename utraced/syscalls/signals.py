"""Names of signals, as strace writes them."""

from __future__ import annotations

from .tables.signals import SIGNALS

SIGRTMIN = 32
SIGRTMAX = 64

_NAMES = SIGNALS | {SIGRTMIN: "SIGRTMIN"} | {n: f"SIGRT_{n - SIGRTMIN}" for n in range(SIGRTMIN + 1, SIGRTMAX + 1)}
_NUMBERS = {name: number for number, name in _NAMES.items()}
_NUMBERS |= {"SIGRT_0": SIGRTMIN, "SIGRTMAX": SIGRTMAX, "SIGIOT": 6, "SIGPOLL": 29, "SIGCLD": 17}


def signal_name(number: int) -> str:
    """Return a signal's name (``SIGUSR1``, ``SIGRT_2``), or the number itself where it is none."""
    return _NAMES.get(number) or str(number)


def signal_number(text: str) -> int | None:
    """Return the number of the signal written ``SIGUSR1``, ``USR1`` or ``10``, in either case; None if it is none."""
    if text.isascii() and text.isdecimal():
        number = int(text)
        return number if number in _NAMES else None
    name = text.upper()
    return _NUMBERS.get(name if name.startswith("SIG") else f"SIG{name}")
