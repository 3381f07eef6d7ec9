from __future__ import annotations

from typing import get_args

import pytest

from tests.utracectl.verbs.parsing import Wrong, parsed
from utracectl import registers
from utracectl.verbs import regs
from utraced.api.registers import RegisterSet


def test_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []
    monkeypatch.setattr(registers, "show_registers", lambda *words, **options: calls.append((words, options)) or 3)
    assert regs.run(parsed(regs, "5")) == 3
    assert regs.run(parsed(regs, "--set", "fp, debug,fp", "--json", "5", "6", host="far")) == 3
    assert calls == [
        ((5, None, ("general",)), {"json": False, "host": None}),
        ((5, 6, ("fp", "debug")), {"json": True, "host": "far"}),
    ]


def test_the_sets_are_the_protocol_s() -> None:
    assert get_args(RegisterSet) == regs.SETS


@pytest.mark.parametrize("words", [[], ["x"], ["1", "x"], ["1", "2", "3"], ["--set", "mmx", "1"], ["--set", "", "1"]])
def test_wrong_arguments(words: list[str]) -> None:
    with pytest.raises(Wrong):
        parsed(regs, *words)
