"""``trace.start`` with a seccomp filter: strace's text, and what becomes of the processes that have the filter."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen
from time import monotonic
from typing import Any

import pytest

from tests.broker.system import folder, system
from tests.children import as_user, isolated, needs_root, own_program
from tests.kernel.by_hand import by_hand, finish
from tests.kernel.targets import Side, target
from tests.live.conftest import Programs
from tests.live.machine import UTRACECTL, children, command_line, running, tracer, until, wait_end, worker_of
from tests.live.test_strace_equal import C_PROGRAMS, COMMANDS, compare
from tests.live.test_undo import connected
from tests.worker.daemon import Peer, listening
from utracectl.client import Client, client_of
from utracectl.connect import start_worker
from utraced.api import engine, events, trace
from utraced.handlers import filtered

SECCOMP = ("--backend", "seccomp")
SETTINGS: dict[str, Any] = {"backend": "seccomp", "follow": True, "from_exec": True, "syscalls": ("openat",)}
SOME = "%file,%process,read,write,futex"
NAMELESS = r"^syscall_0x"
"""Calls without a name, which strace shows whatever is selected."""
ADA = 3111


@pytest.mark.parametrize("name", C_PROGRAMS)
def test_a_program_reads_as_with_strace(name: str, programs: Programs, tmp_path: Path) -> None:
    compare([programs(name)], tmp_path, C_PROGRAMS[name], options=SECCOMP)


@pytest.mark.parametrize("name", C_PROGRAMS)
def test_selected_calls_of_a_program_read_so_too(name: str, programs: Programs, tmp_path: Path) -> None:
    compare([programs(name)], tmp_path, (*C_PROGRAMS[name], NAMELESS), options=SECCOMP, calls=SOME)


@pytest.mark.parametrize("calls", ["all", SOME, "!%file", "none"])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_shell_reads_as_with_strace(name: str, calls: str, tmp_path: Path) -> None:
    # Whether a shell has to wait for its children depends on who is quicker: here they stop seldom.
    waiting = ("^(wait4|rt_sigsuspend|rt_sigprocmask|rt_sigreturn)", "^--- SIGCHLD")
    compare(["/bin/sh", "-c", COMMANDS[name]], tmp_path, waiting, options=SECCOMP, calls=calls)


PROGRAM = """
one() { if true </dev/null; then echo open; else echo fails; fi; }
all() { while read word; do if [ "$word" = f ]; then (one; all); exit 7; fi; one; done; exit 7; }
echo here
all
"""
"""Opens a file whenever it is told to, at "f" in a child, which is told from then on."""


class Opening:
    """A program that opens files, once its gate is passed."""

    def __init__(self, process: Popen[bytes]) -> None:
        self.process = process
        self.pid = process.pid

    def begin(self) -> None:
        """Have it execute."""
        self._tell(b"go")
        assert self.says() == "here"

    def open(self, word: bytes = b".") -> str:
        """Return what becomes of a call of openat: ``open`` or an error."""
        self._tell(word)
        return self.says()

    def end(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(30)

    def _tell(self, word: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(word + b"\n")
        self.process.stdin.flush()

    def says(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().decode().strip()


@contextmanager
def opening() -> Iterator[Opening]:
    """Give such a program, at its gate."""
    gate = 'echo gate; read go; exec "$@"'
    with running(["sh", "-c", gate, "sh", "sh", "-c", PROGRAM], stdin=PIPE) as process:
        yield Opening(process)


def start(client: Client, program: Opening) -> int:
    """Trace a program, and have it execute."""
    started = client.call(trace.Start(pid=program.pid, **SETTINGS))
    assert started.backend == "seccomp"
    program.begin()
    return started.trace


def test_when_the_trace_ends_the_program_goes_on() -> None:
    with opening() as program, connected() as (client, worker):
        number = start(client, program)
        assert program.open() == "open"
        client.call(trace.Stop(trace=number))
        assert program.open() == "open"
        assert program.open(b"f") == "open"
        assert program.open() == "open"
        assert tracer(program.pid) == worker
        assert program.end() == 7


def test_when_the_session_ends_its_worker_stays_for_the_program() -> None:
    with opening() as program:
        link = start_worker()
        assert link.worker is not None
        with client_of(link) as client:
            start(client, program)
        assert program.open() == "open"
        assert program.open(b"f") == "open"
        until(lambda: os.readlink(f"/proc/{link.worker}/fd/2") == os.devnull, "nobody waits for the worker's output")
        assert tracer(program.pid) == link.worker
        assert program.end() == 7
        wait_end(link.worker)
        os.waitpid(link.worker, 0)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("when", ["traced", "stopped", "closed"])
def test_when_the_worker_ends_the_program_does(when: str, number: signal.Signals) -> None:
    with opening() as program:
        link = start_worker()
        assert link.worker is not None
        with client_of(link) as client:
            traced = start(client, program)
            assert program.open(b"f") == "open"
            (child,) = children(program.pid)
            if when == "stopped":
                client.call(trace.Stop(trace=traced))
            if when == "closed":
                client.close()
            os.kill(link.worker, number)
            wait_end(link.worker)
            os.waitpid(link.worker, 0)
        assert program.process.wait(30) == -signal.SIGKILL
        wait_end(child)


def test_a_killed_utracectl_leaves_its_command_at_work() -> None:
    words = [*UTRACECTL, "trace", *SECCOMP, "-f", "-e", "trace=openat", "-o", os.devnull]
    with Popen([*words, "--", "sh", "-c", PROGRAM], stdin=PIPE, stdout=PIPE, stderr=DEVNULL) as ctl:
        program = Opening(ctl)
        assert program.says() == "here"
        worker = worker_of(ctl.pid)
        (command,) = [pid for pid in children(ctl.pid) if pid != worker]
        ctl.kill()
        assert program.open() == "open"
        assert tracer(command) == worker
        program.end()
        for pid in (command, worker):
            wait_end(pid)
            os.waitpid(pid, 0)


def test_a_listening_daemon_holds_what_its_clients_have_left(tmp_path: Path) -> None:
    with opening() as program, listening(tmp_path / "socket") as daemon:
        with Peer(tmp_path / "socket") as peer:
            peer.call("trace.start", pid=program.pid, **SETTINGS)
            program.begin()
        assert program.open() == "open"
        with Peer(tmp_path / "socket") as peer:
            other = peer.call("trace.start", pid=program.pid, syscalls=["openat"], backend="ptrace")["trace"]
            assert program.open() == "open"
            assert peer.call("trace.stop", trace=other)["delivered"] == 1
        assert program.open() == "open"
        assert tracer(program.pid) == daemon.pid
        daemon.process.terminate()
        assert program.process.wait(30) == -signal.SIGKILL


@needs_root
def test_a_worker_of_the_systems_daemon_stays_for_what_it_holds(tmp_path: Path) -> None:
    configuration = tmp_path / "utraced.toml"
    configuration.write_text("[idle]\nworker = 1\n")

    def traced(address: str) -> int:
        """Trace as ADA, and leave for longer than a worker is idle; return how the program ends."""
        own_program(ADA)
        with opening() as program:
            with Peer(address) as peer:
                answer = peer.call("trace.start", pid=program.pid, **SETTINGS)
                program.begin()
            assert "gain no privileges" in answer["reason"]
            idle = monotonic() + 1.5
            while monotonic() < idle:
                assert program.open() == "open"
            return program.end()

    with system("--config", str(configuration)) as daemon:
        assert isolated(lambda: traced(daemon.address)) == 7
        until(lambda: not daemon.workers(), "the worker has ended")


@needs_root
@pytest.mark.parametrize("deprived", [False, True])
def test_a_filter_comes_into_a_32_bit_program_too(
    deprived: bool, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = str(programs("i386_again"))

    def act(side: Side) -> None:
        os.execv(program, ["i386_again"])

    def traced() -> list[tuple[str, str]]:
        if deprived:
            own_program(ADA)
        with target(act) as found, by_hand() as hand:
            number = hand.call(engine.Attach(pid=found.pid, hold_on_exec=True)).engine
            found.go()
            hand.until(lambda: hand.told(events.Stop))
            # It is held before its first call.
            awaited = hand.start(trace.Start(pid=found.pid, **{**SETTINGS, "syscalls": ("open", "exit")}))
            hand.call(engine.Detach(engine=number))
            assert (filtered.DEPRIVED in finish(awaited).reason) == deprived
            hand.ended(found.pid)
            return [(event.arch, event.name) for event in hand.told(events.Syscall)]

    with folder() as made:
        monkeypatch.chdir(made)
        made.chmod(0o777)
        program = shutil.copy(program, made)
        assert isolated(traced) == [("i386", "open"), ("i386", "exit")]


@needs_root
def test_a_set_uid_program_gains_an_ordinary_user_nothing(programs: Programs) -> None:
    with folder() as made:
        program = shutil.copy(programs("privileged"), made / "privileged")
        os.chmod(program, 0o4755)
        if not _honoured(program):
            pytest.skip("set-uid programs are not honoured there")

        def act(side: Side) -> None:
            os.execv(program, ["privileged"])

        def traced() -> bool:
            own_program(ADA)
            with target(act) as found, by_hand() as hand:
                hand.call(trace.Start(pid=found.pid, **SETTINGS))
                found.go()
                hand.until(lambda: found.said(b"\n"))
                assert hand.told(events.Exec)
                return found.said(b"%d " % ADA)

        assert isolated(traced)


def _honoured(program: str) -> bool:
    """Tell whether the program gives others its owner's rights."""

    def run() -> bytes:
        return subprocess.run([program], stdin=DEVNULL, stdout=PIPE, check=False).stdout

    return as_user(run, ADA).startswith(b"0 ")


def test_an_interrupted_utracectl_lets_its_command_go_on(tmp_path: Path) -> None:
    # The command has left a child behind, which has the filter too.
    script = 'exec 3<&0; (read word <&3; cat /etc/hostname >"$0") & exit 3'
    output = tmp_path / "output"
    with Popen(
        [*UTRACECTL, "trace", *SECCOMP, "-f", "-e", "trace=openat", "--", "sh", "-c", script, str(output)],
        stdin=PIPE,
        stderr=PIPE,
    ) as ctl:
        assert ctl.stderr is not None
        assert ctl.stdin is not None
        assert b"the backend is seccomp: it was asked for; the filter cannot be removed" in ctl.stderr.readline()
        worker = worker_of(ctl.pid)
        while b"exited with 3" not in (line := ctl.stderr.readline()):
            assert line, "the command never ended"
        ctl.send_signal(signal.SIGINT)
        assert ctl.wait(30) == 3
        assert command_line(worker)
        ctl.stdin.write(b"\n")
        ctl.stdin.close()
        wait_end(worker)
        os.waitpid(worker, 0)
        assert output.read_text() == Path("/etc/hostname").read_text()
