"""Requests that wait for threads to stop."""

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
