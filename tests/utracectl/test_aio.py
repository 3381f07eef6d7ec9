from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import anyio
import msgspec
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from tests.utracectl.conformance import AnyClient, Confined, Conformance, Daemon, Dial, Open, Reconnecting
from tests.utracectl.fake_worker import FakeWorker
from tests.utracectl.server import HELLO, event, response
from utracectl import aio
from utracectl.aio import Client, ConnectionEnded
from utracectl.connect import Link
from utraced.api import thread
from utraced.api.daemon import Hello
from utraced.api.engine import Attach
from utraced.api.events import AnyEvent, Lost
from utraced.errors import Cancelled, Gone
from utraced.rpc.method import Method
from utraced.rpc.packet import Descriptors

Result = TypeVar("Result")
STOP = thread.Stop(engine=1)
"""What a fake worker never answers."""


class Blocking:
    """An async client on an event loop in another thread."""

    def __init__(self, portal: BlockingPortal, client: Client) -> None:
        self._portal = portal
        self._client = client

    @property
    def worker(self) -> int | None:
        return self._client.worker

    def call(self, method: Method[Result], fds: Sequence[int] = ()) -> Result:
        return self._portal.call(partial(self._client.call, method, fds))

    def call_with_descriptors(self, method: Method[Result], fds: Sequence[int] = ()) -> tuple[Result, Descriptors]:
        return self._portal.call(partial(self._client.call_with_descriptors, method, fds))

    def call_raw(self, method: str, params: Mapping[str, Any] | None = None, fds: Sequence[int] = ()) -> Any:
        return self._portal.call(partial(self._client.call_raw, method, params, fds))

    def events(self) -> Iterator[AnyEvent]:
        events = self._client.events()
        while True:
            yield self._portal.call(events.__anext__)

    def close(self) -> None:
        self._portal.call(self._client.close)


class TestAsync(Conformance):
    @pytest.fixture(params=["asyncio", "trio"])
    def opened(self, request: pytest.FixtureRequest) -> Iterator[Open]:
        with start_blocking_portal(request.param) as portal:
            yield lambda link: Blocking(portal, portal.call(partial(Client, link.socket, worker=link.worker)))


class TestAsyncReconnecting(Reconnecting, Confined):
    @pytest.fixture(params=["asyncio", "trio"])
    def dial(self, request: pytest.FixtureRequest) -> Iterator[Dial]:
        with start_blocking_portal(request.param) as portal, ExitStack() as opened:

            def connected() -> AnyClient:
                return Blocking(portal, opened.enter_context(portal.wrap_async_context_manager(aio.connect())))

            yield connected


Run = Callable[[Callable[[], Awaitable[None]]], None]


@pytest.fixture(params=["asyncio", "trio"])
def run(request: pytest.FixtureRequest) -> Run:
    def run(main: Callable[[], Awaitable[None]]) -> None:
        async def in_time() -> None:
            with anyio.fail_after(30):
                await main()

        anyio.run(in_time, backend=request.param)

    return run


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
def worker(pair: tuple[socket.socket, socket.socket]) -> Iterator[FakeWorker]:
    worker = FakeWorker(pair[1], pid=7)
    yield worker
    pair[0].close()
    worker.join()


async def requests(sock: socket.socket, count: int) -> list[dict[str, Any]]:
    """Take requests of JSON off the other end."""
    sock.setblocking(False)
    found: list[dict[str, Any]] = []
    while len(found) < count:
        await anyio.wait_readable(sock)
        found.append(msgspec.json.decode(sock.recv(300_000)))
    return found


def test_every_task_gets_its_own_answer(run: Run, pair: tuple[socket.socket, socket.socket]) -> None:
    answers: dict[int, Any] = {}

    async def ask(client: Client, number: int) -> None:
        answers[number] = await client.call_raw("later", {"number": number})

    async def main() -> None:
        async with Client(pair[0], json=True) as client, anyio.create_task_group() as tasks:
            for number in range(5):
                tasks.start_soon(ask, client, number)
            for request in reversed(await requests(pair[1], 5)):
                pair[1].send(msgspec.json.encode(response(request, request["params"])))

    run(main)
    assert answers == {number: {"number": number} for number in range(5)}


def test_many_more_calls_than_the_socket_takes(run: Run, pair: tuple[socket.socket, socket.socket]) -> None:
    worker = FakeWorker(pair[1], pid=7)
    versions: list[str] = []

    async def ask(client: Client) -> None:
        versions.append((await client.call(Hello(client="x" * 200))).version)

    async def main() -> None:
        async with Client(pair[0]) as client, anyio.create_task_group() as tasks:
            for _ in range(500):
                tasks.start_soon(ask, client)

    run(main)
    worker.join()
    assert len(versions) == 500


def test_a_call_from_within_the_loop_over_events(run: Run, pair: tuple[socket.socket, socket.socket]) -> None:
    """The answer stands behind more events than are read at once."""
    ours, theirs = pair

    async def serve() -> None:
        seq = 0
        for _ in range(3):
            (request,) = await requests(theirs, 1)
            for _ in range(300):
                seq += 1
                await anyio.wait_writable(theirs)
                theirs.send(msgspec.json.encode(event(kind="lost", seq=seq, count=1)))
            await anyio.wait_writable(theirs)
            theirs.send(msgspec.json.encode(response(request, HELLO)))

    async def main() -> None:
        async with Client(ours, json=True) as client, anyio.create_task_group() as tasks:
            tasks.start_soon(serve)
            await client.call(Hello())
            heard = 0
            async for told in client.events():
                heard += 1
                assert told == Lost(seq=heard, count=1)
                if heard in {100, 200}:
                    await client.call(Hello())
                if heard == 900:
                    break

    run(main)


def test_who_takes_no_events_leaves_them_to_the_daemon(run: Run, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.setblocking(False)

    async def main() -> None:
        async with Client(ours, json=True) as client:
            sent = 0
            packet = msgspec.json.encode([event(kind="lost", count=1)] * 10)
            taken = 0
            # As much as the socket holds, and not more, is sent while nobody takes events.
            for rounds in range(3):
                try:
                    while True:
                        theirs.send(packet)
                        sent += 10
                except BlockingIOError:
                    pass
                assert sent <= taken + 10_000
                for _ in range(50 * (rounds + 1)):
                    await client.next_event()
                    taken += 1
            assert taken == 300

    run(main)


@pytest.mark.parametrize("waiting", [1, 3])
def test_a_cancelled_call_is_cancelled_at_the_daemon(run: Run, worker: FakeWorker, pair: Any, waiting: int) -> None:
    async def main() -> None:
        async with Client(pair[0]) as client:
            async with anyio.create_task_group() as tasks:
                for _ in range(waiting):
                    tasks.start_soon(client.call, STOP)
                while worker.asked.count("thread.stop") < waiting:
                    await client.call(Hello())
                tasks.cancel_scope.cancel()
            # What they would have been told is passed over.
            assert (await client.call(Hello())).server == "utraced"
            with anyio.move_on_after(0):
                await client.call(STOP)
            assert (await client.call(Hello())).server == "utraced"

    run(main)
    assert worker.cancelled == ["thread.stop"] * (worker.asked.count("thread.stop"))


def test_who_reads_for_all_may_be_cancelled(run: Run, worker: FakeWorker, pair: Any) -> None:
    heard: list[AnyEvent] = []

    async def listen(client: Client) -> None:
        heard.append(await client.next_event())

    async def main() -> None:
        async with Client(pair[0]) as client, anyio.create_task_group() as tasks:
            await client.call(Attach(pid=7))
            async with anyio.create_task_group() as first:
                first.start_soon(client.call, STOP)
                await anyio.lowlevel.checkpoint()
                tasks.start_soon(listen, client)
                tasks.start_soon(listen, client)
                await anyio.lowlevel.checkpoint()
                first.cancel_scope.cancel()
            await client.call(thread.Signal(pid=7, tid=7, signal="SIGWINCH"))
            await client.call(thread.Signal(pid=7, tid=7, signal="SIGURG"))

    run(main)
    assert [getattr(one, "signal", None) for one in heard] == ["SIGWINCH", "SIGURG"]


def test_the_end_is_the_same_for_all_who_wait(run: Run, worker: FakeWorker, pair: Any) -> None:
    ends: list[str] = []

    async def wait(what: Callable[[], Awaitable[object]]) -> None:
        with pytest.raises(ConnectionEnded) as caught:
            await what()
        ends.append(str(caught.value))

    async def main() -> None:
        async with Client(pair[0]) as client:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(wait, client.next_event)
                tasks.start_soon(wait, partial(client.call, STOP))
                tasks.start_soon(wait, partial(client.call, STOP))
                await client.call(Hello())
                worker.end()
            await wait(partial(client.call, Hello()))

    run(main)
    assert ends == ["the worker hung up"] * 4


def test_closing_ends_the_calls_that_wait(run: Run, worker: FakeWorker, pair: Any) -> None:
    async def wait(client: Client) -> None:
        with pytest.raises(ConnectionEnded, match="this client was closed"):
            await client.call(STOP)

    async def main() -> None:
        async with Client(pair[0]) as client, anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(wait, client)
            await client.call(Hello())
            client.close()

    run(main)


def test_what_was_said_of_no_request_is_told_to_all(run: Run, pair: tuple[socket.socket, socket.socket]) -> None:
    goodbye = {"jsonrpc": "2.0", "id": None, "error": {"code": -32005, "message": "bye", "data": {"kind": "gone"}}}

    async def wait(client: Client) -> None:
        with pytest.raises(Gone, match="bye"):
            await client.call(Hello())

    async def main() -> None:
        async with Client(pair[0], json=True) as client, anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(wait, client)
            await requests(pair[1], 3)
            pair[1].send(msgspec.json.encode(goodbye))

    run(main)


def test_an_answer_that_says_cancelled_is_an_error_of_ours(run: Run, worker: FakeWorker, pair: Any) -> None:
    """It is no cancellation of the task."""

    async def main() -> None:
        async with Client(pair[0]) as client, anyio.create_task_group() as tasks:

            async def cancel() -> None:
                await client.call_raw("$/cancelRequest", {"id": 1})

            tasks.start_soon(cancel)
            with pytest.raises(Cancelled):
                await client.call(STOP)

    run(main)


@pytest.mark.parametrize("waiting", [1, 3])
def test_all_who_wait_ask_again(run: Run, waiting: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UTRACED_SOCKET", str(tmp_path / "socket"))
    listening = Daemon(tmp_path / "socket", "read")
    heard: list[AnyEvent] = []

    async def listen(client: Client) -> None:
        heard.append(await client.next_event())

    async def main() -> None:
        async with aio.connect() as client, anyio.create_task_group() as tasks:
            tasks.start_soon(listen, client)
            async with anyio.create_task_group() as calls:
                for _ in range(waiting):
                    calls.start_soon(client.call, Hello())
            await client.call(Attach(pid=77))
            await client.call(thread.Signal(pid=77, tid=77, signal="SIGWINCH"))

    run(main)
    listening.close()
    assert listening.connections == 2
    assert len(heard) == 1


def test_of_several_that_may_have_been_read_only_those_that_look_are_asked_again(
    run: Run, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    worker = FakeWorker(theirs, pid=77)

    async def attach(client: Client) -> None:
        with pytest.raises(ConnectionEnded):
            await client.call(Attach(pid=77))

    async def main() -> None:
        client = Client(pair[0], json=True, again=lambda: Link(ours))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.call, Hello())
            tasks.start_soon(attach, client)
            await requests(pair[1], 1)
            pair[1].close()
        client.close()

    run(main)
    worker.join()
    assert worker.asked == ["daemon.hello"]


def test_closing_while_connecting_again(run: Run, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    called, closed = threading.Event(), threading.Event()

    def again() -> Link:
        called.set()
        closed.wait(30)
        return Link(ours)

    async def wait(client: Client) -> None:
        with pytest.raises(ConnectionEnded, match="closed"):
            await client.call(Hello())

    async def main() -> None:
        async with Client(pair[0], json=True, again=again) as client, anyio.create_task_group() as tasks:
            tasks.start_soon(wait, client)
            await requests(pair[1], 1)
            pair[1].close()
            await anyio.to_thread.run_sync(called.wait)
            client.close()
            closed.set()

    run(main)
    assert theirs.recv(9) == b""
    theirs.close()


def test_connecting_finds_a_worker(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UTRACED_SOCKET", raising=False)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr("utracectl.connect.SYSTEM_SOCKET", str(tmp_path / "none"))
    workers: list[int] = []

    async def main() -> None:
        async with aio.connect() as client:
            assert client.worker is not None
            workers.append(client.worker)
            assert (await client.call(Hello())).tracer_pid == client.worker

    run(main)
    os.waitpid(workers[0], 0)


def test_the_command_does_without() -> None:
    code = (
        "import sys, utracectl.client, utracectl.main; print({'anyio', 'asyncio', 'utracectl.aio'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "set()\n"
