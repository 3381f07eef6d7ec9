"""Starting another process of this program: the same Python, the same package."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
"""The folder that our packages are in."""


def command(*words: str) -> list[str]:
    """Return the command line of ``utraced`` with these arguments.

    Raises ValueError where this Python does not know its own program (sys.executable).
    """
    if not sys.executable:
        raise ValueError("this Python does not know its own program (sys.executable)")
    # -P: a utraced.py in the current directory is not ours (python(1)).
    return [sys.executable, "-P", "-m", "utraced", *words]


def environment(of: Mapping[str, str]) -> dict[str, str]:
    """Return ``of``, changed so that the package is found that we are from."""
    changed = dict(of)
    if os.path.basename(ROOT) not in {"site-packages", "dist-packages"}:
        # We run from a source tree: after what the user has there, so that nothing of his changes its meaning.
        changed["PYTHONPATH"] = os.pathsep.join(filter(None, [of.get("PYTHONPATH"), ROOT]))
    return changed


def start(words: list[str], channel: int, of: Mapping[str, str], *, session: bool = False) -> int:
    """Start ``words`` with the environment ``of``, /dev/null as stdin and ``channel`` open; return its pid.

    ``session``: in a session of its own.  Raises OSError.
    """
    os.set_inheritable(channel, True)
    return os.posix_spawn(
        words[0],
        words,
        environment(of),
        file_actions=[(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)],
        setsid=session,
    )
