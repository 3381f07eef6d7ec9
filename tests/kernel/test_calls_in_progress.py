"""The calls that threads sleep in."""

from __future__ import annotations

import os
import threading

from tests.children import child, ended
from tests.live.machine import until
from utraced.kernel.calls_in_progress import calls_in_progress
from utraced.syscalls.abi import AUDIT_ARCH_X86_64

PAUSE, READ = 34, 0


def test_a_sleeping_thread_tells_its_call() -> None:
    with child() as pid:
        until(lambda: [stop.nr for stop in calls_in_progress(pid)] == [PAUSE], "pause")
        (stop,) = calls_in_progress(pid)
        assert (stop.tid, stop.entering, stop.arch) == (pid, True, AUDIT_ARCH_X86_64)
        assert stop.sp > 1 << 32 < stop.pc


def test_all_threads_do() -> None:
    reading, writing = os.pipe()

    def wait() -> None:
        threading.Thread(target=os.read, args=(reading, 1)).start()

    with child(wait) as pid:
        until(lambda: len(list(calls_in_progress(pid))) == 2, "two threads that wait")
        assert {stop.nr: stop.args[0] for stop in calls_in_progress(pid)}[READ] == reading
    os.close(reading)
    os.close(writing)


def test_a_process_that_has_ended_is_in_none() -> None:
    assert list(calls_in_progress(ended())) == []
