"""Interleaved rounds, medians and ratios."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import median
from typing import NamedTuple

Measure = Callable[[], float]


class Row(NamedTuple):
    """A line of the table: a median with its unit, and a ratio where there is something to compare with.

    ``low`` and ``high`` are the extremes of what ``aim`` is about: the ratio, or else the value.  ``cpu`` is what a
    tracer spends, in seconds, ``lost`` the most of what it lost in a round.
    """

    name: str
    value: float
    unit: str
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    aim: str = ""
    cpu: float | None = None
    lost: int | None = None


def interleave(measures: Mapping[str, Measure], rounds: int) -> dict[str, list[float]]:
    """Take each measure once a round, in an order that rotates, so that a slow minute of the machine is shared."""
    names = list(measures)
    found: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            found[name].append(measures[name]())
    return found


def compare(
    found: Mapping[str, list[float]], base: str, *, prefix: str, unit: str, aims: Mapping[str, str]
) -> list[Row]:
    """Return a row for each measure; its ratio is the median of the ratios to ``base`` in the same round."""
    rows = []
    for name, values in found.items():
        ratios = [value / other for value, other in zip(values, found[base], strict=True)]
        is_base = name == base
        rows.append(
            Row(
                f"{prefix}: {name}",
                median(values),
                unit,
                None if is_base else median(ratios),
                None if is_base else min(ratios),
                None if is_base else max(ratios),
                aims.get(name, ""),
            )
        )
    return rows


def alone(name: str, values: list[float], unit: str, aim: str = "") -> Row:
    """Return the row of a measure that is compared with nothing but its aim."""
    return Row(name, median(values), unit, None, min(values), max(values), aim)
