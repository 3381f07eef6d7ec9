"""What goes through the broker: nothing is read of it, nothing of it stays, and one user's flood is not another's."""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

from tests.broker.system import System, connected, system
from tests.children import as_user, become, fork, needs_root
from tests.live.machine import PATIENCE, status, until
from tests.worker.daemon import Peer
from utraced.linux import handing
from utraced.linux.handing import HandOn
from utraced.linux.identity import Identity
from utraced.linux.prctl import no_new_privs

pytestmark = needs_root

ADA, BOB = 3161, 3162
USERS = int(os.environ.get("UTRACED_TEST_USERS", "30"))
SLACK_KIB = 512
"""What a broker may have more in memory after two thirds of all users: the allocator's slack."""
HELLO = b'{"jsonrpc":"2.0","id":1,"method":"daemon.hello"}'
CALL = re.compile(r"^(?:\[pid +\d+\] |\d+ +)?(\w+)\((\d+)?(.*?)\) += (-?\d+)")
READING = {"read", "readv", "pread64", "preadv", "preadv2", "recvfrom", "recvmsg", "recvmmsg", "splice", "tee"}


def descriptors(found: System) -> int:
    return len(os.listdir(f"/proc/{found.pid}/fd"))


def hand_on(found: System, uid: int) -> bytes:
    """Connect to a socket of our own and hand that on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind("")
        listener.listen()
        with connected(str(found.folder / "as.sock")) as channel, connected(listener.getsockname()) as client:
            sock, _ = listener.accept()
            handing.send(channel, HandOn("here", "full", Identity(uid, uid)), [sock.fileno()])
            sock.close()
            client.send(HELLO)
            return client.recv(1 << 17)


def refused(found: System) -> bytes:
    def ask() -> bytes:
        no_new_privs()
        sock = connected(found.address)
        sock.send(HELLO)
        return sock.recv(1 << 17)

    return as_user(ask, ADA)


def test_nothing_is_read_of_a_connection(tmp_path: Path) -> None:
    """Watched from outside: of a descriptor that is a client's, no call reads."""
    tracer = shutil.which("strace")
    if tracer is None:
        pytest.skip("strace is missing: install it to watch the broker")
    log = tmp_path / "calls"
    with system() as found:
        command = [tracer, "-f", "-p", str(found.pid), "-o", str(log), "-s", "4096"]
        watching: Popen[bytes] = Popen(command, stderr=PIPE)
        try:
            assert watching.stderr is not None
            assert b"attached" in watching.stderr.readline()
            found.call_as(ADA, "daemon.hello")
            assert b"no_new_privs" in refused(found)
            assert b'"target_user":"%d"' % BOB in hand_on(found, BOB)
        finally:
            watching.send_signal(signal.SIGINT)
            watching.wait(PATIENCE)
            assert watching.stderr is not None
            watching.stderr.close()
    wrong, taken = read_of_clients(log.read_text())
    assert wrong == []
    assert taken == 3
    assert "daemon.hello" not in log.read_text()


def read_of_clients(log: str) -> tuple[list[str], int]:
    """Return the calls that read of a descriptor that was accepted or handed on, and how many such there were."""
    matches = [match for match in map(CALL.match, log.splitlines()) if match]
    # The socket for everybody is the older of the two.
    for_all = min(int(match[2]) for match in matches if match[1] == "accept4")
    theirs: set[int] = set()
    wrong, taken = [], 0
    for match in matches:
        name, first, rest, result = match[1], int(match[2] or -1), match[3], int(match[4])
        if name in READING and first in theirs:
            wrong.append(match[0])
        if name == "close":
            theirs.discard(first)
        elif name == "accept4" and first == for_all and result >= 0:
            theirs.add(result)
            taken += 1
        elif name == "accept4":
            # The number was closed by another thread, which strace may show in two halves.
            theirs.discard(result)
        elif name == "recvmsg" and "SCM_RIGHTS" in rest:
            fds = re.findall(r"\d+", rest.partition("cmsg_data=[")[2].partition("]")[0])
            theirs.update(map(int, fds))
            taken += len(fds)
    return wrong, taken


def test_nothing_stays_open(daemon: System) -> None:
    daemon.call_as(ADA, "daemon.hello")
    refused(daemon)
    with Peer(daemon.address) as peer:
        peer.call("daemon.hello")
        before = descriptors(daemon)

        def come_and_go() -> None:
            with Peer(daemon.address) as kept:
                kept.call("daemon.hello")
                for number in range(1000):
                    with connected(daemon.address) as sock:
                        if number % 3:
                            sock.send(HELLO)

        def refused_often() -> None:
            no_new_privs()
            for _ in range(200):
                connected(daemon.address).close()

        as_user(come_and_go, ADA)
        as_user(refused_often, ADA)
        until(lambda: descriptors(daemon) <= before, "as few descriptors as before")


def resident(pid: int) -> int:
    """Return the KiB that a process has in memory."""
    return int(status(pid)["VmRSS"].split()[0])


def test_many_users_one_after_another(tmp_path: Path) -> None:
    """Whoever has gone leaves nothing behind; UTRACED_TEST_USERS says how many come."""
    config = tmp_path / "utraced.toml"
    config.write_text("[idle]\nworker = 1\n")
    with system("--config", str(config)) as found:
        before = descriptors(found)
        memory, most = 0, 0
        for number in range(USERS):
            uid = 20_000 + number
            assert found.call_as(uid, "daemon.hello")["target_user"] == str(uid)
            most = max(most, len(found.workers()))
            if number == USERS // 3:
                memory = resident(found.pid)
        until(lambda: not found.workers() and descriptors(found) <= before, "nobody left")
        more = resident(found.pid) - memory
        print(f"{USERS} users, at most {most} workers at once, {memory} + {more} KiB of the broker")  # shown with -s
        assert more <= SLACK_KIB


@pytest.fixture
def flood(daemon: System) -> Iterator[None]:
    """ADA connects as often as she can."""
    found = []
    for _ in range(2):
        pid = fork()
        if pid == 0:
            try:
                become(ADA)
                while True:
                    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                    sock.connect(daemon.address)
                    sock.send(HELLO)
                    sock.close()
            finally:
                os._exit(0)
        found.append(pid)
    yield
    for pid in found:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_a_flood_is_not_another_s(flood: None, daemon: System) -> None:
    def work() -> int:
        with Peer(daemon.address) as peer:
            for _ in range(5):
                peer.call("daemon.hello")
                with Peer(daemon.address) as another:
                    another.call("daemon.hello")
            return int(peer.call("daemon.hello")["peer"]["uid"])

    assert as_user(work, BOB) == BOB


def test_without_descriptors_it_waits_and_goes_on() -> None:
    """As many users as there are descriptors, and more; when some have gone there is room again."""
    most = 26

    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    with system(preexec_fn=few) as found:
        before = descriptors(found)
        kept = []
        try:
            for uid in range(21_000, 21_000 + most):
                reading, writing = os.pipe()
                pid = fork()
                if pid == 0:
                    try:
                        become(uid)
                        sock = connected(found.address)
                        sock.send(HELLO)
                        os.write(writing, b"!" if b"result" in sock.recv(1 << 17) else b"?")
                        signal.pause()
                    finally:
                        os._exit(0)
                os.close(writing)
                kept.append(pid)
                with open(reading, "rb", buffering=0) as file:
                    told = file.read(1)
                if told != b"!":
                    break
            assert told != b"!"
            served = len(kept) - 1
            assert served > 5
            # Those who are there are still served, and a new one of theirs too, when there is room for a moment.
            for pid in kept:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            kept.clear()
            for worker in found.workers():
                os.kill(worker, signal.SIGKILL)
            # The refusing worker stays, and the channel to it.
            until(lambda: descriptors(found) <= before + 1, "room")
            assert found.call_as(BOB, "daemon.hello")["target_user"] == str(BOB)
        finally:
            for pid in kept:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
