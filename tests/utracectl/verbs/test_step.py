from __future__ import annotations

import pytest

from tests.utracectl.verbs.parsing import Wrong, parsed
from utracectl import stepping
from utracectl.verbs import step


def test_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []
    monkeypatch.setattr(stepping, "step", lambda *words, **options: calls.append((words, options)) or 3)
    assert step.run(parsed(step, "5")) == 3
    assert step.run(parsed(step, "-n", "9", "--tid", "6", "--json", "5", host="far")) == 3
    assert calls == [((5, None, 1), {"json": False, "host": None}), ((5, 6, 9), {"json": True, "host": "far"})]


@pytest.mark.parametrize("words", [[], ["x"], ["1", "2"], ["-n", "0", "1"], ["-n", "x", "1"], ["--tid", "0", "1"]])
def test_wrong_arguments(words: list[str]) -> None:
    with pytest.raises(Wrong):
        parsed(step, *words)
