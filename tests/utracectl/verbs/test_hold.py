from __future__ import annotations

import pytest

from tests.utracectl.verbs.parsing import Wrong, parsed
from utracectl import holding
from utracectl.verbs import hold


def test_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []
    monkeypatch.setattr(holding, "hold", lambda *words, **options: calls.append((words, options)) or 3)
    assert hold.run(parsed(hold, "5")) == 3
    assert hold.run(parsed(hold, "--json", "6", host="far")) == 3
    assert calls == [((5,), {"json": False, "host": None}), ((6,), {"json": True, "host": "far"})]


@pytest.mark.parametrize("words", [[], ["x"], ["0"], ["1", "2"]])
def test_wrong_arguments(words: list[str]) -> None:
    with pytest.raises(Wrong):
        parsed(hold, *words)
