"""What people see of the system's daemon, through utracectl."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.broker.system import System, folder, system
from tests.broker.test_forwarding import handed_on
from tests.children import NOBODY, as_user, child, fork, libc, own_program, set_name
from tests.live.machine import UTRACECTL, tracer
from tests.worker.daemon import Peer
from utracectl.client import connect
from utraced.api.daemon import Hello
from utraced.linux.prctl import no_new_privs

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a broker has to be root")


def utracectl(
    *words: str, prepare: Callable[[], None] | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    changed: Mapping[str, str] = {name: value for name, value in os.environ.items() if name != "UTRACED_SOCKET"}
    return subprocess.run(
        [*UTRACECTL, *words],
        env={**changed, **environment},
        preexec_fn=prepare,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_confined_utracectl_says_so_and_goes_on_by_itself() -> None:
    with folder() as made:
        (made / "utraced").mkdir(mode=0o755)
        with system(at=made / "utraced") as found, child() as target:
            usual = {"XDG_RUNTIME_DIR": str(made)}
            done = utracectl("call", "engine.attach", f"pid={target}", prepare=no_new_privs, **usual)
            assert json.loads(done.stdout)["pid"] == target
            why = "the daemon does not serve your process: no_new_privs is set"
            assert done.stderr == f"utracectl: {why}: going on with a private worker\n"
            traced = utracectl("trace", "-e", "trace=exit_group", "--", "true", prepare=no_new_privs, **usual)
            assert traced.returncode == 0
            assert "going on with a private worker" in traced.stderr
            assert "exit_group(0)" in traced.stderr
            named = utracectl("status", prepare=no_new_privs, UTRACED_SOCKET=found.address)
            assert named.returncode == 1
            assert "unset UTRACED_SOCKET" in named.stderr


def test_root_goes_on_where_a_user_s_worker_traces() -> None:
    with system() as found, handed_on(found, "full") as (address, _), child(lambda: own_program(NOBODY)) as target:
        held, release = os.pipe()
        ready, say = os.pipe()
        pid = fork()
        if pid == 0:
            try:
                os.setgroups([])
                os.setresgid(NOBODY, NOBODY, NOBODY)
                os.setresuid(NOBODY, NOBODY, NOBODY)
                os.close(release)
                with Peer(found.address) as peer:
                    peer.call("engine.attach", pid=target)
                    os.write(say, b"!")
                    os.read(held, 1)
            finally:
                os._exit(0)
        try:
            assert os.read(ready, 1) == b"!"
            worker = tracer(target)
            done = utracectl("call", "engine.attach", f"pid={target}", UTRACED_SOCKET=found.address)
            assert json.loads(done.stdout)["pid"] == target
            assert done.stderr == (
                f"utracectl: process {target} is traced by utraced-worker ({worker}): going on at {address}\n"
            )
            # A program of root's that is no utracectl is told the same as data.
            with Peer(found.address) as peer:
                peer.send("engine.attach", pid=target)
                error = peer.next()["error"]
            assert error["data"]["tracer"] == {"pid": worker, "comm": "utraced-worker", "socket": address}
        finally:
            os.close(release)
            os.waitpid(pid, 0)
            for fd in (held, ready, say):
                os.close(fd)


@pytest.mark.parametrize("connected", [False, True])
def test_after_its_worker_was_killed_the_next_call_works(connected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever connects while it ends may still be handed to it."""
    with system() as found:
        monkeypatch.setenv("UTRACED_SOCKET", found.address)
        workers = set()
        for _ in range(20):
            worker = found.call("daemon.hello")["tracer_pid"]
            workers.add(worker)
            if not connected:
                os.kill(worker, signal.SIGKILL)
            with connect() as client:
                if connected:
                    os.kill(worker, signal.SIGKILL)
                assert client.call(Hello()).tracer_pid != worker
        assert len(workers) > 1


def reasons(found: System, targets: list[int]) -> list[Any]:
    with Peer(found.address) as peer:
        answers = []
        for target in targets:
            peer.send("engine.attach", pid=target)
            answers.append(peer.next()["error"]["data"].get("reason"))
    return answers


@pytest.mark.parametrize("uid", [0, 3031])
def test_the_daemon_itself_cannot_be_traced(uid: int) -> None:
    with system() as found:

        def ask() -> list[Any]:
            with Peer(found.address) as peer:
                worker = peer.call("daemon.hello")["tracer_pid"]
                return reasons(found, [found.pid, found.template(), worker, os.getpid()])

        assert (as_user(ask, uid) if uid else ask()) == ["would_deadlock"] * 4


def test_two_clients_cannot_trace_each_other() -> None:
    with system() as found:
        go, begin = os.pipe()
        told, tell = os.pipe()
        pid = fork()
        if pid == 0:
            try:
                os.close(begin)
                with Peer(found.address) as peer:
                    peer.call("daemon.hello")
                    os.write(tell, b"!")
                    os.read(go, 1)
                    os.write(tell, str(reasons(found, [os.getppid()])).encode())
            finally:
                os._exit(0)
        try:
            assert os.read(told, 1) == b"!"
            with Peer(found.address) as peer:
                peer.call("engine.attach", pid=pid)
                os.write(begin, b"!")
                assert os.read(told, 100) == b"['would_deadlock']"
        finally:
            for fd in (go, begin, told, tell):
                os.close(fd)
            os.waitpid(pid, 0)


def test_the_folder_of_the_socket_leads_nowhere_else() -> None:
    """Whoever calls himself a worker is at most believed to be one."""
    with system() as found:
        ready, say = os.pipe()
        with child(lambda: own_program(NOBODY)) as target:
            pid = fork()
            if pid == 0:
                try:
                    set_name(b"utraced-worker")
                    os.setgroups([])
                    os.setresgid(NOBODY, NOBODY, NOBODY)
                    os.setresuid(NOBODY, NOBODY, NOBODY)
                    libc().ptrace(0x4206, target, 0, 0)
                    os.write(say, b"!")
                    signal.pause()
                finally:
                    os._exit(0)
            assert os.read(ready, 1) == b"!"
            with Peer(found.address) as peer:
                peer.send("engine.attach", pid=target)
                assert peer.next()["error"]["data"]["tracer"] == {"pid": pid, "comm": "utraced-worker"}
            os.kill(pid, 9)
            os.waitpid(pid, 0)
        os.close(ready)
        os.close(say)
