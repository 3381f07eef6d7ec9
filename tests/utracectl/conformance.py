"""What every client does, with every worker: one suite, in which a class of tests of each client takes part."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import pytest

from tests.live.machine import state, until
from tests.utracectl.fake_worker import BASE, FakeWorker
from utracectl.connect import Link, NotConnected, start_worker
from utracectl.dialogue import ConnectionEnded
from utraced.api import daemon, engine, memory, process, thread
from utraced.api.events import AnyEvent, Signal
from utraced.api.methods import registry
from utraced.errors import (
    Gone,
    InvalidParams,
    LimitExceeded,
    MethodNotFound,
    NoSuchObject,
    NoSuchProcess,
    PermissionDenied,
)
from utraced.model import Hex
from utraced.rpc.connection import Connection
from utraced.rpc.method import Method
from utraced.rpc.packet import Descriptors, Packet

Result = TypeVar("Result")
NOBODY = 4_194_304
"""A pid that the kernel gives to none: PID_MAX_LIMIT itself."""


class AnyClient(Protocol):
    """What the suite asks of a client; of one that is async, made to block."""

    @property
    def worker(self) -> int | None: ...
    def call(self, method: Method[Result], fds: Sequence[int] = ()) -> Result: ...
    def call_with_descriptors(self, method: Method[Result], fds: Sequence[int] = ()) -> tuple[Result, Descriptors]: ...
    def call_raw(self, method: str, params: Mapping[str, Any] | None = None, fds: Sequence[int] = ()) -> Any: ...
    def events(self) -> Iterator[AnyEvent]: ...
    def close(self) -> None: ...


Open = Callable[[Link], AnyClient]


class Service(NamedTuple):
    """A worker with a client: ``pid`` can be traced, ``end`` has the worker die."""

    client: AnyClient
    pid: int
    end: Callable[[], None]


@contextmanager
def target() -> Iterator[int]:
    """Give the pid of a process that waits."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as waiting:
        yield waiting.pid


@contextmanager
def real(opened: Open) -> Iterator[Service]:
    """Give an embedded worker and a process."""
    with target() as pid:
        link = start_worker()
        assert link.worker is not None
        worker = link.worker
        client = opened(link)
        try:
            assert client.worker == worker
            yield Service(client, pid, lambda: os.kill(worker, 9))
        finally:
            client.close()
            os.waitpid(worker, 0)


@contextmanager
def fake(opened: Open) -> Iterator[Service]:
    """Give a fake worker."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    worker = FakeWorker(theirs, pid=77)
    client = opened(Link(ours))
    try:
        yield Service(client, worker.pid, worker.end)
    finally:
        client.close()
        worker.join()


class Daemon:
    """Listens at ``path``, and hangs up on one connection after the other, as ``ways`` say; then it serves one.

    ``unread``: with the request unread; ``read``: after reading it; ``away``: after an answer that it does not serve
    confined processes.
    """

    def __init__(self, path: Path, *ways: str) -> None:
        self.connections = 0
        self.worker: FakeWorker | None = None
        self._ways = ways
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.bind(str(path))
        self._socket.listen()
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def close(self) -> None:
        """Stop, whether the client has hung up or, in a test that failed, has not."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._socket.close()
        if self.worker is not None:
            with suppress(OSError):
                self.worker.end()
            self.worker.join()

    def serving(self) -> FakeWorker:
        """Return the worker of the last connection, which may answer before whoever started it knows."""
        self._accepting.join()
        assert self.worker is not None
        return self.worker

    def _accept(self) -> None:
        for way in (*self._ways, "serve"):
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            if way == "serve":
                self.worker = FakeWorker(client, pid=77)
                return
            select.select([client], [], [])
            if way != "unread":
                packet = client.recv(300_000)
            if way == "away":
                connection = Connection(registry())
                (request,) = connection.receive(Packet(packet)).requests
                error = PermissionDenied("not served", reason="policy", confined=["no_new_privs is set"])
                client.send(connection.error(request, error)[0].data)
            client.close()


Dial = Callable[[], AnyClient]


class Reconnecting:
    """What a client does whose daemon ends before it has answered; ``dial`` connects to ``UTRACED_SOCKET``."""

    @pytest.fixture
    def daemon_at(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Daemon]]:
        monkeypatch.setenv("UTRACED_SOCKET", str(tmp_path / "socket"))
        started: list[Daemon] = []

        def start(*ways: str) -> Daemon:
            started.append(Daemon(tmp_path / "socket", *ways))
            return started[-1]

        yield start
        for one in started:
            one.close()

    def test_a_request_that_was_not_read_is_asked_again(self, daemon_at: Callable[..., Daemon], dial: Dial) -> None:
        listening = daemon_at("unread")
        client = dial()
        assert client.call(engine.Attach(pid=77)).engine == 1
        client.close()
        assert listening.connections == 2

    def test_one_that_may_have_been_read_is_asked_again_where_it_only_looks(
        self, daemon_at: Callable[..., Daemon], dial: Dial
    ) -> None:
        listening = daemon_at("read")
        client = dial()
        assert client.call(daemon.Hello()).server == "utraced"
        client.close()
        assert listening.connections == 2

    @pytest.mark.parametrize("raw", [False, True])
    def test_and_not_where_it_changes_something(self, daemon_at: Callable[..., Daemon], dial: Dial, raw: bool) -> None:
        listening = daemon_at("read")
        client = dial()
        params = {"pid": 77, "tid": 77, "signal": "SIGTERM"}
        by_name = partial(client.call_raw, "thread.signal", params)
        typed = partial(client.call, thread.Signal(pid=77, tid=77, signal="SIGTERM"))
        with pytest.raises(ConnectionEnded, match="hung up"):
            (by_name if raw else typed)()
        client.close()
        assert listening.connections == 1

    def test_only_once(self, daemon_at: Callable[..., Daemon], dial: Dial) -> None:
        listening = daemon_at("unread", "unread")
        client = dial()
        for _ in range(2):
            with pytest.raises(ConnectionEnded):
                client.call(daemon.Hello())
        client.close()
        assert listening.connections == 2

    def test_not_after_an_answer(self, daemon_at: Callable[..., Daemon], dial: Dial) -> None:
        listening = daemon_at()
        client = dial()
        client.call(daemon.Hello())
        listening.serving().end()
        with pytest.raises(ConnectionEnded):
            client.call(daemon.Hello())
        client.close()
        assert listening.connections == 1

    def test_descriptors_go_again(self, daemon_at: Callable[..., Daemon], dial: Dial) -> None:
        daemon_at("unread")
        client = dial()
        memfd = os.memfd_create("contents")
        client.call(memory.Read(pid=77, address=Hex(BASE), size=4, fd=0), [memfd])
        client.close()
        assert os.pread(memfd, 9, 0) == b"\x7fELF"
        os.close(memfd)

    def test_a_daemon_that_is_no_longer_there(
        self, daemon_at: Callable[..., Daemon], dial: Dial, tmp_path: Path
    ) -> None:
        listening = daemon_at("unread")
        client = dial()
        (tmp_path / "socket").unlink()
        with pytest.raises(NotConnected, match="no utraced answers"):
            client.call(daemon.Hello())
        client.close()
        assert listening.connections == 1


class Confined:
    """What a client does that the daemon does not serve, as it is confined; ``dial`` connects to the usual sockets."""

    @pytest.fixture
    def usual(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Daemon]]:
        monkeypatch.delenv("UTRACED_SOCKET", raising=False)
        monkeypatch.setattr("utracectl.connect.SYSTEM_SOCKET", str(tmp_path / "socket"))
        started: list[Daemon] = []

        def start(*ways: str) -> Daemon:
            started.append(Daemon(tmp_path / "socket", *ways))
            return started[-1]

        yield start
        for one in started:
            one.close()

    def test_a_private_worker_serves_it(self, usual: Callable[..., Daemon], dial: Dial) -> None:
        usual("away")
        client = dial()
        assert client.worker is None
        welcome = client.call(daemon.Hello())
        assert client.worker == welcome.tracer_pid
        assert client.call_raw("daemon.hello")["tracer_pid"] == client.worker
        client.close()
        os.waitpid(welcome.tracer_pid, 0)

    def test_also_for_what_changes_something(self, usual: Callable[..., Daemon], dial: Dial) -> None:
        usual("away")
        client = dial()
        with target() as pid:
            assert client.call(engine.Attach(pid=pid)).engine == 1
            worker = client.worker
            client.close()
            assert worker is not None
            os.waitpid(worker, 0)

    def test_a_daemon_that_was_asked_for_by_name_is_not_replaced(
        self, usual: Callable[..., Daemon], dial: Dial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        usual("away")
        monkeypatch.setenv("UTRACED_SOCKET", str(tmp_path / "socket"))
        client = dial()
        with pytest.raises(PermissionDenied, match="not served"):
            client.call(daemon.Hello())
        client.close()


class Conformance:
    """The suite; whoever takes part gives the fixture ``opened``."""

    @pytest.fixture(params=[real, fake], ids=["worker", "fake"])
    def service(self, request: pytest.FixtureRequest, opened: Open) -> Iterator[Service]:
        with request.param(opened) as service:
            yield service

    @pytest.fixture
    def client(self, service: Service) -> AnyClient:
        return service.client

    def test_a_result_has_its_type(self, client: AnyClient) -> None:
        welcome = client.call(daemon.Hello(client="conformance"))
        assert (type(welcome), welcome.server, welcome.protocol) == (daemon.Welcome, "utraced", 1)
        assert welcome.limits.max_fds == 16

    def test_a_method_by_its_name(self, client: AnyClient) -> None:
        welcome = client.call_raw("daemon.hello", {"client": "conformance"})
        assert (welcome["server"], welcome["limits"]["max_fds"]) == ("utraced", 16)
        assert client.call_raw("engine.list") == {"engines": []}

    def test_errors_are_of_their_class(self, client: AnyClient, service: Service) -> None:
        with pytest.raises(NoSuchProcess) as nobody:
            client.call(process.Info(pid=NOBODY))
        assert nobody.value.hint
        with pytest.raises(NoSuchObject):
            client.call(engine.Detach(engine=9))
        with pytest.raises(InvalidParams) as misfit:
            client.call_raw("process.info", {"pid": service.pid, "pod": 1})
        assert (misfit.value.data["path"], misfit.value.data["member"]) == ("$", "pod")
        with pytest.raises(MethodNotFound):
            client.call_raw("process.inform")

    def test_what_cannot_be_sent_is_an_error_and_the_client_lives_on(self, client: AnyClient) -> None:
        with pytest.raises(LimitExceeded):
            client.call_raw("daemon.hello", {"client": "x" * 300_000})
        with pytest.raises(InvalidParams):
            client.call_raw("daemon.hello", {"client": "\udcff"})
        with pytest.raises(LimitExceeded):
            client.call_raw("daemon.hello", {}, [0] * 17)
        closed, other = os.pipe()
        os.close(closed)
        with pytest.raises(OSError, match="Bad file descriptor"):
            client.call(daemon.Hello(), [closed])
        os.close(other)
        assert client.call(daemon.Hello()).server == "utraced"

    def test_an_engine_from_its_attaching_to_its_end(self, client: AnyClient, service: Service) -> None:
        attached = client.call(engine.Attach(pid=service.pid, hold=True))
        assert [(one.tid, one.state) for one in attached.threads] == [(service.pid, "held")]
        assert [one.engine for one in client.call(engine.List()).engines] == [attached.engine]
        client.call(engine.Detach(engine=attached.engine))
        with pytest.raises(Gone):
            client.call(engine.Detach(engine=attached.engine))
        assert client.call(engine.List()).engines == ()

    def test_events_come_in_order_and_none_is_lost_by_leaving_a_loop(self, client: AnyClient, service: Service) -> None:
        client.call(engine.Attach(pid=service.pid, events=("signal",)))
        heard: list[int] = []
        for _ in range(4):
            client.call(thread.Signal(pid=service.pid, tid=service.pid, signal="SIGWINCH"))
            client.call(thread.Signal(pid=service.pid, tid=service.pid, signal="SIGURG"))
            expected = ["SIGURG", "SIGWINCH"]
            for event in client.events():
                if isinstance(event, Signal):
                    assert event.pid == service.pid
                    expected.remove(event.signal)
                heard.append(event.seq)
                if not expected:
                    break
        assert heard == list(range(heard[0], heard[0] + len(heard)))

    def test_descriptors_go_with_a_request(self, client: AnyClient, service: Service) -> None:
        first = (client.call(process.Maps(pid=service.pid, limit=1)).maps or ())[0]
        data = client.call(memory.Read(pid=service.pid, address=first.start, size=64)).data
        memfd = os.memfd_create("contents")
        contents = client.call(memory.Read(pid=service.pid, address=first.start, size=64, fd=0), [memfd])
        assert (contents.size, os.pread(memfd, 99, 0)) == (64, data)
        os.close(memfd)

    def test_descriptors_come_with_an_answer(self, client: AnyClient, service: Service) -> None:
        mapped, descriptors = client.call_with_descriptors(process.Maps(pid=service.pid, form="fd"))
        assert mapped.fd == 0
        fd = descriptors.take(mapped.fd)
        assert os.fstat(fd).st_size == mapped.size
        assert descriptors.unclaimed() == []
        os.close(fd)

    def test_descriptors_that_nobody_takes_are_closed(self, client: AnyClient, service: Service) -> None:
        client.call(daemon.Hello())
        before = os.listdir("/proc/self/fd")
        client.call(process.Maps(pid=service.pid, form="fd"))
        client.call_raw("process.maps", {"pid": service.pid, "as": "fd"})
        client.call(daemon.Hello())
        assert os.listdir("/proc/self/fd") == before

    def test_the_end_of_the_worker(self, client: AnyClient, service: Service) -> None:
        client.call(daemon.Hello())
        service.end()
        with pytest.raises(ConnectionEnded, match=r"ended|hung up"):
            next(client.events())
        with pytest.raises(ConnectionEnded, match=r"ended|hung up"):
            client.call(daemon.Hello())

    def test_closing_is_final(self, client: AnyClient) -> None:
        client.call(daemon.Hello())
        client.close()
        client.close()
        with pytest.raises(ConnectionEnded, match="closed"):
            client.call(daemon.Hello())
        with pytest.raises(ConnectionEnded, match="closed"):
            next(client.events())

    def test_closing_wakes_who_waits(self, client: AnyClient) -> None:
        client.call(daemon.Hello())
        ends: list[str] = []

        def wait() -> None:
            try:
                next(client.events())
            except ConnectionEnded as error:
                ends.append(str(error))

        waiting = threading.Thread(target=wait)
        waiting.start()
        until(lambda: state(os.getpid(), waiting.native_id) == "S", "the thread waits")
        client.close()
        waiting.join(30)
        assert ends == ["this client was closed"]
