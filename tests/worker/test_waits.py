import anyio

from utraced.tracing.waiting import Waiter
from utraced.worker.waits import EventWaits


def test_what_is_over_is_not_waited_for():
    assert anyio.run(EventWaits().over, Waiter(()), 1e9)


def test_who_waits_is_woken():
    async def main():
        waits, waiter = EventWaits(), Waiter({1})
        told = []

        async def wait():
            told.append(await waits.over(waiter, 1e9))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.lowlevel.checkpoint()
            assert waiter.settle(1)
            waits.completed(waiter)
        return told

    assert anyio.run(main) == [True]


def test_patience_ends_and_may_begin_again():
    async def main():
        waits, waiter = EventWaits(), Waiter({1})
        assert not await waits.over(waiter, 0)
        assert not await waits.over(waiter, 0)
        waits.completed(waiter)  # nobody waits just now
        waiter.settle(1)
        return await waits.over(waiter, 1e9)

    assert anyio.run(main)


def test_a_cancelled_wait_is_forgotten():
    async def main():
        waits, waiter = EventWaits(), Waiter({1})
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(waits.over, waiter, 1e9)
            await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        waits.completed(waiter)
        return vars(waits)

    assert anyio.run(main) == {"_events": {}}
