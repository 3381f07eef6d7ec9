"""A recording from loading to closing: what it records, what it counts, and that nothing is left of it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.children import child, fork, gated, libc
from tests.kernel import recording as support
from tests.kernel.recording import ANY_TIME, recording, run, taken
from tests.live.machine import until
from utraced.api import call_records as records
from utraced.kernel.bpf_ring import Ring
from utraced.kernel.event_pool import EventPool


def programs() -> set[int]:
    """Return the ids of our programs in the kernel."""
    if shutil.which("bpftool") is None:
        pytest.skip("bpftool is missing: install it to see what is left in the kernel")
    done = subprocess.run(["bpftool", "-j", "prog", "show"], capture_output=True, check=True, timeout=30)
    return {one["id"] for one in json.loads(done.stdout) if one.get("name", "").startswith("utraced_")}


def own_programs() -> set[int]:
    """Return the ids of the programs that this process holds (proc_pid_fdinfo(5)), whatever others have loaded."""
    found = set()
    for file in Path("/proc/self/fdinfo").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found |= {int(line.split()[1]) for line in file.read_text().splitlines() if line.startswith("prog_id:")}
    return found


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


@pytest.mark.parametrize("loops", [True, False])
def test_all_calls_at_once_load(loops: bool) -> None:
    with recording(*support.ABI.numbers, strings=100, follow=True, loops=loops) as made:
        run(made, os.getpid)
        assert "getpid" in [one.name for one in taken(made)[0]]


def test_others_are_not() -> None:
    with recording("getpid") as made:
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


def test_few_calls_are_told_as_all_are() -> None:
    found = []
    for by_call in (False, True):
        with recording("getppid", "rmdir", by_call=by_call) as made:
            run(made, lambda: [os.getppid(), libc().rmdir(b"/nowhere/at/all")])
            records_, counters = taken(made)
        assert counters.dropped == 0
        found.append([(one.what, one.name, len(one.numbers), [each.data for each in one.memory]) for one in records_])
    assert found[0] == found[1]
    assert (records.ENTRY, "rmdir", 8, [b"/nowhere/at/all"]) in found[1]


def test_a_program_that_is_executed_is_told_by_its_call() -> None:
    with recording("execve", by_call=True) as made:
        run(made, lambda: os.execv("/bin/true", ["true"]))
        found, _ = taken(made)
    assert [one.what for one in found] == [records.ENTRY, records.EXEC, records.EXIT, records.DEATH]


def test_an_event_is_not_had_again_that_a_forked_child_holds_the_link_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that asks the kernel, while other traces come and go."""
    pool = EventPool(kept=1.0)
    monkeypatch.setattr(support, "POOL", pool)
    with ExitStack() as stack:
        with recording("getppid", by_call=True):
            stack.enter_context(child())
        until(lambda: len(pool._idle) == 2, "events that can be had again")
        with recording("getppid", by_call=True) as made:
            run(made, os.getppid)
            found, _ = taken(made)
        assert [one.what for one in found] == [records.ENTRY, records.EXIT, records.DEATH]
    until(lambda: not pool._closing, "the end of all events")


def test_nothing_is_told_any_more_of_few_calls_once_it_is_closed() -> None:
    with recording("getppid", by_call=True) as made:
        made.add(os.getpid(), ANY_TIME)
        reader = Ring(made.shared.ring, made.shared.counters, support.RING)
        os.getppid()
        assert reader.take()
        made.close()
        os.getppid()
        # But for the end of a thread that has loaded the programs, which others than it wait for.
        assert {head.what for head in records.heads(reader.take())} <= {records.DEATH}
        reader.close()


def test_a_32_bit_program_that_is_executed_is_told_of(tmp_path: Path) -> None:
    program = support.narrow_program(tmp_path)
    with (
        recording("getppid", by_call=True) as made,
        gated(lambda: os.execv(program, [str(program)])) as (pid, go),
    ):
        made.add(pid, ANY_TIME)
        assert made.narrow is not None
        assert not select.select([made.narrow], [], [], 0)[0]
        go()
        assert select.select([made.narrow], [], [], 60)[0]
        made.widen()
        assert made.narrow is None
        reader = Ring(made.shared.ring, made.shared.counters, support.RING)
        until(lambda: any(head.abi == 1 for head in records.heads(reader.take())), "a call of a 32-bit program")
        reader.close()


def test_nothing_is_left_after_it_is_closed() -> None:
    before = own_programs()
    with recording("getpid"):
        own = own_programs() - before
        assert len(own & programs()) == 7
    until(lambda: not programs() & own, "nothing of ours in the kernel")


def test_nothing_is_left_of_few_calls_after_it_is_closed() -> None:
    before = own_programs()
    with recording("getpid", by_call=True):
        own = own_programs() - before
        assert len(own & programs()) == 9
    until(lambda: not programs() & own, "nothing of ours in the kernel")


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
