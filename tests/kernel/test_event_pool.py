"""Events that are kept for a while, and closed where nobody waits for it."""

from __future__ import annotations

import threading

from tests.live.machine import until
from utraced.kernel.event_pool import Event, EventPool


class Kernel:
    """Opens and closes numbers."""

    def __init__(self) -> None:
        self.opened = 0
        self.closed: list[int] = []
        self.held = threading.Event()
        self.held.set()

    def open(self, tracepoint: int) -> int:
        self.opened += 1
        return 100 * tracepoint + self.opened

    def close(self, fd: int) -> None:
        self.held.wait(60)
        self.closed.append(fd)


def pool(kernel: Kernel, kept: float) -> EventPool:
    return EventPool(kept=kept, open_=kernel.open, close=kernel.close)


def test_an_event_is_of_its_tracepoint() -> None:
    found = pool(Kernel(), 0)
    assert [found.take(7), found.take(8)] == [Event(7, 701), Event(8, 802)]


def test_what_is_given_back_is_taken_again() -> None:
    kernel = Kernel()
    found = pool(kernel, 1000)
    events = [found.take(7), found.take(8)]
    found.give(events)
    assert found.take(8) == events[1]
    assert found.take(8) != events[1]
    assert not kernel.closed


def test_what_nobody_wants_is_closed() -> None:
    kernel = Kernel()
    found = pool(kernel, 0)
    found.give([found.take(7), found.take(8)])
    until(lambda: sorted(kernel.closed) == [701, 802], "the end of the events")
    found.give([found.take(9)])
    until(lambda: len(kernel.closed) == 3, "the end of the last event")


def test_links_go_first_and_nobody_has_the_event_meanwhile() -> None:
    kernel = Kernel()
    found = pool(kernel, 1000)
    event = found.take(7)
    kernel.held.clear()
    found.give([event], [5])
    assert found.take(7) != event
    kernel.held.set()
    until(lambda: kernel.closed == [5], "the end of the link")
    until(lambda: found.take(7) == event, "the event")


def test_fewer_links_than_events() -> None:
    kernel = Kernel()
    found = pool(kernel, 0)
    found.give([found.take(7), found.take(8)], [5])
    until(lambda: sorted(kernel.closed) == [5, 701, 802], "the end of all")


def test_what_something_is_tied_to_is_closed_and_had_by_nobody_again() -> None:
    kernel = Kernel()
    found = pool(kernel, 1000)
    event = found.take(7)
    kernel.held.clear()
    assert found.another(event) == Event(7, 702)
    assert found.take(7) == Event(7, 703)
    kernel.held.set()
    until(lambda: kernel.closed == [event.fd], "its end")
