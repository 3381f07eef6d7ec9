from __future__ import annotations

import pytest

from tests.utracectl.verbs.parsing import Wrong, parsed
from utracectl import bridge, remote
from utracectl.verbs import stdio


def test_here_and_there(monkeypatch: pytest.MonkeyPatch) -> None:
    hosts: list[str] = []

    def become(host: str) -> None:
        hosts.append(host)
        raise SystemExit

    monkeypatch.setattr(bridge, "bridge", lambda: 3)
    monkeypatch.setattr(remote, "become_bridge", become)
    assert stdio.run(parsed(stdio)) == 3
    assert hosts == []
    with pytest.raises(SystemExit):
        stdio.run(parsed(stdio, host="far"))
    assert hosts == ["far"]


def test_no_arguments() -> None:
    with pytest.raises(Wrong):
        parsed(stdio, "x")
