import threading

import anyio
import pytest

from utraced.errors import TimedOut
from utraced.handlers import aside as module
from utraced.handlers.aside import aside


def test_the_result_comes_from_another_thread():
    assert anyio.run(aside, threading.get_ident) != threading.get_ident()


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
