"""The numbers of the tracepoints of calls."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.children import needs_root
from tests.kernel.recording import of_call
from utraced.kernel import tracepoints
from utraced.kernel.tracepoints import Tracepoints


@needs_root
def test_a_call_has_one_at_its_entry_and_one_at_its_exit() -> None:
    found = {name: of_call(name) for name in ("openat", "read", "stat")}
    assert len({number for pair in found.values() for number in pair}) == 6


@needs_root
def test_tracefs_is_mounted_for_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    of_call("openat")
    monkeypatch.setattr(tracepoints, "PLACES", ())
    mounts = Path("/proc/self/mountinfo").read_text()
    found = tracepoints.find()
    if found.of_call("openat") is None:
        pytest.skip("we may not mount here")
    assert found.of_call("openat") == of_call("openat")
    assert Path("/proc/self/mountinfo").read_text() == mounts


def tracefs(folder: Path, **content: str) -> Tracepoints:
    for name, text in content.items():
        (folder / "syscalls" / name).mkdir(parents=True)
        (folder / "syscalls" / name / "id").write_text(text)
    return Tracepoints(os.open(folder, os.O_RDONLY))


def test_what_is_there_is_found(tmp_path: Path) -> None:
    found = tracefs(tmp_path, sys_enter_newstat="12\n", sys_exit_newstat="11\n", sys_enter_half="1\n")
    assert found.of_call("stat") == (12, 11)
    assert found.of_call("half") is None
    assert found.of_call("none") is None


@needs_root
def test_others_are_found_by_their_subsystem_and_name() -> None:
    found = tracepoints.find()
    assert found.number("raw_syscalls/sys_enter") not in {None, found.number("raw_syscalls/sys_exit")}
    assert found.number("raw_syscalls/none") is None


def test_what_is_no_number_is_none(tmp_path: Path) -> None:
    assert tracefs(tmp_path, sys_enter_odd="x\n", sys_exit_odd="1\n").of_call("odd") is None


def test_without_tracefs_there_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracepoints, "PLACES", (str(tmp_path),))
    monkeypatch.setattr(tracepoints, "permitted", lambda: 0)
    assert tracepoints.find().of_call("openat") is None
