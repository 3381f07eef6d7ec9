"""Messages of sockets and their control messages."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from utraced.syscalls.abi import ABIS
from utraced.syscalls.call import Call
from utraced.syscalls.calls.message import Header, control_text, header_size, header_text, read_header
from utraced.syscalls.memory import Fragment, Snapshot

RIGHTS = struct.pack("<QII2i", 24, 1, 1, 4, 5)


def call(parts: dict[int, bytes], abi: str = "x86_64") -> Call:
    memory = Snapshot(Fragment(address, data) for address, data in parts.items())
    return Call(ABIS[abi], 0, (0,) * 6, entered=memory, left=memory, result=1)


def test_a_header_is_read_whole_or_not_at_all() -> None:
    packed = struct.pack("<QI4xQQQQI4x", 0, 0, 0x200, 1, 0x300, 24, 0)
    assert header_size(call({})) == len(packed) == 56
    assert read_header(0x100, call({0x100: packed})) == Header(0, 0, 0x200, 1, 0x300, 24, 0)
    assert read_header(0x100, call({0x100: packed[:55]})) is None
    assert read_header(0, call({})) is None


def test_a_32_bit_program_has_a_shorter_header() -> None:
    made = call({0x100: struct.pack("<7I", 0, 0, 0x200, 1, 0, 0, 0)}, "i386")
    assert read_header(0x100, made) == Header(0, 0, 0x200, 1, 0, 0, 0)


def test_a_message_is_shown_with_its_buffers() -> None:
    made = call({0x200: struct.pack("<QQ", 0x400, 2), 0x400: b"hi"})
    text = header_text(Header(0, 0, 0x200, 1, 0, 0, 0), made)
    assert text == (
        '{msg_name=NULL, msg_namelen=0, msg_iov=[{iov_base="hi", iov_len=2}], msg_iovlen=1, '
        "msg_controllen=0, msg_flags=0}"
    )


def test_passed_descriptors_are_shown() -> None:
    text = control_text(0x300, 24, call({0x300: RIGHTS}))
    assert text == "[{cmsg_len=24, cmsg_level=SOL_SOCKET, cmsg_type=SCM_RIGHTS, cmsg_data=[4, 5]}]"


@given(st.binary(max_size=120), st.integers(0, 1 << 64), st.sampled_from(["x86_64", "i386", "x32"]))
def test_any_control_messages_are_shown(data: bytes, length: int, abi: str) -> None:
    assert control_text(0x300, length, call({0x300: data}, abi))
