"""``utracectl trace --backend perf``: strace's calls and results, in order, without what pointers lead to."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.children import child, isolated, needs_root
from tests.kernel.test_perf_events import points
from tests.live.conftest import Programs
from tests.live.machine import UTRACECTL, state, until
from tests.live.test_strace_equal import COMMANDS, compare
from utracectl.client import client_of
from utracectl.connect import start_worker
from utraced.api.daemon import Hello
from utraced.api.trace import Start, Stop
from utraced.linux.attaching import CAP_BPF
from utraced.linux.attaching import PROGRAMS as LACKING
from utraced.linux.capabilities import drop_bounding, permitted

pytestmark = needs_root
PERF = ("--backend", "perf")
KILLED = r"= \?( ERESTARTSYS .*)?$|^tgkill\(.*SIGKILL|^\+\+\+ (killed by|ended)"
"""A call in which its thread is killed, and that of one that lived for a moment alone."""
UNSEEN = "^--- SIG(TERM|KILL|USR1|CHLD|WINCH)"
"""Signals that end a process as they are sent, or are ignored: none of its threads is told of them."""

PROGRAMS: dict[str, tuple[str, ...]] = {
    "files": (),
    "stat": (),
    "directories": (),
    "mapping": (),
    "signals": (UNSEEN,),
    "fork_wait": (KILLED, UNSEEN),
    "timers": (),
    "limits": (),
    "xattr": (),
    "copying": (),
    "crash": (),
    "polling": ("^--- SIGPIPE",),
    "threads": ("^clone3", "^futex", "^(madvise|munmap)"),
    "i386_calls": ("^--- SIGCHLD",),
    "int80": (),
}

_CALL = re.compile(r"^(\w+)\(.*\) += (\?|-?\w+)(?: (\w+))?.*$")
_SIGNAL = re.compile(r"^--- (SIG\w+) .*")


def call_and_result(line: str) -> str:
    """Return the name and the result of a call with the name of its error, the name of a signal, or what else it is."""
    return _SIGNAL.sub(r"--- \1 ---", _CALL.sub(r"\1 \2 \3", line))


@pytest.fixture(autouse=True)
def _needs_tracepoints() -> None:
    points()


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_makes_the_calls_that_strace_shows(name: str, programs: Programs, tmp_path: Path) -> None:
    compare([programs(name)], tmp_path, PROGRAMS[name], options=PERF, part=call_and_result)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_shell_makes_the_calls_that_strace_shows(name: str, tmp_path: Path) -> None:
    ignored = ("^rt_sigreturn", "^--- SIGCHLD", UNSEEN)
    compare(["/bin/sh", "-c", COMMANDS[name]], tmp_path, ignored, options=PERF, part=call_and_result)


def trace(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*UTRACECTL, "trace", *PERF, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_what_is_pointed_to_is_told_as_addresses() -> None:
    lines = trace("-Z", "-e", "trace=openat,access", "--", "cat", "/nowhere").stderr.splitlines()
    calls = [line for line in lines if " = " in line]
    assert any(
        re.match(r"openat\(AT_FDCWD, 0x[0-9a-f]+, O_RDONLY\) += -1 ENOENT \(No such file", line) for line in calls
    )
    assert all("= -1 E" in line and line.startswith(("openat", "access")) for line in calls)


def test_a_signal_is_told_by_its_number_and_code() -> None:
    lines = trace("--", "sh", "-c", "trap : USR1; kill -USR1 $$").stderr.splitlines()
    assert "--- SIGUSR1 {si_signo=SIGUSR1, si_code=SI_USER} ---" in lines


@pytest.mark.parametrize(("script", "status"), [("exit 7", 7), ("kill -KILL $$", -9)])
def test_the_command_ends_as_it_would_without_us(script: str, status: int) -> None:
    done = trace("--", "sh", "-c", script)
    assert done.returncode == status
    assert done.stderr.splitlines()[-1] == ("+++ exited with 7 +++" if status == 7 else "+++ killed by SIGKILL +++")


@pytest.mark.parametrize("words", [(), ("-e", "trace=getppid")])
def test_events_are_the_same_for_programs(words: tuple[str, ...]) -> None:
    done = trace("--json", *words, "--", "cat", "/etc/hostname")
    events = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    calls = [one for one in events if one["kind"] == "syscall"]
    assert [one["start_ns"] for one in calls] == sorted(one["start_ns"] for one in calls)
    assert not any("strings" in one for one in calls)
    assert events[-1]["kind"] == "detached"
    assert (events[-1]["lost"], events[-1]["delivered"]) == (0, len(calls))


def test_a_process_is_seen_in_the_call_that_it_was_in() -> None:
    with child() as pid:
        until(lambda: state(pid) == "S", "a process that sleeps")
        tracing = subprocess.Popen(
            [*UTRACECTL, "trace", *PERF, "-p", str(pid)], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        assert tracing.stderr is not None
        attached = f"utracectl: Process {pid} attached\npause("
        assert tracing.stderr.read(len(attached)).decode() == attached
        tracing.send_signal(signal.SIGINT)
        _, rest = tracing.communicate(timeout=60)
        assert rest.decode() == f" <detached ...>\nutracectl: Process {pid} detached\n"
        assert state(pid) == "S"


def test_auto_has_events_record_where_no_programs_can_be_loaded() -> None:
    def work(pid: int) -> tuple[str, str | None, bool]:
        drop_bounding(permitted() & ~CAP_BPF)
        with client_of(start_worker()) as client:
            features = client.call(Hello()).features
            answer = client.call(Start(pid=pid))
            client.call(Stop(trace=answer.trace))
        return answer.backend, answer.reason, features["backend.kernel"].available

    with child() as pid:
        assert isolated(lambda: work(pid)) == ("perf", f"the backend kernel is not available: {LACKING}", False)
