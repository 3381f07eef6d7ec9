from __future__ import annotations

import pytest

from tests.utracectl.verbs.parsing import Wrong, parsed
from utracectl import calling
from utracectl.verbs import call


def test_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []
    monkeypatch.setattr(calling, "call", lambda *words, **options: calls.append((words, options)) or 3)
    assert call.run(parsed(call, "memory.read", "pid=1", "fd=@x")) == 3
    assert call.run(parsed(call, "a", "--json", "-o", "out", host="far")) == 3
    assert calls == [
        (("memory.read", ["pid=1", "fd=@x"]), {"compact": False, "output": None, "host": None}),
        (("a", []), {"compact": True, "output": "out", "host": "far"}),
    ]


def test_a_method_is_needed() -> None:
    with pytest.raises(Wrong, match="METHOD"):
        parsed(call)
