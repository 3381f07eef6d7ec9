"""The event loop, made so that the pump can ask whether it has something to do."""

from __future__ import annotations

import asyncio
import os
import select
import selectors
from collections.abc import Callable, Coroutine
from typing import Any

import anyio

SOME = 16
"""Descriptors that are looked at; which, the kernel changes from time to time."""


class Loop:
    """An asyncio event loop for anyio, with a selector of our own."""

    def __init__(self) -> None:
        self._selector = selectors.EpollSelector()
        self._poll = select.poll()
        # An epoll descriptor is readable when one of those it watches is (epoll(7)).
        self._poll.register(self._selector.fileno(), select.POLLIN)
        self._epoll = select.epoll.fromfd(os.dup(self._selector.fileno()))

    def ready(self) -> bool:
        """Tell whether a descriptor that the loop waits for is ready; costs 1 µs, a turn of the loop 15."""
        return bool(self._poll.poll(0))

    def waiting(self) -> list[tuple[int, int]]:
        """Return some of the descriptors that are ready, with epoll(7)'s events; costs 1 µs."""
        return self._epoll.poll(0, SOME)

    def run(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run ``main`` to its end."""
        anyio.run(main, backend_options={"loop_factory": lambda: asyncio.SelectorEventLoop(self._selector)})
