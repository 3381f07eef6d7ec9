"""Whose threads the programs tell of, and whose they never do: real processes, real uids."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.children import become, fork, libc, needs_root
from tests.kernel.recording import ANY_TIME, RING, Record, recording, taken
from utraced.api import call_records as records
from utraced.kernel.bpf_layout import Guard
from utraced.kernel.bpf_recording import Recording
from utraced.kernel.bpf_ring import Counters

USER = 61_234
CALLS = 50
SMALL = 4096
INITIAL_USER_NAMESPACE = 0xEFFFFFFD
OWN = Guard(USER, USER, 0, INITIAL_USER_NAMESPACE)


def whats(found: list[Record]) -> list[int]:
    return [one.what for one in found]


# Whose record it is: the ways in which a check of the euid alone would leak.


def calls() -> None:
    for _ in range(CALLS):
        os.getppid()


def own(then: Callable[[], object] = calls) -> Callable[[], None]:
    """Return what makes a child like a program of the user, which then does ``then``."""

    def act() -> None:
        become(USER)
        libc().prctl(4, 1, 0, 0, 0)
        then()

    return act


def guarded(
    function: Callable[[], object], *, guard: Guard = OWN, follow: bool = False, ring: int = RING
) -> tuple[list[Record], Counters]:
    """Record a child that sleeps until it is what ``function`` makes of it."""
    with recording("getppid", guard=guard, follow=follow, ring=ring) as made:
        run_guarded(made, function)
        return taken(made, ring)


def run_guarded(made: Recording, function: Callable[[], object]) -> None:
    """Have a child of the user recorded, which does ``function`` and ends."""
    ready, say = os.pipe()
    go, gate = os.pipe()
    pid = fork()
    if pid == 0:
        try:
            os.close(gate)
            own(lambda: (os.write(say, b"!"), os.read(go, 1)))()
            function()
        finally:
            os._exit(0)
    os.close(go)
    assert os.read(ready, 1) == b"!"
    made.add(pid, ANY_TIME)
    os.close(gate)
    os.waitpid(pid, 0)
    os.close(ready)
    os.close(say)


def hide_unseen() -> None:
    """Fill a small ring, then stop to qualify: the record that says so finds no room."""
    calls()
    libc().prctl(4, 0, 0, 0, 0)
    calls()


def of_calls(found: list[Record]) -> int:
    return sum(one.what in {records.ENTRY, records.EXIT} for one in found)


@needs_root
def test_all_of_an_own_program_is_told() -> None:
    found, counters = guarded(calls)
    assert of_calls(found) == 2 * CALLS
    assert counters.processes == -1


@needs_root
def test_nothing_of_one_that_is_not_dumpable() -> None:
    def hide() -> None:
        libc().prctl(4, 0, 0, 0, 0)
        calls()

    found, counters = guarded(hide)
    assert whats(found) == [records.DETACHED]
    assert counters.processes == -1


@needs_root
def test_silence_is_known_where_its_record_finds_no_room() -> None:
    found, counters = guarded(hide_unseen, ring=SMALL)
    assert records.DETACHED not in whats(found)
    assert (counters.processes, counters.silenced) == (-1, True)
    found, counters = guarded(calls, ring=SMALL)
    assert (counters.processes, counters.silenced) == (-1, False)
    assert counters.dropped


@needs_root
def test_silence_is_final() -> None:
    def hide_for_a_moment() -> None:
        libc().prctl(4, 0, 0, 0, 0)
        os.getppid()
        libc().prctl(4, 1, 0, 0, 0)
        calls()

    assert whats(guarded(hide_for_a_moment)[0]) == [records.DETACHED]


@needs_root
@pytest.mark.parametrize(
    "guard",
    [
        OWN._replace(uid=USER + 1),
        OWN._replace(gid=USER + 1),
        OWN._replace(user_namespace=1),
    ],
    ids=["uid", "gid", "user namespace"],
)
def test_nothing_of_others(guard: Guard) -> None:
    assert whats(guarded(calls, guard=guard)[0]) == [records.DETACHED]


SOURCE = r"""
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
int main(int argc, char **argv) {
    if (!strcmp(argv[1], "seteuid")) seteuid(getuid());
    if (!strcmp(argv[1], "drop")) { setresgid(getgid(), getgid(), getgid()); setresuid(getuid(), getuid(), getuid()); }
    if (!strcmp(argv[1], "dumpable")) prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    for (int i = 0; i < 50; i++) syscall(SYS_getppid);
    return 0;
}
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """Compile a program that anybody may execute, and that calls getppid 50 times."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("gcc is missing: install it to run the tests with compiled programs")
    for folder in (tmp_path, *tmp_path.parents[:3]):
        if folder.stat().st_uid == os.getuid() and str(folder).count("/") > 1:
            folder.chmod(0o755)
    source = tmp_path / "calls.c"
    source.write_text(SOURCE)
    subprocess.run([compiler, "-o", tmp_path / "calls", source], check=True, timeout=60)
    return tmp_path / "calls"


def executed(program: Path, word: str) -> Callable[[], object]:
    return lambda: os.execv(program, [str(program), word])


@needs_root
def test_a_plain_program_of_the_user_is_told(program: Path) -> None:
    assert of_calls(guarded(executed(program, "plain"))[0]) == 2 * CALLS


@needs_root
@pytest.mark.parametrize("word", ["plain", "seteuid", "drop", "dumpable"])
def test_nothing_of_a_set_uid_program(program: Path, word: str) -> None:
    program.chmod(0o4755)
    assert of_calls(guarded(executed(program, word))[0]) == 0


@needs_root
def test_nothing_of_a_set_gid_program(program: Path) -> None:
    program.chmod(0o2755)
    assert of_calls(guarded(executed(program, "dumpable"))[0]) == 0


@needs_root
@pytest.mark.parametrize("word", ["plain", "dumpable"])
def test_nothing_of_a_program_with_file_capabilities(program: Path, word: str) -> None:
    # struct vfs_cap_data: revision 2, effective; permitted CAP_NET_RAW.
    data = (0x0200_0001).to_bytes(4, "little") + (1 << 13).to_bytes(4, "little") + bytes(12)
    os.setxattr(program, "security.capability", data)
    assert of_calls(guarded(executed(program, word))[0]) == 0


@needs_root
def test_nothing_of_a_child_that_is_another(program: Path) -> None:
    program.chmod(0o4755)

    def parent() -> None:
        child = os.fork()
        if child == 0:
            executed(program, "dumpable")()
        os.waitpid(child, 0)
        calls()

    found, counters = guarded(parent, follow=True)
    assert of_calls(found) == 2 * CALLS
    assert len({one.pid for one in found if one.what in {records.ENTRY, records.EXIT}}) == 1
    assert counters.processes == -1


@needs_root
def test_a_process_that_may_not_be_told_of_is_not_taken_for_the_one_before_it_on_its_cpu() -> None:
    """A process that was found to be in the trace is remembered, for each CPU, until one leaves the trace."""
    cpu = min(os.sched_getaffinity(0))

    def hidden() -> None:
        libc().prctl(4, 0, 0, 0, 0)
        os.getppid()
        libc().prctl(4, 1, 0, 0, 0)

    def begun(act: Callable[[], None]) -> tuple[int, int]:
        """Return a child that waits to do ``act``, and what it waits for."""
        ready, say = os.pipe()
        go, gate = os.pipe()
        pid = fork()
        if pid == 0:
            try:
                os.sched_setaffinity(0, {cpu})
                own(lambda: (os.write(say, b"!"), os.read(go, 1)))()
                act()
                calls()
            finally:
                os._exit(0)
        assert os.read(ready, 1) == b"!"
        for fd in (ready, say, go):
            os.close(fd)
        return pid, gate

    with recording("getppid", guard=OWN) as made:
        children = [begun(act) for act in (calls, hidden, calls)]
        for pid, _ in children:
            made.add(pid, ANY_TIME)
        for _, gate in children:
            os.write(gate, b"!")
            os.close(gate)
        for pid, _ in children:
            os.waitpid(pid, 0)
        found, counters = taken(made)
    told = [of_calls([one for one in found if one.pid == pid]) for pid, _ in children]
    assert told == [4 * CALLS, 0, 4 * CALLS]
    assert counters.processes == -3
