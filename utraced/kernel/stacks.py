"""Stacks of stopped threads."""

from __future__ import annotations

import contextlib

from utraced.arch.x86_64 import USER32_CS
from utraced.errors import NoSuchProcess
from utraced.observing.stack import walk
from utraced.tracing.actions import CaptureStack

from . import registers


def capture(action: CaptureStack) -> None:
    """Put a thread's stack into what is kept of its call; one that is dying has none any more."""
    with contextlib.suppress(NoSuchProcess):
        general = registers.general(action.tid)
        width = 4 if general["cs"] == USER32_CS else 8
        action.entry.stack = walk(action.memory, action.entry.stop.pc, general["rbp"], width=width)
