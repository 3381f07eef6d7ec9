from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from tests.children import isolated
from utraced.linux import trimming
from utraced.linux.trimming import release, trim


def resident() -> int:
    """Return the resident memory in pages."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1])


@pytest.mark.parametrize("how", [release, trim])
def test_what_is_free_is_given_back(how: Callable[[], bool]) -> None:
    def give() -> tuple[bool, int]:
        # Too small to be mappings of their own; the last one, above them, keeps the heap from shrinking by itself.
        blocks = [bytearray(b"x") * 100_000 for _ in range(100)]
        del blocks[:-1]
        before = resident()
        return how(), before - resident()

    done, pages = isolated(give)
    assert done
    assert pages > 500


def test_a_c_library_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trimming.ctypes, "CDLL", lambda name: SimpleNamespace())
    assert not release()
    assert not trim()
