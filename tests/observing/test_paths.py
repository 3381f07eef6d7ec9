"""The filter by paths, over memory that is no process's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from utraced.errors import InvalidParams
from utraced.observing.paths import names_path, path_arguments, prefix_of
from utraced.observing.stop import SyscallStop
from utraced.syscalls.abi import ABIS, AUDIT_ARCH_X86_64
from utraced.syscalls.memory import Fragment, Snapshot

ABI = ABIS["x86_64"]


def named(prefix: bytes, name: str, *paths: bytes | None) -> bool:
    """Tell whether a call matches whose arguments are paths, None for those that are not in memory."""
    args = [0] * 6
    fragments = []
    for index, path in zip(path_arguments(ABI, ABI.numbers[name]), paths, strict=True):
        args[index] = 0x1000 * (index + 1)
        if path is not None:
            fragments.append(Fragment(args[index], path, True))
    stop = SyscallStop(1, 0, 0, True, AUDIT_ARCH_X86_64, 0, ABI.numbers[name], tuple(args), 0, False)
    return names_path(prefix, ABI, stop, Snapshot(fragments))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("openat", (1,)), ("execve", (0,)), ("rename", (0, 1)), ("renameat2", (1, 3)), ("read", ()), ("memfd_create", ())],
)
def test_which_arguments_are_paths(name: str, arguments: tuple[int, ...]) -> None:
    assert path_arguments(ABI, ABI.numbers[name]) == arguments


@pytest.mark.parametrize(
    ("path", "matches"),
    [(b"/etc/passwd", True), (b"/etc", True), (b"/et", False), (b"", False), (b"etc", False), (None, False)],
)
def test_a_path_begins_so_or_does_not(path: bytes | None, matches: bool) -> None:
    assert named(b"/etc", "open", path) is matches


def test_any_path_will_do() -> None:
    assert named(b"/a", "rename", b"/b", b"/a")
    assert named(b"/a", "rename", None, b"/a")
    assert not named(b"/a", "rename", b"/b", b"/c")


def test_no_path_is_none() -> None:
    assert not named(b"/", "read")
    stop = SyscallStop(1, 0, 0, True, AUDIT_ARCH_X86_64, 0, ABI.numbers["open"], (0,) * 6, 0, False)
    assert not names_path(b"/", ABI, stop, Snapshot())


@given(st.binary(max_size=40).map(lambda data: data.replace(b"\0", b"")), st.binary(min_size=1, max_size=4))
def test_it_is_what_startswith_says(path: bytes, prefix: bytes) -> None:
    prefix = prefix.replace(b"\0", b"a")
    assert named(prefix, "open", path) is path.startswith(prefix)


def test_the_beginning_is_text_of_a_bounded_size() -> None:
    assert (prefix_of(None), prefix_of("/é")) == (b"", b"/\xc3\xa9")
    for text in ("a\0b", "é" * 129):
        with pytest.raises(InvalidParams):
            prefix_of(text)
