from functools import partial

from benchmarks.rounds import alone, compare, interleave
from benchmarks.table import lines


def test_rounds_rotate_their_order() -> None:
    order: list[str] = []

    def measure(name: str) -> float:
        order.append(name)
        return len(order)

    found = interleave({name: partial(measure, name) for name in "abc"}, 3)
    assert "".join(order) == "abcbcacab"
    assert found == {"a": [1, 6, 8], "b": [2, 4, 9], "c": [3, 5, 7]}


def test_a_ratio_is_the_median_of_the_ratios_within_rounds() -> None:
    base, other = compare(
        {"base": [1.0, 10.0, 2.0], "other": [3.0, 20.0, 2.0]}, "base", prefix="x", unit="µs", aims={"other": "1.3"}
    )
    assert (base.value, base.ratio) == (2.0, None)
    assert (other.name, other.value, other.ratio, other.low, other.high) == ("x: other", 3.0, 2.0, 1.0, 3.0)
    assert other.aim == "1.3"


def test_a_row_shows_value_ratio_and_aim() -> None:
    (line,) = lines([alone("attach", [150.0, 250.0, 200.0], "ms", "200")])
    assert line.split() == ["attach", "200", "ms", "150", "250", "200"]
