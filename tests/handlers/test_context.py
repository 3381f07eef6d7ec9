"""How handlers are registered."""

from __future__ import annotations

import pytest

from utraced.api.daemon import Hello
from utraced.handlers.all import HANDLERS
from utraced.handlers.context import Context, WithDescriptors, handles
from utraced.model import Empty

from .contexts import context


def test_a_method_has_one_handler() -> None:
    with pytest.raises(ValueError, match="two handlers"):

        @handles(Hello)
        def another(_params: Hello, _context: Context) -> Empty:
            return Empty()

    assert HANDLERS["daemon.hello"].__name__ == "hello"


def test_a_context_hands_out_each_descriptor_of_the_packet_once() -> None:
    made = context(7, 8)
    assert made.descriptors.take(1) == 8
    assert made.descriptors.unclaimed() == [7]


def test_a_result_may_come_with_descriptors() -> None:
    value, fds = WithDescriptors(Empty(), (3, 4))
    assert (value, fds) == (Empty(), (3, 4))
