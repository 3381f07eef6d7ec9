import pytest

from utraced.handlers.page import PAGE_SIZE, fitting
from utraced.model import Value, encode_json


class Item(Value, frozen=True):
    text: str


@pytest.mark.parametrize(
    ("count", "limit", "taken"), [(0, None, 0), (5, None, 5), (5, 5, 5), (5, 4, 4), (5, 1, 1), (5, 9, 5)]
)
def test_the_limit(count, limit, taken):
    items = [Item(text=str(n)) for n in range(count)]
    page, more = fitting(items, limit)
    assert page == tuple(items[:taken])
    assert more == (items[taken] if taken < count else None)


@pytest.mark.parametrize("text", ["x" * 1000, "\x00" * 1000, "é" * 1000])
def test_the_size(text):
    items = [Item(text=text)] * 1000
    page, more = fitting(items, None)
    assert more is items[0]
    assert PAGE_SIZE * 0.9 < len(encode_json(page)) <= PAGE_SIZE


def test_one_that_is_too_large_still_goes_on():
    large = Item(text="x" * PAGE_SIZE * 2)
    assert fitting([large, large], None) == ((large,), large)
