from __future__ import annotations

import pytest

from utraced.linux import attaching
from utraced.linux.attaching import CAP_BPF, CAP_PERFMON, CAPABILITIES, LEAST, NEEDED, PROGRAMS, Lacking, kept, lacking
from utraced.linux.capabilities import CAP_IPC_LOCK


def test_without_capabilities_there_is_none() -> None:
    assert lacking(0) == lacking(NEEDED & ~CAP_PERFMON) == Lacking(CAPABILITIES)


def test_only_programs_need_the_capability_bpf() -> None:
    assert lacking(LEAST) == lacking(NEEDED & ~CAP_BPF) == Lacking(programs=PROGRAMS)


def test_for_programs_the_kernel_has_to_tell_its_types(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attaching, "VMLINUX", "/")
    assert lacking(NEEDED) == Lacking()
    monkeypatch.setattr(attaching, "VMLINUX", "/nowhere/vmlinux")
    assert lacking(NEEDED) == Lacking(programs="this kernel does not tell its types (/nowhere/vmlinux)")


def test_the_capability_to_lock_memory_is_kept_where_that_is_limited() -> None:
    everything = (1 << 41) - 1
    assert kept(everything, unlimited=True) == NEEDED
    assert kept(everything, unlimited=False) == NEEDED | CAP_IPC_LOCK
    assert kept(LEAST, unlimited=False) == LEAST
