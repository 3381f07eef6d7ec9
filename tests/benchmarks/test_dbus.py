import struct

import pytest

from benchmarks.dbus import _call, _whole


def test_a_call_is_laid_out_as_specified() -> None:
    call = _call("org.freedesktop.DBus", "GetId")
    kind, body, serial, fields = call[1], *struct.unpack_from("<III", call, 4)
    assert (call[:1], kind, call[3], body, serial) == (b"l", 1, 1, 0, 1)
    assert len(call) == 16 + fields + -fields % 8
    # The first field: PATH, an object path of 21 bytes (D-Bus specification, "Header Fields").
    assert call[16:24] == b"\x01\x01o\0" + (21).to_bytes(4, "little")


@pytest.mark.parametrize(("cut", "whole"), [(0, False), (12, False), (17, False), (-1, False), (None, True)])
def test_a_message_is_whole_at_its_last_byte(cut: int | None, whole: bool) -> None:
    call = _call("a.b", "M")
    assert _whole(memoryview(call[:cut])) is whole
    assert _whole(memoryview(call + call[:cut])) is (whole or cut == 0)
