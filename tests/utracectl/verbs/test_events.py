from __future__ import annotations

from typing import get_args

import pytest

from tests.utracectl.verbs.parsing import Wrong, parsed
from utracectl import watching
from utracectl.verbs import events
from utraced.api.engine import EventName


def test_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []
    monkeypatch.setattr(watching, "watch", lambda *words, **options: calls.append((words, options)) or 3)
    assert events.run(parsed(events, "5", "6")) == 3
    assert events.run(parsed(events, "-f", "--events", "exec, death,exec", "5", host="far")) == 3
    assert calls == [
        (([5, 6], events.USUAL), {"follow": False, "host": None}),
        (([5], ("exec", "death")), {"follow": True, "host": "far"}),
    ]


def test_the_names_are_the_protocol_s() -> None:
    assert set(events.NAMES) == set(get_args(EventName))


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "PID"),
        (["x"], "'x' is no process"),
        (["5", "--events", "exec,nope"], "'nope' is no event: they are clone, death"),
        (["5", "--events", ","], "',' is no event"),
    ],
)
def test_wrong_arguments(words: list[str], text: str) -> None:
    with pytest.raises(Wrong, match=text):
        parsed(events, *words)
