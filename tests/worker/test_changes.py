from __future__ import annotations

import anyio
import pytest

from utraced.worker.changes import Changes


def test_it_counts_and_tells_for_how_long_there_have_been_none() -> None:
    changes = Changes()
    first = changes.idle_seconds()
    assert first is not None
    assert first >= 0
    changes.came()
    changes.came()
    changes.went()
    assert (changes.sessions, changes.idle_seconds()) == (1, None)
    changes.went()
    assert changes.sessions == 0
    assert changes.idle_seconds() is not None


@pytest.mark.parametrize("several", [1, 3])
def test_who_waits_is_woken_by_the_next_change_and_by_the_last_one_that_goes(several: int) -> None:
    order: list[str] = []

    async def main() -> None:
        changes = Changes()

        async def next_one() -> None:
            await changes.next()
            order.append(f"next {changes.sessions}")

        async def emptied() -> None:
            await changes.emptied()
            order.append(f"emptied {changes.sessions}")

        async with anyio.create_task_group() as tasks:
            changes.came()
            changes.came()
            for _ in range(several):
                tasks.start_soon(next_one)
                tasks.start_soon(emptied)
            await anyio.wait_all_tasks_blocked()
            changes.went()
            await anyio.wait_all_tasks_blocked()
            assert order == ["next 1"] * several
            changes.went()
            await anyio.wait_all_tasks_blocked()
            assert order == ["next 1"] * several + ["emptied 0"] * several

    anyio.run(main)
