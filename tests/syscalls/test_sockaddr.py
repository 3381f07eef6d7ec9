"""Addresses of sockets: bytes and strace 6.1's text for them."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from utraced.syscalls.calls.sockaddr import in6_text, sockaddr_text

UNIX = struct.pack("<H", socket.AF_UNIX)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (UNIX, "{sa_family=AF_UNIX}"),
        (UNIX + b"/run/x\0junk", '{sa_family=AF_UNIX, sun_path="/run/x"}'),
        (UNIX + b"\0name", '{sa_family=AF_UNIX, sun_path=@"name"}'),
        (UNIX + b"\0", '{sa_family=AF_UNIX, sun_path=@""}'),
        (
            struct.pack("<H", 2) + b"\0\x50\x7f\0\0\1" + bytes(8),
            '{sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("127.0.0.1")}',
        ),
        (struct.pack("<H", 2) + b"\0\x50\1\2", r'{sa_family=AF_INET, sa_data="\0P\1\2"}'),
        (struct.pack("<HHII", 16, 0, 7, 0x11), "{sa_family=AF_NETLINK, nl_pid=7, nl_groups=0x000011}"),
        (struct.pack("<HH", 99, 0), r'{sa_family=0x63 /* AF_??? */, sa_data="\0\0"}'),
    ],
)
def test_is_written_as_by_strace(data: bytes, text: str) -> None:
    assert sockaddr_text(data) == text


@given(
    st.binary(min_size=16, max_size=16)
    | st.lists(st.sampled_from(b"\0\0\0\1\xff"), min_size=16, max_size=16).map(bytes)
)
def test_in6_is_written_as_by_the_c_library(data: bytes) -> None:
    assert in6_text(data) == socket.inet_ntop(socket.AF_INET6, data)


@given(st.binary(min_size=2, max_size=128))
def test_any_bytes_have_a_text(data: bytes) -> None:
    assert sockaddr_text(data).startswith("{sa_family=")
