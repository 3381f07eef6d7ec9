import logging
import os

import anyio

from tests.worker.embedded import embedded, notification, request
from utraced.handlers.context import HANDLERS
from utraced.worker import answering


def hello(wire, number):
    assert wire.ask(number, "daemon.hello")["result"]["server"] == "utraced"


def stall():
    """In the worker: make requests to read memory wait until the test is over."""

    async def never():
        await anyio.sleep_forever()

    HANDLERS["memory.read"] = lambda _params, _context: never()


def test_a_bug_of_ours_is_told_with_a_reference_and_the_connection_lives_on(tmp_path):
    log = tmp_path / "log"

    def prepare():
        logging.basicConfig(filename=log, force=True)

        async def later():
            raise RuntimeError("deep inside")

        def at_once(_params, _context):
            raise RuntimeError("at the surface")

        HANDLERS["engine.list"] = at_once
        HANDLERS["memory.read"] = lambda _params, _context: later()
        HANDLERS["engine.info"] = lambda _params, _context: object()

    with embedded(prepare) as wire:
        for number, (method, params) in enumerate(
            [("engine.list", {}), ("memory.read", {"pid": 1, "address": 0, "size": 1}), ("engine.info", {"engine": 1})]
        ):
            error = wire.ask(number, method, **params)["error"]
            assert (error["code"], error["data"]["kind"]) == (-32603, "internal_error")
            assert error["data"]["reference"] in log.read_text()
        hello(wire, 9)
    assert "deep inside" in log.read_text()


def test_a_method_without_a_handler_is_not_found():
    with embedded(lambda: HANDLERS.pop("engine.list")) as wire:
        assert wire.ask(1, "engine.list")["error"]["code"] == -32601


def test_a_waiting_request_is_cancelled_and_its_id_is_free_again():
    with embedded(stall) as wire:
        params = {"pid": os.getpid(), "address": 0, "size": 1}
        wire.send(request("one", "memory.read", **params))
        assert wire.ask("one", "daemon.hello")["error"]["code"] == -32600
        wire.send(request("two", "memory.read", **params))
        wire.send(notification("$/cancelRequest", id="nobody's"))
        wire.send(notification("$/cancelRequest", id="one"))
        assert wire.answer("one")["error"]["data"]["kind"] == "cancelled"
        hello(wire, "one")
        # In one packet with what it cancels.
        wire.send(request(3, "memory.read", **params), notification("$/cancelRequest", id=3))
        assert wire.receive()[0]["error"]["data"]["kind"] == "cancelled"


def test_requests_are_not_held_up_by_one_that_waits():
    with embedded(stall) as wire:
        wire.send(request(1, "memory.read", pid=os.getpid(), address=0, size=1))
        for number in range(2, 30):
            hello(wire, number)


def test_only_so_many_requests_wait():
    def prepare() -> None:
        answering.MAX_WAITING = 3  # type: ignore[misc]

        async def forever(*_: object) -> None:
            await anyio.sleep_forever()

        HANDLERS["process.list"] = forever

    with embedded(prepare) as wire:
        for number in range(5):
            wire.send(request(number, "process.list"))
        for number in (3, 4):
            assert wire.answer(number)["error"]["data"]["limit"] == "max_waiting"
        wire.send({"jsonrpc": "2.0", "method": "$/cancelRequest", "params": {"id": 1}})
        assert wire.answer(1)["error"]["data"]["kind"] == "cancelled"
        assert wire.ask("now", "daemon.hello")["result"]
