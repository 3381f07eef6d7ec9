from __future__ import annotations

import pytest

from tests.utracectl.verbs.parsing import Wrong, parsed
from utracectl import memory
from utracectl.verbs import mem


def test_each_of_the_three_is_carried_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for number, name in enumerate(("read", "write", "search")):
        monkeypatch.setattr(memory, f"{name}_memory", lambda options, number=number: number)
    assert mem.run(parsed(mem, "read", "5", "0x10", "4")) == 0
    assert mem.run(parsed(mem, "write", "5", "0x10", "cc")) == 1
    assert mem.run(parsed(mem, "search", "5", "cc")) == 2


def test_arguments() -> None:
    read = parsed(mem, "read", "5", "0x10", "0x20", "-o", "out", "--raw", host="far")
    assert (read.pid, read.address, read.size, read.output, read.raw) == (5, 16, 32, "out", True)
    assert (read.json, read.host) == (False, "far")
    write = parsed(mem, "write", "--json", "5", "0x10", "@file")
    assert (write.pid, write.address, write.data, write.json) == (5, 16, "@file", True)
    search = parsed(mem, "search", "-t", "-n", "3", "--start", "0x1", "--end", "0x2", "5", "text")
    assert (search.pid, search.pattern, search.text, search.count, search.start, search.end) == (
        5,
        "text",
        True,
        3,
        1,
        2,
    )
    everywhere = parsed(mem, "search", "5", "cc")
    assert (everywhere.text, everywhere.count, everywhere.start, everywhere.end) == (False, None, 0, None)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["copy", "5"],
        ["read", "5", "0x10"],
        ["read", "5", "10", "4"],
        ["read", "5", "0x10", "0"],
        ["read", "x", "0x10", "4"],
        ["write", "5", "0x10"],
        ["search", "5"],
        ["search", "5", "cc", "-n", "0"],
        ["search", "5", "cc", "--start", "1"],
    ],
)
def test_wrong_arguments(words: list[str]) -> None:
    with pytest.raises(Wrong):
        parsed(mem, *words)
