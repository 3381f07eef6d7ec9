import threading

import anyio
import anyio.from_thread
import pytest

from utraced.errors import TimedOut
from utraced.handlers import aside as module
from utraced.handlers.aside import aside


def test_the_result_comes_from_another_thread():
    assert anyio.run(aside, threading.get_ident) != threading.get_ident()


def test_what_a_thread_takes_is_told_and_a_session_that_rests_waits():
    told: list[object] = []

    def resting():
        told.append("asked")
        return 1_000

    async def main():
        module.share.set(module.Share(told.append, resting))
        await aside(lambda: sum(range(100_000)))
        with pytest.raises(ZeroDivisionError):
            await aside(lambda: sum(range(100_000)) / 0)

    anyio.run(main)
    assert [told[0], told[2]] == ["asked", "asked"]
    assert told[1] > 0
    assert told[3] > 0


def test_a_session_has_some_threads_at_a_time():
    busy = 0
    most = 0
    lock = threading.Lock()
    full = threading.Event()

    def work():
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
            if busy == module.AT_ONCE:
                full.set()
        assert full.wait(20)
        with lock:
            busy -= 1

    async def main():
        module.share.set(module.Share(lambda _: None, lambda: 0))
        async with anyio.create_task_group() as tasks:
            for _ in range(3 * module.AT_ONCE):
                tasks.start_soon(aside, work)

    anyio.run(main)
    assert most == module.AT_ONCE


def test_what_it_raises_is_raised():
    with pytest.raises(ZeroDivisionError):
        anyio.run(aside, lambda: 1 / 0)


def test_the_deadline_leaves_the_thread_behind(monkeypatch):
    monkeypatch.setattr(module, "DEADLINE", 0.0)
    go = threading.Event()

    async def stuck():
        with pytest.raises(TimedOut):
            await aside(go.wait)
        go.set()

    anyio.run(stuck)


def test_a_thread_that_is_left_behind_keeps_its_place_until_it_is_done():
    """Or a client that hangs up and connects again has ever more of them busy."""
    go, done = threading.Event(), threading.Event()

    async def main():
        mine = module.Share(lambda _: None, lambda: 0)
        module.share.set(mine)
        begun = anyio.Event()

        def stuck():
            anyio.from_thread.run_sync(begun.set)
            go.wait(20)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(aside, stuck)
            await begun.wait()
            tasks.cancel_scope.cancel()
        assert mine.places.borrowed_tokens == 0
        assert mine.threads.borrowed_tokens == 1
        go.set()
        await aside(done.set)
        for number in range(module.AT_ONCE):  # all are there again
            await mine.threads.acquire_on_behalf_of(number)

    anyio.run(main)
    assert done.is_set()


def test_what_is_given_up_before_it_has_begun_never_does():
    async def main():
        threads = anyio.CapacityLimiter(1)
        run = module._Run(lambda: 1 / 0, threads)
        await threads.acquire_on_behalf_of(run)
        run.give_up()
        assert threads.borrowed_tokens == 0
        assert run() is None

    anyio.run(main)
