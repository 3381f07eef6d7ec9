"""The loop that the pump can ask whether it has something to do."""

from __future__ import annotations

import socket

import anyio
import anyio.lowlevel

from utraced.worker.loop import Loop


def test_it_is_ready_when_a_descriptor_it_waits_for_is() -> None:
    loop = Loop()
    seen: list[bool] = []
    ours, theirs = socket.socketpair()

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.wait_readable, ours)
            await anyio.lowlevel.checkpoint()
            seen.append(loop.ready())
            theirs.send(b"x")
            seen.append(loop.ready())

    with ours, theirs:
        loop.run(main)
    assert seen == [False, True]


def test_it_runs_to_the_end_of_its_main() -> None:
    ended = []

    async def main() -> None:
        ended.append(True)

    Loop().run(main)
    assert ended == [True]
