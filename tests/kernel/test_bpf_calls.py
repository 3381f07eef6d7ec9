"""Maps and programs, as bpf(2) makes them."""

from __future__ import annotations

import errno
import mmap
import os

import pytest

from tests.kernel.recording import needs_bpf
from utraced.kernel import bpf_calls
from utraced.kernel.bpf_assembler import R0, R9, Program


@pytest.fixture
def hash_map() -> int:
    needs_bpf()
    try:
        return bpf_calls.create_map(bpf_calls.MAP_HASH, key=4, value=8, entries=2, name="utraced_test")
    except PermissionError:
        pytest.skip("bpf(2) is refused here")


def test_a_map_keeps_values(hash_map: int) -> None:
    bpf_calls.update(hash_map, b"key1", b"value  1")
    assert bpf_calls.lookup(hash_map, b"key1", 8) == b"value  1"
    assert bpf_calls.lookup(hash_map, b"key2", 8) is None
    assert bpf_calls.delete(hash_map, b"key1")
    assert not bpf_calls.delete(hash_map, b"key1")
    bpf_calls.close([hash_map])


def test_a_full_map_takes_no_more(hash_map: int) -> None:
    for key in (b"key1", b"key2"):
        bpf_calls.update(hash_map, key, bytes(8))
    with pytest.raises(OSError, match=os.strerror(errno.E2BIG)):
        bpf_calls.update(hash_map, b"key3", bytes(8))
    bpf_calls.close([hash_map])


def test_an_array_takes_many_values_at_once() -> None:
    needs_bpf()
    fd = bpf_calls.create_map(bpf_calls.MAP_ARRAY, key=4, value=8, entries=4, name="utraced_test")
    try:
        keys = b"".join(number.to_bytes(4, "little") for number in (3, 1))
        bpf_calls.update_many(fd, keys, b"value  3value  1", 2)
        found = [bpf_calls.lookup(fd, number.to_bytes(4, "little"), 8) for number in range(4)]
        assert found == [bytes(8), b"value  1", bytes(8), b"value  3"]
    finally:
        bpf_calls.close([fd])


def test_a_descriptor_is_not_for_programs_that_we_execute(hash_map: int) -> None:
    assert not os.get_inheritable(hash_map)
    bpf_calls.close([hash_map])


def test_a_frozen_map_is_only_read() -> None:
    needs_bpf()
    fd = bpf_calls.create_map(
        bpf_calls.MAP_ARRAY, key=4, value=8, entries=1, name="utraced_test", flags=bpf_calls.MMAPABLE
    )
    try:
        bpf_calls.freeze(fd)
        with pytest.raises(PermissionError):
            bpf_calls.update(fd, bytes(4), bytes(8))
        with pytest.raises(PermissionError):
            mmap.mmap(fd, mmap.PAGESIZE)
        with mmap.mmap(fd, mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ) as mapped:
            assert mapped[:8] == bytes(8)
    finally:
        bpf_calls.close([fd])


def test_a_program_that_is_refused_says_why() -> None:
    btf = needs_bpf()
    program = Program()
    program.mov(R0, R9)
    program.exit()
    with pytest.raises(bpf_calls.Refused, match="R9 !read_ok"):
        bpf_calls.load(program.code(), type_id=btf.type_id("btf_trace_sys_enter"), name="utraced_test")
