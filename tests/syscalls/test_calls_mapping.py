"""Mappings."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given

from tests.syscalls.shown import AT, Case, any_call, recorded
from utraced.syscalls.call import Call
from utraced.syscalls.calls import mapping
from utraced.syscalls.text import call_text

NAMES = [*mapping.SIGNATURES, *getattr(mapping, "I386_SIGNATURES", {})]

CASES = [
    Case(
        "mmap(NULL, 8192, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7ffff7fbe000",
        (0, 8192, 3, 0x22, -1, 0),
        outcome=0x7FFFF7FBE000,
    ),
    Case(
        "mmap(NULL, 4096, PROT_NONE, MAP_FILE, 0, 0) = -1 EINVAL (Invalid argument)",
        (0, 4096, 0, 0, 0, 0),
        outcome="EINVAL",
    ),
    Case(
        "mmap(NULL, 4096, PROT_READ|PROT_GROWSDOWN, 0xc /* MAP_??? */|MAP_HUGETLB|21<<MAP_HUGE_SHIFT, 3, "
        "0xfffffffffffff000) = -1 EINVAL (Invalid argument)",
        (0, 4096, 0x1000001, 0x4000C | 21 << 26, 3, -4096),
        outcome="EINVAL",
    ),
    Case(
        "mmap2(NULL, 4096, PROT_READ, MAP_PRIVATE, 3, 0x2000) = 0xf7fbe000",
        (0, 4096, 1, 2, 3, 2),
        outcome=0xF7FBE000 - (1 << 32),
        abi="i386",
    ),
    Case(
        "mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 3, 0) = 0x1000",
        (AT,),
        {AT: struct.pack("<IIIIII", 0, 4096, 1, 2, 3, 0)},
        outcome=0x1000,
        abi="i386",
    ),
    Case("mprotect(0x10000, 4096, PROT_NONE)      = 0", (AT, 4096, 0)),
    Case("munmap(0x10000, 4096)                   = 0", (AT, 4096)),
    Case("mremap(0x10000, 8192, 4096, MREMAP_MAYMOVE) = 0x20000", (AT, 8192, 4096, 1, 9), outcome=0x20000),
    Case(
        "mremap(0x10000, 8192, 4096, MREMAP_MAYMOVE|MREMAP_FIXED, 0x20000) = 0x20000",
        (AT, 8192, 4096, 3, 0x20000),
        outcome=0x20000,
    ),
    Case("madvise(NULL, 0, 0x63 /* MADV_??? */)   = -1 EINVAL (Invalid argument)", (0, 0, 99), outcome="EINVAL"),
    Case("madvise(NULL, 0, MADV_COLLAPSE)         = 0", (0, 0, 25)),
    Case("msync(0x10000, 4096, MS_SYNC|MS_INVALIDATE) = 0", (AT, 4096, 6)),
    Case("mlock2(0x10000, 100, MLOCK_ONFAULT)     = 0", (AT, 100, 1)),
    Case("mlockall(MCL_CURRENT|0x8)               = -1 EINVAL (Invalid argument)", (9,), outcome="EINVAL"),
    Case("mincore(0x20000000, 8192, [1, 0])       = 0", (0x20000000, 8192, AT), {}, {AT: b"\1\0"}),
    Case("brk(NULL)                               = 0x55555555e000", (0,), outcome=0x55555555E000),
    Case("membarrier(MEMBARRIER_CMD_QUERY, 0)     = 0x201 (MEMBARRIER_CMD_GLOBAL|0x200)", (0, 0, 0), outcome=0x201),
    Case("membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ, MEMBARRIER_CMD_FLAG_CPU, 3) = 0", (0x80, 1, 3)),
    Case("memfd_secret(O_CLOEXEC)                 = 16", (0o2000000,), outcome=16),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.line)
def test_the_line_is_straces(case: Case) -> None:
    assert case.text() == case.line


@given(any_call(NAMES))
def test_anything_prints_and_its_recording_prints_the_same(call: Call) -> None:
    assert call_text(recorded(call)) == call_text(call)
