"""The standard streams of a process that outlives who has started it."""

from __future__ import annotations

import os


def silence() -> None:
    """Keep no terminal and no pipe of whoever started us: others may wait for its end."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    if null > 2:
        os.close(null)
