import os
import resource
import socket
from functools import partial

import anyio
import msgspec
import pytest

from tests.children import become, child, isolated, needs_root
from tests.kernel.targets import make_calls, spin, target
from tests.live.machine import free, until
from tests.worker.embedded import embedded, notification, request
from tests.worker.test_answering import hello, stall
from utraced.handlers import attaching
from utraced.handlers.context import HANDLERS
from utraced.linux import sockets
from utraced.linux.capabilities import drop_bounding, set_capabilities
from utraced.worker.transport import Transport


def kinds(wire):
    return [event["kind"] for what, event in wire.order() if what == "event"]


def position(wire, wanted):
    return next(index for index, message in enumerate(wire.order()) if wanted(*message))


def test_any_bytes_are_answered_and_the_connection_lives_on():
    with embedded() as wire:
        for number, (packet, code) in enumerate(
            [
                (b"\0", -32700),
                (b"{", -32700),
                (b"[]", -32600),
                (b'"x"', -32600),
                (b"\xff" * 100, -32700),
                (b"[" * 5000, -32700),
                (msgspec.json.encode({"id": 1}), -32600),
                (msgspec.json.encode(request(1, "no.such")), -32601),
                (msgspec.json.encode(request(1, "daemon.hello", extra=1)), -32602),
                (b" " * 204_801, -32009),
                (b"[" * 100_000, -32009),
            ]
        ):
            wire.send(packet)
            assert wire.receive()["error"]["code"] == code
            hello(wire, f"after {number}")


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def test_descriptors_that_nobody_takes_are_closed():
    with embedded() as wire:
        hello(wire, 1)
        wire.send(request(2, "daemon.hello"), fds=(0,))
        wire.answer(2)
        before = descriptors(wire.worker)
        for number in range(3, 40):
            wire.send(request(number, "daemon.hello"), fds=(0,) * 16)
            wire.answer(number)
            wire.send(b"garbage", fds=(0,) * 16)
            wire.receive()
        until(lambda: descriptors(wire.worker) <= before, "closed")


def test_more_descriptors_than_a_packet_may_hold_are_refused():
    with embedded() as wire:
        hello(wire, 1)
        wire.socket.sendmsg(
            [msgspec.json.encode(request(2, "daemon.hello"))],
            [(socket.SOL_SOCKET, socket.SCM_RIGHTS, (0).to_bytes(4, "little") * 20)],
        )
        assert wire.answer(2)["error"]["data"]["kind"] == "limit_exceeded"
        hello(wire, 3)


def test_a_descriptor_is_used_once():
    with child() as pid, embedded() as wire:
        pidfd = os.pidfd_open(pid)
        wire.send(*(request(number, "process.info", pidfd=0) for number in (1, 2)), fds=(pidfd,))
        first, second = wire.receive()
        assert first["result"]
        assert "used" in second["error"]["message"]
        wire.send(request(3, "process.info", pidfd=1), fds=(pidfd,))
        assert wire.answer(3)["error"]["code"] == -32602
        os.close(pidfd)


def test_a_reply_above_a_packet_names_the_way_out():
    from utraced.api.memory import Contents

    def prepare():
        HANDLERS["memory.read"] = lambda _params, _context: Contents(data=bytes(300_000))

    with embedded(prepare) as wire:
        error = wire.ask(1, "memory.read", pid=1, address=0, size=1)["error"]
        assert error["data"]["kind"] == "limit_exceeded"
        assert error["data"]["hint"]
        hello(wire, 2)


def test_a_batch_is_answered_when_all_are_done_in_their_order():
    with embedded() as wire:
        pid = os.getpid()
        wire.send(
            request(1, "daemon.hello"),
            request(2, "memory.read", pid=pid, address=id(wire), size=8),
            notification("engine.list"),
            request(3, "engine.list"),
        )
        assert [answer["id"] for answer in wire.receive()] == [1, 2, 3]


@pytest.mark.parametrize("hold", [False, True])
def test_the_reply_that_creates_precedes_every_event_that_names_it(hold):
    with target(spin) as found, embedded() as wire:
        found.go()
        found.hear(b"spinning")
        mask = ["syscall_entry", "syscall_exit"]
        for number in range(10):
            wire.send(request(2 * number, "trace.start", pid=found.pid, entries=True, backend="ptrace"))
            wire.send(request(2 * number + 1, "engine.attach", pid=found.pid, events=mask, hold=hold))
            trace = wire.answer(2 * number)["result"]["trace"]
            engine = wire.answer(2 * number + 1)["result"]["engine"]
            wire.ask("stop", "trace.stop", trace=trace)
            wire.ask("detach", "engine.detach", engine=engine)
            for kind, name, created in (("trace", trace, 2 * number), ("engine", engine, 2 * number + 1)):
                reply = position(wire, lambda what, value, created=created: (what, value) == ("reply", created))
                named = [
                    index
                    for index, (what, value) in enumerate(wire.order())
                    if what == "event" and value.get(kind) == name
                ]
                assert named
                assert reply < min(named)
        numbers = [value["seq"] for what, value in wire.order() if what == "event"]
        assert numbers == list(range(1, len(numbers) + 1))


def test_a_batch_that_creates_is_sent_before_the_events_of_what_it_has_created():
    with target(spin) as found, embedded(stall) as wire:
        found.go()
        found.hear(b"spinning")
        wire.send(
            request(1, "trace.start", pid=found.pid, backend="ptrace"),
            request(2, "memory.read", pid=found.pid, address=0, size=1),
        )
        until(lambda: not free(found.pid), "traced")
        for number in range(10, 40):
            hello(wire, number)
        wire.send(notification("$/cancelRequest", id=2))
        started = wire.answer(1)["result"]["trace"]
        wire.until(lambda message: message.get("params", {}).get("trace") == started)
        reply = position(wire, lambda what, value: (what, value) == ("reply", 1))
        assert reply < position(wire, lambda what, _: what == "event")


def test_the_reply_that_ends_one_follows_its_last_event_while_another_is_awaited():
    def prepare():
        attach = HANDLERS["engine.attach"]

        async def slowly(attached):
            await anyio.sleep_forever()
            return await attached

        HANDLERS["engine.attach"] = lambda params, context: (
            slowly(attach(params, context)) if params.hold_on_exec else attach(params, context)
        )

    with child() as pid, embedded(prepare) as wire:
        engine = wire.ask(1, "engine.attach", pid=pid)["result"]["engine"]
        wire.send(request(2, "engine.attach", pid=pid, hold_on_exec=True))
        wire.send(request(3, "engine.detach", engine=engine))
        wire.send(notification("$/cancelRequest", id=2))
        wire.answer(2)
        hello(wire, 4)
        wire.send(request(5, "engine.detach", engine=engine))
        wire.answer(5)
        last = position(wire, lambda what, value: what == "event" and value["engine"] == engine)
        assert last < position(wire, lambda what, value: (what, value) == ("reply", 3))


def test_an_attachment_that_is_cancelled_is_undone():
    def prepare():
        async def never(*_):
            await anyio.sleep_forever()

        attaching.stopped = never

    with child() as pid, embedded(prepare) as wire:
        wire.send(request(1, "engine.attach", pid=pid, hold=True), notification("$/cancelRequest", id=1))
        assert wire.receive()[0]["error"]["data"]["kind"] == "cancelled"
        wire.send(request(2, "trace.start", pid=pid, backend="ptrace"), notification("$/cancelRequest", id=2))
        wire.until(lambda message: message.get("error", {}).get("data", {}).get("kind") == "cancelled")
        assert wire.ask(3, "engine.list")["result"]["engines"] == []
        until(lambda: free(pid), "let go")


@needs_root  # whom the kernel lets send as many as he likes
def test_descriptors_wait_while_too_many_of_their_user_are_on_their_way():
    uid, most = 54_321, 512  # more than this process has open, which the worker inherits
    waits, say = os.pipe()

    def prepare():
        block = Transport._block

        def told(self):
            os.write(say, b"!")
            block(self)

        Transport._block = told
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        os.setresuid(uid, -1, -1)
        be_poor()

    def be_poor():
        # Of effective uid 0 still: the interpreter's files may be readable to it alone.
        drop_bounding(0)
        set_capabilities(0)

    def send_descriptors(sock):
        become(uid)
        for _ in range(most // sockets.MAX_FDS + 1):
            sockets.send(sock, b"x", [0] * sockets.MAX_FDS)

    try:
        with child(be_poor) as pid, embedded(prepare) as wire:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with ours, theirs:
                isolated(partial(send_descriptors, ours))
                wire.send(request(1, "process.maps", pid=pid, **{"as": "fd"}))
                assert os.read(waits, 1) == b"!"
            assert wire.answer(1)["result"]["fd"] == 0
            hello(wire, 2)
    finally:
        for end in (waits, say):
            os.close(end)


def test_a_full_socket_delays_what_is_sent_and_loses_nothing():
    count = 3000
    with target(make_calls(count)) as found, embedded() as wire:
        trace = wire.ask(1, "trace.start", pid=found.pid, syscalls=["getppid"], overflow="block", backend="ptrace")[
            "result"
        ]["trace"]
        found.go()
        received = 0
        while received < count:
            packet = wire.receive()
            received += len(packet) if isinstance(packet, list) else 1
        assert wire.ask(2, "trace.stop", trace=trace)["result"] == {"delivered": count, "lost": 0}
        assert kinds(wire).count("syscall") == count


def test_what_is_lost_is_counted_exactly():
    count = 30_000
    with target(make_calls(count)) as found, embedded() as wire:
        trace = wire.ask(1, "trace.start", pid=found.pid, syscalls=["getppid"], backend="ptrace")["result"]["trace"]
        found.go()
        found.hear(b"done")  # nothing has been read meanwhile
        totals = wire.ask(2, "trace.stop", trace=trace)["result"]
        assert totals["lost"] > 0
        assert totals["delivered"] + totals["lost"] == count
        told = [event for what, event in wire.order() if what == "event"]
        assert kinds(wire).count("syscall") == totals["delivered"]
        assert sum(event["count"] for event in told if event["kind"] == "lost") == totals["lost"]
        assert told[-1]["kind"] == "detached"
        assert (told[-1]["delivered"], told[-1]["lost"]) == (totals["delivered"], totals["lost"])
        assert [event["seq"] for event in told] == list(range(1, len(told) + 1))


def test_a_client_that_hangs_up_before_its_reply_is_forgotten():
    with child() as pid, embedded(stall) as wire:
        wire.send(request(1, "engine.attach", pid=pid, hold=True))
        wire.send(request(2, "memory.read", pid=pid, address=0, size=1))
        for number in range(3, 60):
            wire.send(request(number, "process.maps", pid=pid))
        wire.socket.close()
        until(lambda: free(pid), "let go")


def test_an_empty_packet_is_the_end():
    with embedded() as wire:
        hello(wire, 1)
        wire.socket.send(b"")
        assert wire.receive() is None


def test_a_client_that_only_sends_cannot_stop_the_pump():
    with target(make_calls(50)) as found, embedded() as wire:
        wire.ask(1, "trace.start", pid=found.pid, syscalls=["getppid"], backend="ptrace")
        found.go()
        sent = 0
        while not found.said(b"done"):
            try:
                sockets.send(wire.socket, msgspec.json.encode(notification("engine.list")))
            except BlockingIOError:
                os.sched_yield()
            sent += 1
            assert sent < 5_000_000
