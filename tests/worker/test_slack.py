from __future__ import annotations

from utraced.worker.slack import APART_NS, ENDED, MUCH, Slack


class Heap:
    def __init__(self) -> None:
        self.now = 5
        self.given = 0
        self.slack = Slack(clock=lambda: self.now, give=self._give)

    def _give(self) -> bool:
        self.given += 1
        return True

    def end(self, connections: int) -> None:
        for _ in range(connections):
            self.slack.ended()


def test_after_many_connections_and_some_time() -> None:
    heap = Heap()
    heap.now += APART_NS
    heap.end(ENDED - 1)
    assert heap.given == 0
    heap.end(1)
    assert heap.given == 1


def test_not_soon_again() -> None:
    heap = Heap()
    heap.now += APART_NS
    heap.end(ENDED)
    heap.now += APART_NS - 1
    heap.end(5 * ENDED)
    assert heap.given == 1
    heap.now += 1
    heap.end(1)
    assert heap.given == 2


def test_it_counts_anew_each_time() -> None:
    heap = Heap()
    heap.now += APART_NS
    heap.end(ENDED)
    heap.now += APART_NS
    heap.end(ENDED - 1)
    assert heap.given == 1


def test_after_many_bytes_that_waited_at_a_time() -> None:
    heap = Heap()
    heap.now += APART_NS
    for _ in range(5):
        heap.slack.let_go(MUCH - 1)
    assert heap.given == 0
    heap.slack.let_go(MUCH)
    assert heap.given == 1
    heap.slack.let_go(MUCH)
    assert heap.given == 1
    heap.now += APART_NS
    heap.slack.let_go(0)
    assert heap.given == 2
