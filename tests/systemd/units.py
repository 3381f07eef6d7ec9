"""The units of this repository, as they are and as copies that a program of ours stands in."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
SYSTEM = ROOT / "systemd"
USER = SYSTEM / "user"
INSTALLED = "/opt/utraced/bin/utraced"
"""What ExecStart= names."""

needs_analyze = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze (systemd)")
needs_activate = pytest.mark.skipif(
    shutil.which("systemd-socket-activate") is None, reason="needs systemd-socket-activate (systemd)"
)


def units(folder: Path) -> list[Path]:
    """Return the units in a folder."""
    return sorted(path for path in folder.iterdir() if path.suffix in {".service", ".socket"})


def copied(folder: Path, to: Path) -> list[Path]:
    """Copy the units of a folder, with a program that exists here."""
    found = []
    for path in units(folder):
        copy = to / path.name
        copy.write_text(path.read_text().replace(INSTALLED, sys.executable))
        found.append(copy)
    return found


def settings(path: Path) -> dict[str, list[str]]:
    """Return what a unit sets, by name."""
    found: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def analyze(*words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze."""
    return subprocess.run(
        ["systemd-analyze", "--no-pager", *map(str, words)],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
