"""A recording from loading to closing: what it records, what it counts, and that nothing is left of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess

import pytest

from tests.children import fork
from tests.kernel import recording as support
from tests.kernel.recording import ANY_TIME, recording, run, taken
from tests.live.machine import until
from utraced.api import call_records as records


def programs() -> set[int]:
    """Return the ids of our programs in the kernel."""
    if shutil.which("bpftool") is None:
        pytest.skip("bpftool is missing: install it to see what is left in the kernel")
    done = subprocess.run(["bpftool", "-j", "prog", "show"], capture_output=True, check=True, timeout=30)
    return {one["id"] for one in json.loads(done.stdout) if one.get("name", "").startswith("utraced_")}


def test_a_process_is_recorded_from_when_it_is_added() -> None:
    with recording("getpid") as made:
        pid = run(made, os.getpid)
        found, counters = taken(made)
    assert [(one.what, one.name, one.pid) for one in found] == [
        (records.ENTRY, "getpid", pid),
        (records.EXIT, "getpid", pid),
        (records.DEATH, "", pid),
    ]
    assert found[1].numbers == (pid,)
    assert (counters.processes, counters.dropped) == (-1, 0)


def test_nothing_runs_before_it_is_attached() -> None:
    with recording("getpid", attached=False) as made:
        run(made, os.getpid)
        assert taken(made)[0] == []
        made.attach()
        run(made, os.getpid)
        assert len(taken(made)[0]) == 3


def test_programs_load_where_the_kernel_makes_no_plain_pointers(monkeypatch) -> None:
    monkeypatch.setattr(support, "cast_of", lambda btf: None)
    with recording("getpid") as made:
        run(made, os.getpid)
        assert len(taken(made)[0]) == 3


def test_all_calls_at_once_load() -> None:
    with recording(*support.ABI.numbers, strings=100, follow=True) as made:
        run(made, os.getpid)
        assert "getpid" in [one.name for one in taken(made)[0]]


def test_others_are_not() -> None:
    with recording("getpid") as made:
        os.getpid()
        assert taken(made)[0] == []


def test_one_that_is_removed_is_no_more() -> None:
    with recording("getpid") as made:
        own = os.getpid()
        made.add(own, ANY_TIME)
        assert made.remove(own)
        assert not made.remove(own)
        os.getpid()
        assert taken(made)[0] == []


def test_one_that_started_at_another_time_is_not_taken_for_it() -> None:
    with recording("getpid") as made:
        run(made, os.getpid, started=(1, 2))
        found, counters = taken(made)
    assert [one.what for one in found] == [records.DETACHED]
    assert counters.processes == -1


def test_what_finds_no_room_is_counted_exactly() -> None:
    calls = 20_000
    with recording("getppid", ring=1 << 20) as made:
        run(made, lambda: [os.getppid() for _ in range(calls)])
        found, counters = taken(made)
    entries = sum(one.what == records.ENTRY for one in found)
    exits = sum(one.what == records.EXIT for one in found)
    assert counters.dropped == counters.entries + counters.exits + counters.others > 0
    assert (entries + counters.entries, exits + counters.exits) == (calls, calls)


def test_nothing_is_left_after_it_is_closed() -> None:
    before = programs()
    with recording("getpid"):
        assert len(programs() - before) == 7
    until(lambda: not programs() - before, "nothing of ours in the kernel")


def test_nothing_is_left_where_its_process_is_killed() -> None:
    before = programs()
    reading, writing = os.pipe()
    pid = fork()
    if pid == 0:
        try:
            with recording("getpid"):
                os.write(writing, b"!")
                signal.pause()
        finally:
            os._exit(1)
    os.close(writing)
    try:
        assert os.read(reading, 1) == b"!"
        assert programs() - before
    finally:
        os.close(reading)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    until(lambda: not programs() - before, "nothing of ours in the kernel")
