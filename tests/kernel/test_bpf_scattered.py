"""What arrays of pointers lead to, with real calls."""

from __future__ import annotations

import os
import struct

from tests.kernel.test_bpf_captures import recorded


def test_the_arguments_of_a_program() -> None:
    entry, _ = recorded("execve", lambda: os.execve("/bin/true", ["true", "", "y" * 50], {"A": "1", "B": "2"}))
    path, arguments, environment, *strings = entry.memory
    assert path.data == b"/bin/true"
    assert [one.data for one in strings] == [b"true", b"", b"y" * 33]
    pointers = struct.unpack_from("<4Q", arguments.data)
    assert [one.address for one in strings] == list(pointers[:3])
    assert pointers[3] == 0
    assert struct.unpack_from("<3Q", environment.data)[2] == 0


def test_scattered_buffers() -> None:
    null = os.open("/dev/null", os.O_WRONLY)
    entry, _ = recorded("writev", lambda: os.writev(null, [b"one", b"", b"three"]))
    array, *buffers = entry.memory
    assert [one.data for one in buffers] == [b"one", b"three"]
    assert struct.unpack_from("<Q", array.data)[0] == buffers[0].address


def test_scattered_buffers_are_filled_as_far_as_the_result_says() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"abcdef")
    _, exit_ = recorded("readv", lambda: os.readv(reading, [bytearray(4), bytearray(4)]))
    assert [one.data for one in exit_.memory[1:]] == [b"abcd", b"ef"]
