"""Signatures: which arguments lead to memory, and which signature holds for a call."""

from __future__ import annotations

from utraced.syscalls.abi import ABIS
from utraced.syscalls.basics import Buffer, Fd, Path, Size
from utraced.syscalls.call import Call
from utraced.syscalls.memory import Fragment, Recording, Snapshot
from utraced.syscalls.signature import RETURNS_INT, Returns, Signature


def call(first: int = 3, result: int | None = None) -> Call:
    return Call(ABIS["x86_64"], 0, (first, 0x10, 4, 0, 0, 0), result=result)


def test_only_arguments_that_lead_to_memory_are_read() -> None:
    buffer = Buffer(2, out=True)
    signature = Signature(Fd(), buffer, Size())
    assert signature.reads_entry == signature.reads_return == ((1, buffer),)
    assert Signature(Fd(), Size()).reads_entry == ()


def test_a_command_chooses_the_signature() -> None:
    one, two = Signature(Fd()), Signature(Path())
    chooser = Signature(choose=lambda call: two if call.args[0] == 7 else one)
    assert chooser.of(call(7)) is two
    assert chooser.of(call(8)) is one
    assert one.of(call()) is one


def test_a_result_is_a_signed_number() -> None:
    assert RETURNS_INT.render(call(result=-5)) == "-5"


def test_only_a_result_that_leads_to_memory_reads() -> None:
    class Pointed(Returns):
        __slots__ = ()
        reads = True

        def render(self, call: Call) -> str:
            return call.left.read(call.result or 0, 1).decode()

    made = call(result=0x10)
    made.left = recording = Recording(Snapshot([Fragment(0x10, b"x")]))
    RETURNS_INT.read_return(made)
    assert recording.fragments == []
    Pointed().read_return(made)
    assert recording.fragments == [Fragment(0x10, b"x")]
