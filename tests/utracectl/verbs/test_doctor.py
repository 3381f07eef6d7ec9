from __future__ import annotations

import pytest

import utracectl.doctor
from tests.utracectl.verbs.parsing import Wrong, parsed
from utracectl.verbs import doctor


def test_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []
    monkeypatch.setattr(utracectl.doctor, "show_check", lambda *words, **options: calls.append((words, options)) or 1)
    assert doctor.run(parsed(doctor)) == 1
    assert doctor.run(parsed(doctor, "--json", "6", host="far")) == 1
    assert calls == [((None,), {"json": False, "host": None}), ((6,), {"json": True, "host": "far"})]


@pytest.mark.parametrize("words", [["x"], ["0"], ["1", "2"], ["--nope"]])
def test_wrong_arguments(words: list[str]) -> None:
    with pytest.raises(Wrong):
        parsed(doctor, *words)
