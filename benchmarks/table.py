"""The table that is printed."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.rounds import Row

HEAD = f"{'':54} {'median':>12} {'ratio':>6} {'from':>7} {'to':>7}  {'aim at most':11} {'CPU s':>7} {'lost':>7}"


def lines(rows: Iterable[Row]) -> list[str]:
    """Return a line for each row."""
    return [
        f"{row.name:54} {row.value:9.3g} {row.unit:2} {_number(row.ratio):>6} {_number(row.low):>7}"
        f" {_number(row.high):>7}  {row.aim:11} {_number(row.cpu):>7} {_number(row.lost):>7}".rstrip()
        for row in rows
    ]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
