from __future__ import annotations

import pytest

from tests.utracectl.verbs.parsing import Wrong, parsed
from utracectl import tracing
from utracectl.verbs import trace


def test_what_is_asked_for_by_default() -> None:
    options = parsed(trace, "ls", "-l", "--json")
    assert options.command == ["ls", "-l", "--json"]
    assert (options.follow_forks, options.attach, options.output, options.trace) == (False, [], None, [])
    assert (options.string_limit, options.quiet, options.failed_only, options.json) == (32, 0, False, False)
    assert options.backend == "auto"


def test_strace_s_letters() -> None:
    words = ["-f", "-p", "5", "-p6", "-o", "out", "-e", "trace=open", "-s", "0", "-qq", "-Z", "--", "ls"]
    options = parsed(trace, *words)
    assert (options.follow_forks, options.attach, options.output, options.trace) == (
        True, ["5", "6"], "out", ["trace=open"],
    )  # fmt: skip
    assert (options.string_limit, options.quiet, options.failed_only) == (0, 2, True)
    assert options.command[-1] == "ls"


@pytest.mark.parametrize("words", [["-s", "-1", "ls"], ["-s", "65537"], ["-s", "²"], ["--backend", "x"], ["--nope"]])
def test_wrong_arguments(words: list[str]) -> None:
    with pytest.raises(Wrong):
        parsed(trace, *words)


def test_it_is_carried_out_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "trace", lambda options: 7 if options.command == ["ls"] else 0)
    assert trace.run(parsed(trace, "ls")) == 7
