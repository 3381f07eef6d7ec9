"""What differs between CPUs: one file each.  Nobody else asks which machine this is."""

from __future__ import annotations

import os

MACHINES = frozenset({"x86_64"})


def unsupported_machine() -> str | None:
    """Return a sentence where utraced does not run on this machine, else None."""
    name = os.uname()
    if name.sysname != "Linux" or name.machine not in MACHINES:
        return f"utraced runs on Linux on x86-64, this is {name.sysname} on {name.machine}"
    return None
