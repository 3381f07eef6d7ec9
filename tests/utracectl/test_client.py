from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.live.machine import state, until
from tests.utracectl.conformance import Confined, Conformance, Dial, Open, Reconnecting
from tests.utracectl.fake_worker import FakeWorker
from tests.utracectl.server import HELLO, Answer, Server, event, response
from utracectl.client import Client, ConnectionEnded, client_of, connect
from utraced.api import thread
from utraced.api.daemon import Hello
from utraced.api.events import Lost, Resumed
from utraced.api.memory import Read
from utraced.api.trace import Start
from utraced.errors import Gone, InvalidRequest, PermissionDenied, TimedOut, UtracedError
from utraced.model import Hex

Serve = Callable[[Answer], Server]


@pytest.fixture(params=[False, True], ids=["MessagePack", "JSON"])
def client(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Client]:
    """Connect to the server of ``serve``, in either encoding."""
    monkeypatch.setenv("UTRACED_SOCKET", str(tmp_path / "socket"))
    return lambda: connect(json=request.param)


class TestBlocking(Conformance):
    @pytest.fixture(params=[False, True], ids=["MessagePack", "JSON"])
    def opened(self, request: pytest.FixtureRequest) -> Open:
        return lambda link: client_of(link, json=request.param)


class TestBlockingReconnecting(Reconnecting, Confined):
    @pytest.fixture
    def dial(self) -> Dial:
        return connect


def test_a_call_is_typed(serve: Serve, client: Callable[[], Client]) -> None:
    server = serve(lambda request: [response(request, HELLO)])
    with client() as connected:
        welcome = connected.call(Hello(client="test"))
    assert (welcome.tracer_pid, welcome.limits.max_fds) == (1, 16)
    assert server.requests == [{"jsonrpc": "2.0", "id": 1, "method": "daemon.hello", "params": {"client": "test"}}]


def test_errors_are_raised_as_in_the_daemon(serve: Serve, client: Callable[[], Client]) -> None:
    def refuse(request: dict[str, Any]) -> list[Any]:
        data = {"kind": "permission_denied", "reason": "yama", "hint": "ask", "tracer": {"pid": 5}}
        return [{"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32001, "message": "no", "data": data}}]

    serve(refuse)
    with client() as connected, pytest.raises(PermissionDenied) as caught:
        connected.call(Start(pid=5))
    assert (caught.value.reason, caught.value.hint, caught.value.data["tracer"]) == ("yama", "ask", {"pid": 5})


def test_a_result_of_another_making_is_an_error(serve: Serve, client: Callable[[], Client]) -> None:
    serve(lambda request: [response(request, {"server": 1})])
    with client() as connected, pytest.raises(InvalidRequest, match="does not fit"):
        connected.call(Hello())


def test_call_raw(serve: Serve, client: Callable[[], Client]) -> None:
    server = serve(lambda request: [response(request, {"new": [1, None]})])
    with client() as connected:
        assert connected.call_raw("later.method", {"a": "b"}) == {"new": [1, None]}
    assert (server.requests[0]["method"], server.requests[0]["params"]) == ("later.method", {"a": "b"})


def test_events_before_between_and_in_batches(serve: Serve, client: Callable[[], Client]) -> None:
    def answer(request: dict[str, Any]) -> list[Any]:
        return [
            event(kind="lost", seq=1, count=5),
            [
                event(kind="resumed", seq=2, pid=7, tid=7),
                event(kind="later", seq=3),
                event(kind="lost", seq=4, count=6),
            ],
            {"jsonrpc": "2.0", "method": "other", "params": {}},
            response(request, HELLO),
            event(kind="lost", seq=5, count=7),
        ]

    serve(answer)
    with client() as connected:
        assert connected.poll(0) == []
        connected.call(Hello())
        found = connected.poll()
        while len(found) < 4:
            found += connected.poll()
    assert found == [Lost(seq=1, count=5), Resumed(seq=2, pid=7, tid=7), Lost(seq=4, count=6), Lost(seq=5, count=7)]


def test_raw_events_are_as_they_came(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UTRACED_SOCKET", str(tmp_path / "socket"))
    params = b'{"kind":"later","x":[1, 2]}'
    packet = b'[{"jsonrpc":"2.0","method":"event","params":' + params + b"}]"
    serve(lambda request: [packet, response(request, HELLO)])
    with connect(json=True) as connected:
        connected.call(Hello())
        raw = connected.raw_events(0)
    assert [bytes(one) for one in raw] == [params]


def test_events_goes_on_until_the_end(serve: Serve, client: Callable[[], Client]) -> None:
    answers = iter([[event(kind="lost", count=1), event(kind="lost", count=2)], None])

    def answer(request: dict[str, Any]) -> list[Any] | None:
        packets = next(answers)
        return packets if packets is None else [*packets, response(request, HELLO)]

    serve(answer)
    with client() as connected:
        connected.call(Hello())
        stream = connected.events()
        assert [next(stream), next(stream)] == [Lost(count=1), Lost(count=2)]
        with pytest.raises(ConnectionEnded):
            connected.call(Hello())


def test_a_hung_up_connection_raises_what_was_said_last(serve: Serve, client: Callable[[], Client]) -> None:
    goodbye = {"jsonrpc": "2.0", "id": None, "error": {"code": -32005, "message": "bye", "data": {"kind": "gone"}}}
    serve(lambda request: [goodbye])
    with client() as connected, pytest.raises(Gone, match="bye"):
        connected.call(Hello())


@pytest.mark.parametrize("packet", [b"\xff\xfe", b"[", b"{}", b"[[]]", b'{"method": 5}', b"\x81\xa1a\x01", b'"event"'])
def test_nonsense_from_the_server_is_passed_over(packet: bytes, serve: Serve, client: Callable[[], Client]) -> None:
    serve(lambda request: [packet, response(request, HELLO)])
    with client() as connected:
        assert connected.call(Hello()).server == "utraced"


def test_descriptors_both_ways() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    read, write = os.pipe()
    with theirs, Client(ours, json=True) as connected:
        answer = response({"id": 1}, {"size": 4})
        socket.send_fds(theirs, [msgspec.json.encode(answer)], [read, write])
        result, descriptors = connected.call_with_descriptors(Read(pid=1, address=Hex(16), size=4, fd=0), [write])
        request, fds, _, _ = socket.recv_fds(theirs, 9999, 16)
        assert result.size == 4
        got = descriptors.take(1)
        os.write(got, b"through")
        assert os.read(read, 99) == b"through"
        assert msgspec.json.decode(request)["params"] == {"pid": 1, "address": "0x10", "size": 4, "fd": 0}
        assert len(fds) == 1
        for fd in (*fds, got, *descriptors.unclaimed()):
            os.close(fd)
    os.close(read)
    os.close(write)


def test_descriptors_nobody_asked_for_are_closed() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    read, write = os.pipe()
    with theirs, Client(ours, json=True) as connected:
        # Also with events, and with an error: the pipe has an end only when every copy is closed.
        socket.send_fds(theirs, [msgspec.json.encode([event(kind="lost", count=1)])], [write])
        socket.send_fds(theirs, [msgspec.json.encode(response({"id": 1}, HELLO))], [write])
        error = {"jsonrpc": "2.0", "id": 2, "error": {"code": -32005, "message": "gone"}}
        socket.send_fds(theirs, [msgspec.json.encode(error)], [write])
        connected.call(Hello())
        with pytest.raises(Gone):
            connected.call(Hello())
        assert connected.poll(0) == [Lost(count=1)]
        os.close(write)
        assert os.read(read, 1) == b""
    os.close(read)


def test_a_full_socket_does_not_lock_both_ends() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs, Client(ours, json=True) as connected:
        theirs.settimeout(0)
        sent = 0
        try:
            while True:
                theirs.send(msgspec.json.encode([event(kind="lost", count=sent + 1)] * 100))
                sent += 1
        except BlockingIOError:
            pass
        theirs.settimeout(None)
        got = 0
        while got < sent * 100:
            got += len(connected.poll())
        assert got == sent * 100


PACKETS = st.one_of(
    st.binary(min_size=1, max_size=60),
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-5, 5)
        | st.text(max_size=5)
        | st.sampled_from(["2.0", "event", "lost"]),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(["jsonrpc", "id", "method", "params", "result", "error", "code", "message", "kind"]),
                inner,
            )
        ),
        max_leaves=15,
    ).map(msgspec.json.encode),
)


@given(st.lists(PACKETS, max_size=5))
def test_any_packets_give_events_or_one_of_our_errors(packets: list[bytes]) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs, Client(ours, json=True) as connected:
        for packet in packets:
            theirs.send(packet)
        theirs.shutdown(socket.SHUT_WR)
        # Each packet is met once at the most, and then the end.
        for _ in range(len(packets) + 1):
            try:
                connected.poll(0)
            except (UtracedError, ConnectionEnded):
                continue


STOP = thread.Stop(engine=1)
"""What a fake worker never answers."""


def test_a_call_that_takes_too_long_is_cancelled() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    worker = FakeWorker(theirs, pid=7)
    with Client(ours) as connected:
        with pytest.raises(TimedOut, match="in time"):
            connected.call(STOP, timeout=0.01)
        with pytest.raises(TimedOut):
            connected.call_raw("thread.stop", {"engine": 1}, timeout=0)
        # The answers that came after all are passed over.
        assert connected.call(Hello(), timeout=30).server == "utraced"
    worker.join()
    assert worker.cancelled == ["thread.stop", "thread.stop"]


def test_a_call_that_is_interrupted_is_cancelled() -> None:
    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    worker = FakeWorker(theirs, pid=7)
    main = threading.get_ident()

    def when_it_waits() -> None:
        until(lambda: worker.asked and state(os.getpid(), os.getpid()) == "S", "the call waits")
        signal.pthread_kill(main, signal.SIGUSR1)

    former = signal.signal(signal.SIGUSR1, interrupt)
    with Client(ours) as connected:
        interrupting = threading.Thread(target=when_it_waits)
        interrupting.start()
        with pytest.raises(KeyboardInterrupt):
            connected.call(STOP)
        interrupting.join()
        signal.signal(signal.SIGUSR1, former)
        assert connected.call(Hello()).server == "utraced"
    worker.join()
    assert worker.cancelled == ["thread.stop"]


def test_a_second_thread_is_told_so() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    worker = FakeWorker(theirs, pid=7)
    ends: list[str] = []

    def wait() -> None:
        try:
            connected.call(STOP)
        except ConnectionEnded as error:
            ends.append(str(error))

    with Client(ours) as connected:
        waiting = threading.Thread(target=wait)
        waiting.start()
        until(lambda: worker.asked, "the request")
        with pytest.raises(RuntimeError, match="another thread"):
            connected.call(Hello())
        with pytest.raises(RuntimeError, match="another thread"):
            connected.poll(0)
        connected.close()
        waiting.join()
    worker.join()
    assert ends == ["this client was closed"]


def test_a_request_that_could_not_be_sent_in_time_never_is() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs, Client(ours, json=True) as connected:
        filled = 0
        while _sent(ours, b"{}"):
            filled += 1
        with pytest.raises(TimedOut):
            connected.call(Hello(), timeout=0.01)
        assert [theirs.recv(300_000) for _ in range(filled)] == [b"{}"] * filled
        theirs.send(msgspec.json.encode(response({"id": 2}, HELLO)))
        assert connected.call(Hello(), timeout=30).server == "utraced"
        assert msgspec.json.decode(theirs.recv(300_000))["id"] == 2


def _sent(sock: socket.socket, packet: bytes) -> bool:
    try:
        sock.send(packet)
    except BlockingIOError:
        return False
    return True
