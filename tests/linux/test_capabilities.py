from __future__ import annotations

import pytest

from tests.children import isolated, needs_root
from utraced.linux.capabilities import CAP_SYS_PTRACE, drop_bounding, set_capabilities

CAP_SETPCAP = 1 << 8
CAP_KILL = 1 << 5


def masks() -> dict[str, int]:
    """Return this thread's masks, by the names that proc(5) gives them."""
    with open("/proc/thread-self/status", encoding="ascii", errors="replace") as file:
        lines = [line.split() for line in file if line.startswith("Cap")]
    return {name[3:-1]: int(value, 16) for name, value in lines}


@needs_root
def test_only_what_is_given_stays() -> None:
    def change() -> dict[str, int]:
        set_capabilities(CAP_SYS_PTRACE | CAP_KILL)
        return masks()

    found = isolated(change)
    assert found["Prm"] == found["Eff"] == CAP_SYS_PTRACE | CAP_KILL
    assert found["Inh"] == found["Amb"] == 0


@needs_root
def test_one_above_the_first_32_bits() -> None:
    def change() -> int:
        set_capabilities(1 << 38)
        return masks()["Eff"]

    assert isolated(change) == 1 << 38


@needs_root
def test_what_is_given_up_does_not_come_back() -> None:
    def change() -> None:
        set_capabilities(0)
        set_capabilities(CAP_KILL)

    with pytest.raises(AssertionError, match="PermissionError"):
        isolated(change)


@needs_root
def test_the_bounding_set_keeps_what_it_is_told_to() -> None:
    def change() -> int:
        drop_bounding(CAP_KILL | CAP_SYS_PTRACE)
        return masks()["Bnd"]

    assert isolated(change) == (CAP_KILL | CAP_SYS_PTRACE) & masks()["Bnd"]


@needs_root
def test_the_bounding_set_needs_a_capability() -> None:
    def change() -> None:
        set_capabilities(masks()["Eff"] & ~CAP_SETPCAP)
        drop_bounding(0)

    with pytest.raises(AssertionError, match="PermissionError"):
        isolated(change)
