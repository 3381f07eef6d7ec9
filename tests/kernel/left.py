"""What is left in the kernel of recordings: programs, links and maps of ours, and events of tracefs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

TRIES = 50
_HELD = re.compile(r"^(prog|link|map)_id:\s*(\d+)$", re.MULTILINE)
_READ = 'mount -t tracefs none "$1" && cd "$1" && for name in uprobe_events kprobe_events; do cat $name || true; done'


def ours() -> set[tuple[str, int]]:
    """Return the kind and number of all programs, links and maps whose names begin as ours do."""
    programs = {one["id"] for one in _shown("prog") if one.get("name", "").startswith("utraced_")}
    links = {one["id"] for one in _shown("link") if one.get("prog_id") in programs}
    maps = {one["id"] for one in _shown("map") if one.get("name", "").startswith("utraced_")}
    return {(kind, number) for kind, all_ in (("prog", programs), ("link", links), ("map", maps)) for number in all_}


def left() -> set[tuple[str, int]]:
    """Return those that no living process has a descriptor of: another's tests may be running."""
    found = ours()
    return found - _held() if found else found


def tracefs(folder: Path) -> str:
    """Return the dynamic events of tracefs, which is mounted in ``folder`` for this alone."""
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", _READ, "sh", folder], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"tracefs is not to be had: {done.stderr}")
    return done.stdout


def _shown(kind: str) -> list[dict[str, Any]]:
    if shutil.which("bpftool") is None:
        pytest.skip("bpftool is missing: install it to see what is left in the kernel")
    for _ in range(TRIES):  # it fails where one ends that it has just seen
        done = subprocess.run(["bpftool", "-j", kind, "show"], capture_output=True, check=False, timeout=30)
        if not done.returncode:
            break
    done.check_returncode()
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def _held() -> set[tuple[str, int]]:
    found = set()
    for path in Path("/proc").glob("[0-9]*/fdinfo/*"):
        try:
            text = path.read_text()
        except OSError:  # it has been closed, or its process has ended
            continue
        found |= {(kind, int(number)) for kind, number in _HELD.findall(text)}
    return found
