from __future__ import annotations

import pytest

from tests.utracectl.verbs.parsing import Wrong, parsed
from utracectl import killing
from utracectl.verbs import kill


def test_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []
    monkeypatch.setattr(killing, "kill", lambda *words, **options: calls.append((words, options)) or 3)
    assert kill.run(parsed(kill, "5")) == 3
    assert kill.run(parsed(kill, "-s", "usr1", "--tid", "7", "--json", "6", host="far")) == 3
    assert calls == [
        ((5, None, "SIGTERM"), {"json": False, "host": None}),
        ((6, 7, "SIGUSR1"), {"json": True, "host": "far"}),
    ]


@pytest.mark.parametrize("words", [[], ["x"], ["0"], ["1", "2"], ["1", "--tid", "x"]])
def test_wrong_arguments(words: list[str]) -> None:
    with pytest.raises(Wrong):
        parsed(kill, *words)
