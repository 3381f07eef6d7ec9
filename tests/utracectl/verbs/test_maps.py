from __future__ import annotations

import pytest

from tests.utracectl.verbs.parsing import Wrong, parsed
from utracectl import looking
from utracectl.verbs import maps


def test_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []
    monkeypatch.setattr(looking, "show_maps", lambda *words, **options: calls.append((words, options)) or 3)
    assert maps.run(parsed(maps, "5")) == 3
    assert maps.run(parsed(maps, "--json", "6", host="far")) == 3
    assert calls == [((5,), {"json": False, "host": None}), ((6,), {"json": True, "host": "far"})]


@pytest.mark.parametrize("words", [["x"], ["0"], ["1", "2"], ["--nope", "1"]])
def test_wrong_arguments(words: list[str]) -> None:
    with pytest.raises(Wrong):
        parsed(maps, *words)
