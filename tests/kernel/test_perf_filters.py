from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from utraced.kernel.perf_filters import MOST, of_numbers


def test_single_numbers_and_rows() -> None:
    assert of_numbers([5, 3, 4, 9, 5]) == "(id >= 3 && id <= 5) || id == 9"


def test_all_calls_but_some_fit() -> None:
    text = of_numbers(set(range(470)) - {0, 1, 202})
    assert text == "(id >= 2 && id <= 201) || (id >= 203 && id <= 469)"


def test_what_is_too_long_is_none() -> None:
    assert of_numbers(range(0, 1000, 2)) is None
    assert len(of_numbers(range(0, 400, 2)) or "") <= MOST


@given(st.sets(st.integers(0, 60), min_size=1))
def test_it_is_true_of_these_numbers_alone(numbers: set[int]) -> None:
    text = of_numbers(numbers)
    assert text is not None
    condition = text.replace("||", "or").replace("&&", "and")
    # The expression has the same words in Python.
    found = {number for number in range(-1, 70) if eval(condition, {"id": number})}
    assert found == numbers
