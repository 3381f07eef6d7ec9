"""Libraries that are mapped and unmapped."""

from __future__ import annotations

import pytest

from utraced.api import events
from utraced.syscalls.abi import ABIS
from utraced.tracing import control
from utraced.tracing.stops import SyscallStop

from .playbook import PC, SP, entering, leaving, now

BASE, TEXT = 0x7F00_0000_0000, 0x7F00_0000_1000
READ, EXECUTE = 1, 5
PRIVATE, FIXED, ANONYMOUS = 0x2, 0x12, 0x22


@pytest.fixture
def loading(play):
    """A process in which libm.so.6 is about to be mapped, and an engine that is told of libraries."""
    play.running(10, A={"events": {"library": "report"}})
    target = play.targets[10]
    target.contents[BASE] = b"\x7fELF rest"
    target.files = {BASE: (b"/usr/lib/libm.so.6", BASE), TEXT: (b"/usr/lib/libm.so.6", BASE)}
    return play


def told(lines):
    return [line for line in lines if line.startswith("A:")]


def test_a_library_is_told_when_its_code_is_mapped(loading):
    assert loading << entering(10, "mmap", 0, 8192, READ, PRIVATE, 3, 0) == ["restart 10 syscall"]
    assert told(loading << leaving(10, BASE)) == []
    loading << entering(10, "mmap", TEXT, 4096, EXECUTE, FIXED, 3, 4096)
    assert loading << leaving(10, TEXT) == [
        "A: library 10 path=/usr/lib/libm.so.6 base=0x7f0000000000 loaded=True",
        "restart 10 syscall",
    ]


def test_its_end_is_told_when_its_beginning_is_unmapped(loading):
    loading << entering(10, "munmap", TEXT, 4096)
    assert told(loading << leaving(10, 0)) == []
    loading << entering(10, "munmap", BASE, 8192)
    assert told(loading << leaving(10, 0)) == ["A: library 10 path=/usr/lib/libm.so.6 base=0x7f0000000000 loaded=False"]


@pytest.mark.parametrize("name", ["munmap", "mmap"])
def test_what_fails_changes_nothing(loading, name):
    loading << entering(10, name, BASE, 8192, EXECUTE, PRIVATE, 3, 0)
    assert told(loading << leaving(10, -22)) == []


def test_memory_without_a_file_is_no_library(loading):
    loading << entering(10, "mmap", 0, 4096, EXECUTE, ANONYMOUS, -1 & (1 << 64) - 1, 0)
    assert told(loading << leaving(10, BASE)) == []


def test_other_files_are_no_libraries(loading):
    target = loading.targets[10]
    target.contents[BASE] = b"#!/bin/sh"
    loading << entering(10, "mmap", 0, 4096, EXECUTE, PRIVATE, 3, 0)
    assert told(loading << leaving(10, BASE)) == []
    loading << entering(10, "munmap", BASE, 4096)
    assert told(loading << leaving(10, 0)) == []
    target.files.clear()
    target.contents[BASE] = b"\x7fELF"
    for name, result in (("mmap", BASE), ("munmap", 0)):
        loading << entering(10, name, BASE, 4096, EXECUTE, PRIVATE, 3, 0)
        assert told(loading << leaving(10, result)) == []


def test_the_calls_of_32_bit_programs_count_too(loading):
    i386 = ABIS["i386"]
    high = 0xF7C0_0000
    target = loading.targets[10]
    target.contents[high] = b"\x7fELF"
    target.files[high] = (b"/lib32/\xff.so", high)
    loading << SyscallStop(10, now(), PC, True, i386.arch, SP, i386.numbers["mmap2"], (0, 4096, EXECUTE, PRIVATE, 3, 0))
    # Told with a sign, as all results are.
    loading << SyscallStop(10, now(), PC, False, i386.arch, SP, result=high - (1 << 32))
    event = loading.events[-1]
    assert isinstance(event, events.Library)
    assert (event.path, event.path_bytes, event.base) == ("/lib32/\\xff.so", b"/lib32/\xff.so", "0xf7c00000")


def test_only_who_asked_is_told_and_may_hold(loading):
    made = loading.attach("B", 10, events={"library": "hold"})
    loading.attach("C", 10)
    loading.trace("T", 10, ["none"])
    loading << entering(10, "mmap", 0, 4096, EXECUTE, PRIVATE, 3, 0)
    lines = loading << leaving(10, BASE)
    assert [(line[:1], line.endswith("held")) for line in lines] == [("A", False), ("B", True)]
    assert loading.tracee(10).holders == [made]


def test_calls_stop_a_thread_only_while_libraries_are_wanted(play):
    made = play.running(10, A={})["A"]
    made.events["library"] = "report"
    control.refresh(play.core, made.process)
    assert play.done() == ["interrupt 10"]
    assert made.process.libraries


def test_a_call_that_was_begun_before_is_none(loading):
    assert loading << leaving(10, BASE) == ["restart 10 syscall"]
