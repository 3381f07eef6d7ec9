from __future__ import annotations

import pytest

import utracectl.status
from tests.utracectl.verbs.parsing import Wrong, parsed
from utracectl.verbs import status


def test_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []
    monkeypatch.setattr(utracectl.status, "show_status", lambda **options: calls.append(options) or 3)
    assert status.run(parsed(status)) == 3
    assert status.run(parsed(status, "--json", host="far")) == 3
    assert calls == [{"json": False, "host": None}, {"json": True, "host": "far"}]


def test_no_more_arguments() -> None:
    with pytest.raises(Wrong):
        parsed(status, "5")
