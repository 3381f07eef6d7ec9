from __future__ import annotations

import pytest

from utraced.linux import attaching
from utraced.linux.attaching import CAP_BPF, NEEDED, missing


def test_every_capability_is_needed() -> None:
    assert missing(0) == missing(NEEDED & ~CAP_BPF) == attaching.CAPABILITIES


def test_the_kernel_has_to_tell_its_types(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attaching, "VMLINUX", "/")
    assert missing(NEEDED) is None
    monkeypatch.setattr(attaching, "VMLINUX", "/nowhere/vmlinux")
    assert missing(NEEDED) == "this kernel does not tell its types (/nowhere/vmlinux)"
