"""Process ids on the command line."""

from __future__ import annotations

HIGHEST_PID = 4_194_304
"""The kernel's PID_MAX_LIMIT."""


def is_pid(text: str) -> bool:
    """Return whether ``text`` is a number that a process may have."""
    return text.isascii() and text.isdecimal() and len(text) <= len(str(HIGHEST_PID)) and 1 <= int(text) <= HIGHEST_PID


def pid_argument(text: str) -> int:
    """Return the pid that ``text`` gives; raises argparse's error where it is none."""
    if is_pid(text):
        return int(text)
    # Not argparse's business to be loaded for its users.
    from argparse import ArgumentTypeError

    raise ArgumentTypeError(f"{text!r} is no process: name one by its number, as utracectl ps shows")
