"""``utracectl trace --backend kernel``: strace's text, and the command's life, without stopping it.

What the backend cannot tell as strace does (see ``trace.start``) is left out of the comparison by name.
"""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.children import child, needs_root
from tests.kernel.recording import needs_bpf
from tests.live.conftest import Programs
from tests.live.machine import UTRACECTL, state, until
from tests.live.test_strace_equal import COMMANDS, compare

pytestmark = needs_root
KERNEL = ("--backend", "kernel")
KILLED = r"= \?( ERESTARTSYS .*)?$|^tgkill\(.*SIGKILL"
"""A call in which its thread is killed."""

MESSAGES = "^(send|recv)mmsg"
"""The contents of arrays of messages are told where not all calls are."""

PROGRAMS: dict[str, tuple[str, ...]] = {
    "files": (),
    "stat": (),
    "directories": (),
    "mapping": (),
    "signals": (),
    "fork_wait": (KILLED,),
    "timers": (),
    "limits": (),
    "xattr": (),
    "copying": (),
    "crash": (),
    "polling": (),
    "threads": ("^futex", "^(madvise|munmap)"),
    "i386_calls": (),
    "i386_scattered": (MESSAGES,),
}


@pytest.fixture(autouse=True)
def _needs_bpf() -> None:
    needs_bpf()


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_reads_as_with_strace(name: str, programs: Programs, tmp_path: Path) -> None:
    compare([programs(name)], tmp_path, PROGRAMS[name], options=KERNEL)


@pytest.mark.parametrize("name", ["messages", "i386_scattered"])
def test_messages_read_as_with_strace_where_not_all_calls_are_told(
    name: str, programs: Programs, tmp_path: Path
) -> None:
    compare([programs(name)], tmp_path, options=KERNEL, calls="%net")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_shell_reads_as_with_strace(name: str, tmp_path: Path) -> None:
    # Children that end at about the same time send one SIGCHLD; strace has them end one after the other.
    compare(["/bin/sh", "-c", COMMANDS[name]], tmp_path, ("^rt_sigreturn", "^--- SIGCHLD"), options=KERNEL)


def trace(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*UTRACECTL, "trace", *KERNEL, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def lines(words: Sequence[str]) -> list[str]:
    return trace(*words).stderr.splitlines()


def test_only_what_is_asked_for_is_shown() -> None:
    found = lines(["-Z", "-e", "trace=openat,access", "--", "cat", "/nowhere"])
    calls = [line for line in found if " = " in line]
    assert any(line.startswith('openat(AT_FDCWD, "/nowhere", O_RDONLY)') for line in calls)
    assert all("= -1 E" in line and line.startswith(("openat", "access")) for line in calls)


@pytest.mark.parametrize(("script", "status"), [("exit 7", 7), ("kill -KILL $$", -9)])
def test_the_command_ends_as_it_would_without_us(script: str, status: int) -> None:
    assert trace("--", "sh", "-c", script).returncode == status


def test_events_are_the_same_for_programs() -> None:
    done = trace("--json", "-e", "trace=openat", "--", "cat", "/etc/hostname")
    events = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    opened = [one["strings"]["1"]["text"] for one in events if one["kind"] == "syscall"]
    assert "/etc/hostname" in opened
    assert events[-1]["kind"] == "detached"
    assert (events[-1]["lost"], events[-1]["delivered"]) == (0, len(opened))


def test_a_process_is_seen_in_the_call_that_it_was_in() -> None:
    with child() as pid:
        until(lambda: state(pid) == "S", "a process that sleeps")
        tracing = subprocess.Popen(
            [*UTRACECTL, "trace", *KERNEL, "-p", str(pid)], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        assert tracing.stderr is not None
        attached = f"utracectl: Process {pid} attached\npause("
        assert tracing.stderr.read(len(attached)).decode() == attached
        tracing.send_signal(signal.SIGINT)
        _, rest = tracing.communicate(timeout=60)
        assert rest.decode() == f" <detached ...>\nutracectl: Process {pid} detached\n"
        assert state(pid) == "S"
