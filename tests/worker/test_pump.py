import os

import anyio
import anyio.lowlevel

from tests.children import fork, isolated
from utraced.kernel.signalfd import open_sigchld
from utraced.worker import pump as module
from utraced.worker.pump import Pump


class Rounds:
    """A tracer whose rounds find what a test says."""

    def __init__(self, found):
        self._found = iter(found)
        self.count = 0

    def round(self):
        self.count += 1
        return next(self._found, 0)


def awake():
    """Return a signalfd of which a child's end is to be read."""
    fd = open_sigchld()
    pid = fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return fd


def pumped(found, *, ready=lambda: False, turns=50, clock=None):
    """Pump until there is nothing left; return what flush was told, the rounds, and how often others had their turn."""

    def run():
        if clock is not None:
            module.monotonic_ns = clock
        tracer = Rounds(found)
        flushed, others = [], []

        async def main():
            async with anyio.create_task_group() as tasks:

                def flush(*, idle):
                    flushed.append(idle)
                    if idle:
                        tasks.cancel_scope.cancel()

                async def count():
                    while len(others) < turns:
                        others.append(tracer.count)
                        await anyio.lowlevel.checkpoint()

                tasks.start_soon(count)
                await Pump(tracer, awake(), flush, ready).run()

        anyio.run(main)
        return flushed, tracer.count, len(set(others))

    return isolated(run)


def test_it_sleeps_when_no_stop_is_left():
    flushed, rounds, _ = pumped([])
    assert flushed == [True]
    assert rounds >= 1


def test_stops_that_come_fast_are_polled_for():
    flushed, rounds, _ = pumped([1] * 5)
    assert flushed[-1] is True
    assert rounds >= 5 + module.POLLS


def test_a_flood_lets_the_loop_turn():
    flushed, rounds, turns = pumped([1] * 200_000)
    assert rounds >= 200_000
    assert flushed[-1] is True
    assert flushed.count(False) > 5
    assert turns > 5


def test_the_loop_turns_as_soon_as_it_is_asked_for():
    ticks = iter(range(0, 10**12, module.LOOK_NS + 1))
    flushed, _, _ = pumped([1] * 100, ready=lambda: True, clock=lambda: next(ticks))
    # Each look finds the loop ready: one turn for one or two rounds.
    assert flushed.count(False) >= 30


def test_a_request_that_need_not_wait_any_longer_hurries_it():
    def run():
        ticks = iter(range(0, 10**12, module.LOOK_NS + 1))
        module.monotonic_ns = lambda: next(ticks)
        tracer = Rounds([1] * 10)
        flushed = []

        async def main():
            async with anyio.create_task_group() as tasks:

                def flush(*, idle):
                    flushed.append((idle, tracer.count))
                    if idle:
                        tasks.cancel_scope.cancel()

                pump = Pump(tracer, awake(), flush, lambda: False)
                pump.hurry()
                await pump.run()

        anyio.run(main)
        return flushed[0]

    idle, rounds = isolated(run)
    assert not idle
    assert rounds <= 3
