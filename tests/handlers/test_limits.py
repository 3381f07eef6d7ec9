"""The limits fit each other."""

from __future__ import annotations

import base64

import pytest

from utraced.configuration import BadConfiguration, parse
from utraced.handlers import limits


def test_the_largest_read_fits_a_packet_in_base64() -> None:
    assert len(base64.b64encode(bytes(limits.MAX_READ))) + 1024 < limits.MAX_PACKET


def test_a_packet_fits_the_default_buffer_of_a_socket() -> None:
    # net.core.wmem_default, of which 32 bytes are the kernel's own (unix_dgram_sendmsg).
    assert limits.MAX_PACKET <= 212_992 - 32


def test_targets_wait_before_a_session_is_closed() -> None:
    with pytest.raises(BadConfiguration):
        parse(f"limits.queue_bytes = {limits.MAX_PACKET}")
    assert limits.HELD_QUEUES > 1
