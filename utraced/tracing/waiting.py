"""What waits for threads to stop: requests, and threads of which it is not clear who made them."""

from __future__ import annotations

from collections.abc import Iterable


class Waiter:
    """Waits until each of ``outstanding`` threads has stopped, or is gone."""

    __slots__ = ("outstanding",)

    def __init__(self, tids: Iterable[int]) -> None:
        self.outstanding = set(tids)

    def settle(self, tid: int) -> bool:
        """Note that ``tid`` has stopped or is gone; tell whether that was the last one."""
        if tid not in self.outstanding:
            return False
        self.outstanding.discard(tid)
        return not self.outstanding


class Doubt(Waiter):
    """Waits until none of the ``suspects`` can be about to tell that it has made ``orphan``."""

    __slots__ = ("orphan",)

    def __init__(self, orphan: int, suspects: Iterable[int]) -> None:
        super().__init__(suspects)
        self.orphan = orphan
