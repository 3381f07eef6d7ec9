"""Calls that are told only where they fail, or name a path of some beginning: by the programs, of real processes."""

from __future__ import annotations

import ctypes
import mmap
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.children import libc
from tests.kernel.recording import Record, recording, run, taken
from utraced.api import call_records as records

FAILED = {"failed_only": True}


def told(found: list[Record]) -> list[tuple[int, str]]:
    return [(one.what, one.name) for one in found if one.name]


def pair(name: str) -> list[tuple[int, str]]:
    return [(records.ENTRY, name), (records.EXIT, name)]


def recorded(*calls: str, act: Callable[[], object], **options: object) -> list[Record]:
    """Return what is told of calls that a child makes; nothing may be lost."""
    with recording(*calls, **options) as made:  # type: ignore[arg-type]
        run(made, act)
        found, counters = taken(made)
    assert counters.dropped == 0
    return found


def rmdir(*paths: bytes) -> Callable[[], object]:
    return lambda: [libc().rmdir(path) for path in paths]


@pytest.mark.parametrize("by_call", [False, True], ids=["all calls", "few calls"])
def test_only_calls_that_fail(by_call: bool) -> None:
    def act() -> None:
        os.close(os.open("/dev/null", os.O_RDONLY))
        libc().rmdir(b"/nowhere/at/all")
        os.getppid()
        libc().close(-1)

    found = recorded("openat", "close", "rmdir", "getppid", act=act, by_call=by_call, **FAILED)
    assert told(found) == pair("rmdir") + pair("close")
    entry, leave = found[:2]
    assert [one.data for one in entry.memory] == [b"/nowhere/at/all"]
    assert leave.numbers == (-2,)


def test_a_call_that_fails_is_told_from_its_entry_on() -> None:
    with recording("clock_nanosleep", "rmdir", failed_only=True) as made:
        run(made, rmdir(b"/nowhere"))
        reader_data = taken(made)[0]
    times = [one.time_ns for one in reader_data if one.name]
    assert times[0] < times[1]


def test_the_arguments_of_a_program_that_is_not_there() -> None:
    def act() -> None:
        try:
            os.execve("/nowhere/true", ["true", "x"], {"A": "1"})
        except OSError:
            os.getppid()

    found = recorded("execve", "getppid", act=act, **FAILED)
    assert told(found) == pair("execve")
    path, _, _, *strings = found[0].memory
    assert path.data == b"/nowhere/true"
    assert [one.data for one in strings] == [b"true", b"x"]


def test_a_program_that_is_executed_is_told_as_ever() -> None:
    found = recorded("execve", act=lambda: os.execv("/bin/true", ["true"]), **FAILED)
    assert [one.what for one in found] == [records.EXEC, records.DEATH]


def test_buffers_of_a_call_that_fails() -> None:
    null = os.open("/dev/null", os.O_RDONLY)
    arrays = (ctypes.c_char_p(b"one"), ctypes.c_size_t(3))

    def act() -> None:
        class Iovec(ctypes.Structure):
            _fields_ = (("base", ctypes.c_char_p), ("length", ctypes.c_size_t))

        libc().writev(null, ctypes.byref(Iovec(*(one.value for one in arrays))), 1)

    found = recorded("writev", act=act, **FAILED)
    os.close(null)
    assert told(found) == pair("writev")
    assert found[0].memory[1].data == b"one"


def test_threads_do_not_take_each_other_s_calls() -> None:
    def act() -> None:
        threads = [threading.Thread(target=rmdir(f"/nowhere/{n}".encode() * 1)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    found = recorded("rmdir", act=act, **FAILED)
    names = sorted(one.memory[0].data for one in found if one.what == records.ENTRY)
    assert names == sorted(f"/nowhere/{n}".encode() for n in range(8))


@pytest.mark.parametrize("by_call", [False, True], ids=["all calls", "few calls"])
def test_only_paths_of_this_beginning(by_call: bool) -> None:
    act = rmdir(b"/nowhere/at/all", b"/nowher", b"/now", b"", b"/elsewhere", b"/nowhere", b"relative/nowhere")
    found = recorded("rmdir", act=act, prefix=b"/nowhere", by_call=by_call)
    assert told(found) == pair("rmdir") * 2
    assert [one.memory[0].data for one in found if one.what == records.ENTRY] == [b"/nowhere/at/all", b"/nowhere"]


@pytest.mark.parametrize("length", [1, 2, 3, 7, 8, 9, 15, 16, 255, 256])
def test_a_beginning_of_any_length(length: int) -> None:
    path = (b"/" + bytes(ord("a") + n % 26 for n in range(300)))[: length + 10]
    other = path[: length - 1] + b"#" + path[length:]
    found = recorded("rmdir", act=rmdir(other, path, path[: length - 1]), prefix=path[:length])
    assert told(found) == pair("rmdir")
    assert found[0].memory[0].data == path


def test_any_path_of_a_call_will_do() -> None:
    def act() -> None:
        libc().rename(b"/elsewhere", b"/nowhere/a")
        libc().rename(b"/nowhere/b", b"/elsewhere")
        libc().rename(b"/elsewhere", b"/elsewhere/c")

    found = recorded("rename", "getppid", act=act, prefix=b"/nowhere")
    assert told(found) == pair("rename") * 2


def test_calls_without_a_path_are_not_told() -> None:
    assert told(recorded("getppid", "read", "rmdir", act=os.getppid, prefix=b"/")) == []


def test_a_path_that_was_not_in_memory_is_looked_at_when_the_call_has_brought_it_in(tmp_path: Path) -> None:
    file = tmp_path / "names"
    file.write_bytes(b"/nowhere/at/all\0".ljust(mmap.PAGESIZE, b"\0") + b"/elsewhere\0".ljust(mmap.PAGESIZE, b"\0"))

    def act() -> None:
        with file.open("r+b") as opened:
            pages = mmap.mmap(opened.fileno(), 2 * mmap.PAGESIZE)
        place = ctypes.addressof(ctypes.c_char.from_buffer(pages))
        libc().madvise(ctypes.c_void_p(place), 2 * mmap.PAGESIZE, 4)  # MADV_DONTNEED: not ours until it is touched
        for page in range(2):
            libc().rmdir(ctypes.c_void_p(place + page * mmap.PAGESIZE))

    found = recorded("rmdir", act=act, prefix=b"/nowhere")
    assert told(found) == pair("rmdir")
    assert found[0].memory[0].data == b"/nowhere/at/all"


def test_both_at_once() -> None:
    def act() -> None:
        os.access("/dev/null", os.R_OK)
        libc().rmdir(b"/dev/nowhere")
        libc().rmdir(b"/nowhere")

    found = recorded("access", "faccessat", "faccessat2", "rmdir", act=act, prefix=b"/dev", **FAILED)
    assert told(found) == pair("rmdir")
    assert found[0].memory[0].data == b"/dev/nowhere"


def test_a_program_that_another_thread_executes_is_told_whole() -> None:
    def act() -> None:
        thread = threading.Thread(target=lambda: os.execv("/bin/true", ["true"]))
        thread.start()
        thread.join()

    found = recorded("execve", act=act, prefix=b"/bin")
    assert told(found) == pair("execve")
    entry, leave = (one for one in found if one.name)
    assert entry.tid != leave.tid == leave.pid


def test_a_thread_that_ends_in_a_call_leaves_nothing_behind() -> None:
    def act() -> None:
        if os.fork() == 0:
            os.close(os.open("/dev/null", os.O_RDONLY))
            os._exit(0)
        os.wait()

    with recording("exit_group", "rmdir", follow=True, failed_only=True) as made:
        for _ in range(3):
            run(made, act)
        assert made.lasting() == 0
        assert told(taken(made)[0]) == []


@pytest.mark.parametrize("options", [FAILED, {"prefix": b"/" * 256}, {**FAILED, "prefix": b"/etc/x"}])
def test_all_calls_at_once_load(options: dict[str, object]) -> None:
    from tests.kernel.recording import ABI

    with recording(*ABI.numbers, strings=100, follow=True, **options) as made:  # type: ignore[arg-type]
        run(made, os.getpid)
        assert taken(made)[1].dropped == 0
