"""What the programs tell of processes: real ones."""

from __future__ import annotations

import ctypes
import os
import signal
import threading

from tests.kernel.recording import Record, recording, run, taken
from utraced.api import call_records as records
from utraced.kernel.bpf_layout import Guard

USER = 61_234
CALLS = 50
INITIAL_USER_NAMESPACE = 0xEFFFFFFD
OWN = Guard(USER, USER, 0, INITIAL_USER_NAMESPACE)


def whats(found: list[Record]) -> list[int]:
    return [one.what for one in found]


def test_children_are_followed() -> None:
    def parent() -> None:
        child = os.fork()
        if child == 0:
            os.getppid()
            os._exit(3)
        os.waitpid(child, 0)

    with recording("getppid", follow=True) as made:
        pid = run(made, parent)
        found, counters = taken(made)
    (clone,) = [one for one in found if one.what == records.CLONE]
    child = clone.numbers[0]
    assert clone.pid == pid
    assert clone.numbers[1] == child
    assert [one.name for one in found if one.pid == child and one.what == records.ENTRY] == ["getppid"]
    assert [one.numbers for one in found if one.pid == child and one.what == records.DEATH] == [(3 << 8, 1)]
    assert counters.processes == -1


def test_children_are_not_followed_unless_asked() -> None:
    def parent() -> None:
        child = os.fork()
        if child == 0:
            os.getppid()
            os._exit(0)
        os.waitpid(child, 0)

    with recording("getppid") as made:
        pid = run(made, parent)
        found, _ = taken(made)
    assert {one.pid for one in found} == {pid}


def test_threads_are_of_the_process() -> None:
    def threads() -> None:
        thread = threading.Thread(target=os.getppid)
        thread.start()
        thread.join()

    with recording("getppid") as made:
        pid = run(made, threads)
        found, _ = taken(made)
    (entry,) = [one for one in found if one.what == records.ENTRY]
    assert entry.pid == pid != entry.tid
    assert [one.numbers[1] for one in found if one.what == records.DEATH] == [0, 1]


def test_an_execve_is_told_with_its_file() -> None:
    with recording("getppid") as made:
        run(made, lambda: os.execv("/bin/true", ["true"]))
        found, _ = taken(made)
    (told,) = [one for one in found if one.what == records.EXEC]
    assert [one.data for one in told.memory] == [b"/bin/true"]


def test_signals_are_told_as_they_are_delivered_ignored_or_end_it() -> None:
    def signals() -> None:
        signal.signal(signal.SIGUSR1, lambda *_: None)
        signal.signal(signal.SIGWINCH, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGWINCH)
        os.kill(os.getpid(), signal.SIGTERM)

    with recording("getppid") as made:
        pid = run(made, signals)
        found, _ = taken(made)
    told = [(one.what, int.from_bytes(one.body[:4], "little")) for one in found]
    assert (records.SIGNAL, signal.SIGUSR1) in told
    assert (records.IGNORED, signal.SIGWINCH) in told
    assert (records.SENT, signal.SIGTERM) in told
    (sent,) = [one for one in found if one.what == records.SENT and one.body[:4] == b"\x0f\0\0\0"]
    assert int.from_bytes(sent.body[16:20], "little") == pid
    assert found[-1].numbers == (signal.SIGTERM, 1)


def test_a_thread_with_a_call_of_no_number_is_passed_over() -> None:
    def odd() -> None:
        ctypes.CDLL(None).syscall(-1)
        os.getppid()

    with recording("getppid") as made:
        run(made, odd)
        assert [one.name for one in taken(made)[0] if one.name] == ["getppid"] * 2
