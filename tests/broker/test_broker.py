from __future__ import annotations

import array
import contextlib
import os
import select
import signal
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.broker.system import System, connected, system
from tests.children import as_user, become, child, fork, isolated, libc, own_program
from tests.live.machine import free, state, status, tracer, until, wait_end
from tests.worker.daemon import Peer

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a broker has to be root")

ADA, BOB = 3001, 3002
NONE = f"{0:016x}"
SHORT = "[idle]\nworker = 1\n"
FEW = "[limits]\nworkers = 2\n"


@pytest.fixture(scope="module")
def shared() -> Iterator[System]:
    with system() as found:
        yield found


def worker_of(found: System, uid: int, gid: int | None = None) -> int:
    """Return the pid of a user's worker, as it tells."""
    return int(found.call_as(uid, "daemon.hello", gid)["tracer_pid"])


@pytest.fixture
def configured(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[System]:
    """A broker whose workers end soon, or as the test says."""
    path = tmp_path / "utraced.toml"
    path.write_text(getattr(request, "param", SHORT))
    path.chmod(0o600)
    with system("--config", str(path)) as found:
        yield found


def test_a_worker_is_its_user_and_nothing_else(shared: System) -> None:
    found = status(worker_of(shared, ADA))
    assert found["Name"] == "utraced-worker"
    assert {found[name] for name in ("Uid", "Gid")} == {"\t".join([str(ADA)] * 4)}
    assert found["Groups"] == ""
    assert {found[f"Cap{name}"] for name in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {NONE}
    assert found["NoNewPrivs"] == "1"


def test_it_says_as_whom_it_traces(shared: System) -> None:
    welcome = shared.call_as(ADA, "daemon.hello")
    assert (welcome["peer"]["uid"], welcome["target_user"], welcome["access"]) == (ADA, str(ADA), "full")


def kinds_of_descriptors(pid: int) -> list[str]:
    """Return what a process has open beside the first three, without what is just closed."""
    found = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):
            name = os.readlink(f"/proc/{pid}/fd/{fd}")
            if int(fd) > 2:
                found.append(name.partition(":[")[0] if name.startswith("socket:") else name)
    return sorted(found)


def test_it_has_no_descriptors_but_its_own(shared: System) -> None:
    pid = worker_of(shared, ADA)
    # Its epolls, its signalfd, its channel, and a socketpair to wake its loop; the session that asked is just ending.
    own = ["anon_inode:[eventpoll]"] * 3 + ["anon_inode:[signalfd]"] + ["socket"] * 3
    until(lambda: kinds_of_descriptors(pid) == own, "nothing else is open")
    assert {"0", "1", "2"} < set(os.listdir(f"/proc/{pid}/fd"))


def test_its_user_can_neither_trace_it_nor_take_its_descriptors(shared: System) -> None:
    pid = worker_of(shared, ADA)

    def attempts() -> list[int]:
        pidfd = os.pidfd_open(pid)
        found = [libc().ptrace(0x4206, pid, 0, 0), libc().syscall(438, pidfd, 3, 0)]
        for name in ("mem", "maps", "environ", "fd"):
            try:
                os.close(os.open(f"/proc/{pid}/{name}", os.O_RDONLY))
            except PermissionError:
                found.append(-1)
        return found

    assert as_user(attempts, ADA) == [-1] * 6


def test_one_user_has_one_worker(shared: System) -> None:
    assert worker_of(shared, ADA) == worker_of(shared, ADA) != worker_of(shared, BOB)


def test_other_groups_are_other_workers(shared: System) -> None:
    assert worker_of(shared, ADA) != worker_of(shared, ADA, BOB)


def test_root_has_what_the_peer_has(shared: System) -> None:
    with Peer(shared.address) as peer:
        pid = peer.call("daemon.hello")["tracer_pid"]
        assert status(pid)["CapEff"] == status(os.getpid())["CapEff"]
        assert status(pid)["CapInh"] == NONE


def test_many_connections_at_once_start_one_worker(shared: System) -> None:
    def ask() -> set[int]:
        socks = [connected(shared.address) for _ in range(40)]
        for sock in socks:
            sock.send(b'{"jsonrpc":"2.0","id":1,"method":"daemon.hello"}')
        return {int(sock.recv(1 << 17).partition(b'"tracer_pid":')[2].partition(b",")[0]) for sock in socks}

    assert len(as_user(ask, 3010)) == 1


def test_lies_about_credentials_change_nothing(shared: System) -> None:
    def lie() -> int:
        sock = connected(shared.address)
        data = struct.pack("iII", os.getpid(), ADA, ADA)
        sock.sendmsg(
            [b'{"jsonrpc":"2.0","id":1,"method":"daemon.hello"}'],
            [(socket.SOL_SOCKET, socket.SCM_CREDENTIALS, data)],
        )
        return int(b'"uid":%d' % ADA in sock.recv(1 << 17))

    assert as_user(lie, ADA) == 1

    def forge() -> None:
        sock = connected(shared.address)
        sock.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_CREDENTIALS, struct.pack("iII", os.getpid(), 0, 0))])

    with pytest.raises(AssertionError, match="PermissionError"):
        as_user(forge, ADA)


def test_a_confined_peer_is_told_and_closed(shared: System) -> None:
    def confined() -> object:
        os.setgroups([])
        become(ADA)
        return shared.refusal(lambda: libc().prctl(38, 1, 0, 0, 0))

    error = isolated(confined)
    assert error["code"] == -32001
    assert error["data"]["reason"] == "policy"
    assert error["data"]["confined"] == ["no_new_privs is set"]
    assert [status(pid)["Uid"].split()[0] for pid in shared.workers("utraced-refuser")] == ["65534"]


def test_what_a_refused_peer_has_sent_hurts_nobody(shared: System) -> None:
    """It passes descriptors whose close takes long, and leaves them unread."""

    def attack() -> None:
        libc().prctl(38, 1, 0, 0, 0)
        for _ in range(30):
            sock = connected(shared.address)
            lingering = socket.socket()
            lingering.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 30000))
            sock.sendmsg([b"?"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [lingering.fileno()]))])

    as_user(attack, ADA)
    assert shared.call_as(BOB, "daemon.hello")["target_user"] == str(BOB)


def test_a_connection_is_of_who_made_it_and_ends_with_him(shared: System) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = fork()
    if pid == 0:
        try:
            ours.close()
            become(ADA)
            sock = connected(shared.address)
            socket.send_fds(theirs, [b"!"], [sock.fileno()])
            sock.close()
            theirs.recv(1)
        finally:
            os._exit(0)
    theirs.close()
    with ours:
        _, fds, _, _ = socket.recv_fds(ours, 1, 1)
        with socket.socket(fileno=fds[0]) as passed:
            passed.settimeout(30)
            passed.send(b'{"jsonrpc":"2.0","id":1,"method":"daemon.hello"}')
            answer = passed.recv(1 << 17)
            assert b'"uid":%d' % ADA in answer
            assert b'"pid":%d' % pid in answer
            ours.close()
            os.waitpid(pid, 0)
            assert passed.recv(1 << 17) == b""


def test_a_worker_that_nobody_needs_ends(configured: System) -> None:
    pid = worker_of(configured, ADA)
    wait_end(pid)
    assert worker_of(configured, ADA) != pid


def test_a_worker_that_is_needed_stays(configured: System) -> None:
    with Peer(configured.address) as peer:
        first = peer.call("daemon.hello")["tracer_pid"]
        # After it came another, who has been idle for long enough.
        wait_end(worker_of(configured, ADA))
        assert peer.call("daemon.hello")["tracer_pid"] == first
    wait_end(first)


@pytest.mark.parametrize("configured", [FEW], indirect=True)
def test_more_sets_of_groups_than_workers(configured: System) -> None:
    workers = {worker_of(configured, ADA, gid) for gid in (1, 2, 1)}
    assert len(workers) == 2
    with pytest.raises(AssertionError, match="2 workers"):
        configured.call_as(ADA, "daemon.hello", 3)
    assert worker_of(configured, BOB) not in workers


def test_the_death_of_a_worker_is_its_sessions_alone(shared: System) -> None:
    with ExitStack() as stack:
        targets = [stack.enter_context(child(lambda: own_program(3011))) for _ in range(20)]
        reading, writing = os.pipe()
        pid = fork()
        if pid == 0:
            try:
                become(3011)
                with Peer(shared.address) as peer:
                    found = peer.call("daemon.hello")["tracer_pid"]
                    for target in targets:
                        peer.call("engine.attach", pid=target, hold=True)
                    os.write(writing, str(found).encode())
                    while peer.next() is not None:
                        pass
                os.write(writing, b"!")
            finally:
                os._exit(0)
        try:
            worker = int(os.read(reading, 100))
            assert {tracer(target) for target in targets} == {worker}
            with Peer(shared.address) as other:
                session = other.call("daemon.hello")["session"]
                os.kill(worker, signal.SIGKILL)
                assert os.read(reading, 1) == b"!"
                until(lambda: all(free(target) for target in targets), "targets that run on")
                assert worker_of(shared, 3011) not in {worker, 0}
                assert other.call("daemon.hello")["session"] == session
        finally:
            os.waitpid(pid, 0)
            os.close(reading)
            os.close(writing)


def test_the_death_of_the_template_is_nobody_s(shared: System) -> None:
    with Peer(shared.address) as peer:
        before = peer.call("daemon.hello")["tracer_pid"]
        template = shared.template()
        os.kill(template, signal.SIGKILL)
        wait_end(template)
        assert peer.call("daemon.hello")["tracer_pid"] == before
        assert worker_of(shared, 3012)
        assert shared.template() not in {0, template}


def test_the_death_of_the_broker_leaves_the_sessions() -> None:
    with system() as found, child() as target:
        with Peer(found.address) as peer:
            peer.call("engine.attach", pid=target, hold=True)
            worker = tracer(target)
            os.kill(found.pid, signal.SIGKILL)
            wait_end(found.pid)
            assert peer.call("daemon.hello")["tracer_pid"] == worker
            assert state(target) == "t"
        wait_end(worker)
        assert free(target)


def test_at_its_end_everything_is_let_go() -> None:
    with system() as found, child() as target, Peer(found.address) as peer:
        peer.call("engine.attach", pid=target, hold=True)
        worker, template = tracer(target), found.template()
        assert found.daemon.stop() == 0
        assert [event["reason"] for event in peer.events() if event["kind"] == "detached"] == ["daemon_stopping"]
        for pid in (worker, template):
            wait_end(pid)
        assert free(target)
        assert not Path(found.address).exists()


def test_a_stopped_worker_holds_nobody_else_up(shared: System) -> None:
    pid = worker_of(shared, 3013)

    def flood() -> list[bytes]:
        os.kill(pid, signal.SIGSTOP)
        poll = select.poll()
        socks = {}
        # What a socket's buffer holds of packets that small, and more.
        for _ in range(600):
            sock = connected(shared.address)
            # On a busy machine some are refused, and closed, before they have asked.
            with contextlib.suppress(BrokenPipeError):
                sock.send(b'{"jsonrpc":"2.0","id":1,"method":"daemon.hello"}')
            socks[sock.fileno()] = sock
            poll.register(sock, select.POLLIN)
        answers: list[bytes] = []
        while not any(answers):
            for fd, _ in poll.poll(30_000):
                poll.unregister(fd)
                # And some faster than they can be told why.
                with contextlib.suppress(ConnectionResetError):
                    answers.append(socks[fd].recv(1 << 17))
        os.kill(pid, signal.SIGCONT)
        return answers

    assert any(b'"limit":"connections"' in answer for answer in as_user(flood, 3013))
    assert worker_of(shared, BOB)
