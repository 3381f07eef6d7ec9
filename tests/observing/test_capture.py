"""What is read of a call, and how it is sorted into strings and other memory."""

from __future__ import annotations

import logging

import pytest

from tests.tracing.playbook import X86_64, FakeTarget, entering, leaving
from utraced.observing.capture import Entry, Plan, args_text, plan
from utraced.syscalls.call import Call
from utraced.syscalls.kinds import Kind
from utraced.syscalls.signature import Signature


class Broken(Kind):
    """A kind that fails on everything."""

    __slots__ = ()
    reads = True

    def render(self, value: int, call: Call) -> str:
        raise ZeroDivisionError


def entry_of(name: str, *args: int, memory: FakeTarget, limit: int = 32) -> Entry:
    entry = Entry(entering(10, name, *args), plan(X86_64, X86_64.numbers[name]))
    entry.read_entry(memory, limit)
    return entry


@pytest.fixture
def memory() -> FakeTarget:
    return FakeTarget(10)


@pytest.mark.parametrize(("name", "reads"), [("getpid", False), ("close", False), ("open", True), ("ioctl", True)])
def test_a_plan_knows_whether_anything_is_read(name, reads):
    found = plan(X86_64, X86_64.numbers[name])
    assert (found.name, found.reads) == (name, reads)


def test_a_call_without_a_name_has_a_plan():
    found = plan(X86_64, 9999)
    assert (found.name, found.reads) == ("syscall_0x270f", False)


def test_what_reads_nothing_has_no_contents():
    assert Entry(entering(10), plan(X86_64, 39)).contents() == (None, None)


def test_strings_stand_by_their_position(memory):
    memory.contents = {0x1000: b"/a\0", 0x2000: b"/b\0"}
    entry = entry_of("rename", 0x1000, 0x2000, memory=memory)
    strings, rest = entry.contents()
    assert strings is not None
    assert {index: text.text for index, text in strings.items()} == {"0": "/a", "1": "/b"}
    assert rest is None


def test_a_buffer_that_goes_on_is_truncated(memory):
    memory.contents = {0x1000: b"0123456789"}
    entry = entry_of("write", 1, 0x1000, 10, memory=memory, limit=4)
    strings, _ = entry.contents()
    assert strings is not None
    assert (strings["1"].text, strings["1"].truncated) == ("0123", True)
    entry = entry_of("write", 1, 0x1000, 4, memory=memory, limit=4)
    strings, _ = entry.contents()
    assert strings is not None
    assert (strings["1"].text, strings["1"].truncated) == ("0123", False)


def test_other_memory_is_told_as_it_stood(memory):
    memory.contents = {0x1000: bytes(range(16))}
    entry = entry_of("nanosleep", 0x1000, 0x2000, memory=memory)
    _, rest = entry.contents()
    assert rest is not None
    assert [(part.address, part.data, part.returned) for part in rest] == [("0x1000", bytes(range(16)), False)]


def test_what_is_read_at_return_says_so(memory):
    entry = entry_of("pipe", 0x1000, memory=memory)
    assert entry.contents() == (None, None)
    memory.contents = {0x1000: b"\3\0\0\0\4\0\0\0"}
    entry.read_return(memory, leaving(10, 0))
    _, rest = entry.contents()
    assert rest is not None
    assert all(part.returned for part in rest)
    assert rest[0].address == "0x1000"


def test_what_cannot_be_read_is_left_out(memory):
    assert entry_of("open", 0x1000, memory=memory).contents() == (None, None)


def test_a_decoder_that_fails_costs_only_what_it_would_have_read(memory, caplog):
    entry = Entry(entering(10), Plan(X86_64, "getpid", Signature(Broken()), reads=True))
    with caplog.at_level(logging.ERROR, "utraced"):
        entry.read_entry(memory, 32)
        entry.read_return(memory, leaving(10))
    assert entry.contents() == (None, None)
    assert len(caplog.records) == 1
    assert "getpid" in caplog.text


def test_arguments_are_written_as_the_protocol_has_them():
    assert args_text((0, 1, 0xFFFF_FFFF_FFFF_FFFF, 3, 4, 16)) == (
        "0x0",
        "0x1",
        "0xffffffffffffffff",
        "0x3",
        "0x4",
        "0x10",
    )
