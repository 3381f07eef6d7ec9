import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from utraced.api.map_records import MAGIC, MapRecord, pack, unpack

u64 = st.integers(0, 2**64 - 1)
u32 = st.integers(0, 2**32 - 1)
letters = st.tuples(*(st.sampled_from(pair) for pair in ("-r", "-w", "-x", "ps"))).map("".join)
records = st.builds(
    MapRecord, u64, u64, letters, u64, u32, u32, u64, st.none() | st.binary(min_size=1, max_size=20), st.booleans()
)


@given(st.lists(records, max_size=20))
def test_what_is_packed_is_unpacked(maps):
    assert list(unpack(b"".join(pack(maps)))) == maps


def test_the_layout():
    record = MapRecord(0x1000, 0x3000, "r-xs", 0x500, 254, 1, 77, b"/lib/x", True)
    data = b"".join(pack([record, record]))
    assert struct.unpack_from("<8sIIQQ", data) == (MAGIC, 64, 2, 192, 7)
    assert struct.unpack_from("<4Q4IQ", data, 64) == (0x1000, 0x3000, 0x500, 77, 254, 1, 1 | 4 | 8 | 16, 6, 192)
    assert struct.unpack_from("<Q", data, 128 + 48) == (192,)
    assert data[192:] == b"/lib/x\0"


def test_records_may_grow():
    _, packed, strings = pack([MapRecord(0, 1, "r--p", 0, 0, 0, 0, b"/a", False)])
    grown = struct.pack("<8sIIQQ32x", MAGIC, 80, 1, 144, len(strings))
    moved = packed[:48] + struct.pack("<QQ", 144, 0)
    assert next(unpack(grown + moved + bytes(16) + strings)).path == b"/a"


@given(st.binary(max_size=300), st.booleans())
def test_rubbish_is_a_value_error_or_maps(data, magic):
    try:
        list(unpack(MAGIC + data if magic else data))
    except ValueError:
        return


@pytest.mark.parametrize("cut", [0, 63, 64, 100, 128, 130])
def test_a_cut_file_is_told(cut):
    data = b"".join(pack([MapRecord(0, 1, "r--p", 0, 0, 0, 0, b"/a", False)]))
    with pytest.raises(ValueError, match=r"."):
        list(unpack(data[:cut]))
