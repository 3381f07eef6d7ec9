"""Which numbers of calls an event of a tracepoint looks at, in the language of its filters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

MOST = 4000
"""Characters of an expression: with its NUL it has to fit a page (perf_event_set_filter, kernel/events/core.c)."""


def of_numbers(numbers: Iterable[int]) -> str | None:
    """Return the expression for calls of these numbers, at least one; None where it would be too long."""
    text = " || ".join(_of_range(first, last) for first, last in _ranges(sorted(set(numbers))))
    return text if len(text) <= MOST else None


def _of_range(first: int, last: int) -> str:
    return f"id == {first}" if first == last else f"(id >= {first} && id <= {last})"


def _ranges(numbers: list[int]) -> Iterator[tuple[int, int]]:
    """Give the first and the last of each row of numbers."""
    first = last = numbers[0]
    for number in numbers[1:]:
        if number != last + 1:
            yield first, last
            first = number
        last = number
    yield first, last
