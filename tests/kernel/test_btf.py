"""BTF: of the running kernel, made by hand, and broken."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from utraced.kernel.btf import BadBtf, Btf, read_btf
from utraced.linux.attaching import VMLINUX

INT, STRUCT, UNION, TYPEDEF, CONST = 1, 4, 5, 8, 10
STRINGS = b"\0int\0outer\0a\0b\0inner\0alias\0c\0"


def at(name: str) -> int:
    return STRINGS.index(b"\0" + name.encode() + b"\0") + 1 if name else 0


def kind(name: str, number: int, count: int, size: int, *, bits: bool = False) -> bytes:
    return struct.pack("<III", at(name), number << 24 | count | bits << 31, size)


def member(name: str, type_number: int, bit: int) -> bytes:
    return struct.pack("<III", at(name), type_number, bit)


TYPES = [
    kind("int", INT, 0, 4) + struct.pack("<I", 32),
    kind("inner", STRUCT, 2, 8) + member("b", 1, 0) + member("c", 1, 32),
    kind("", UNION, 1, 8) + member("", 2, 0),
    kind("alias", TYPEDEF, 0, 2),
    kind("", CONST, 0, 4),
    kind("outer", STRUCT, 3, 24) + member("a", 1, 0) + member("", 3, 64) + member("alias", 5, 128),
]


def made(types: Sequence[bytes] = TYPES, strings: bytes = STRINGS) -> bytes:
    body = b"".join(types)
    return struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(body), len(body), len(strings)) + body + strings


def test_a_member_is_found() -> None:
    assert Btf(made()).offset("outer", "a") == 0


def test_a_member_of_a_member_without_a_name_is_found() -> None:
    assert Btf(made()).offset("outer", "c") == 12


def test_a_path_leads_through_other_names_of_a_structure() -> None:
    assert Btf(made()).offset("outer", "alias", "c") == 20


def test_a_typedef_has_its_number() -> None:
    assert Btf(made()).type_id("alias") == 4


def test_a_type_is_of_its_kind() -> None:
    assert Btf(made()).type_id("inner", "structure") == 2
    with pytest.raises(BadBtf):
        Btf(made()).type_id("inner", "function")


@pytest.mark.parametrize("content", [made(), b""], ids=["whole", "empty"])
def test_a_file_is_read(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "types"
    file.write_bytes(content)
    if content:
        assert read_btf(str(file)).type_id("alias") == 4
    else:
        with pytest.raises(BadBtf):
            read_btf(str(file))


def test_a_file_that_cannot_be_mapped_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "types"
    file.write_bytes(made())

    def refuse(*_: object) -> None:
        raise OSError

    monkeypatch.setattr("utraced.kernel.btf.mmap.mmap", refuse)
    assert read_btf(str(file)).type_id("alias") == 4


def test_what_is_not_there_is_said() -> None:
    btf = Btf(made())
    with pytest.raises(BadBtf, match="no member d"):
        btf.offset("outer", "d")
    with pytest.raises(BadBtf, match="no type nothing"):
        btf.offset("nothing", "a")
    with pytest.raises(BadBtf, match="no type outer"):
        btf.type_id("outer")
    with pytest.raises(BadBtf, match="no members"):
        btf.offset("outer", "a", "b")


def test_a_bit_field_has_no_offset() -> None:
    types = [TYPES[0], kind("outer", STRUCT, 1, 4, bits=True) + member("a", 1, 3 << 24 | 5)]
    with pytest.raises(BadBtf, match="bit field"):
        Btf(made(types)).offset("outer", "a")


def test_names_for_names_without_end_end() -> None:
    types = [kind("alias", TYPEDEF, 0, 1), kind("outer", STRUCT, 1, 4) + member("a", 1, 0)]
    with pytest.raises(BadBtf, match="without end"):
        Btf(made(types)).offset("outer", "a", "b")


def test_structures_in_themselves_end() -> None:
    types = [kind("outer", STRUCT, 1, 4) + member("", 1, 0)]
    with pytest.raises(BadBtf, match="without end"):
        Btf(made(types)).offset("outer", "b")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x9f\xeb",
        made()[:-1],
        b"\xeb\x9f" + made()[2:],
        made([kind("int", 31, 0, 4)]),
        made([kind("outer", STRUCT, 9, 4)]),
        made([TYPES[0][:-1]]),
    ],
    ids=["empty", "short", "cut", "byte order", "kind", "members", "odd"],
)
def test_broken_btf_is_told_as_such(data: bytes) -> None:
    with pytest.raises(BadBtf):
        Btf(data).offset("outer", "a")


@given(st.data())
def test_damage_is_never_more_than_bad(data: st.DataObject) -> None:
    whole = bytearray(made())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = Btf(bytes(whole)).offset("outer", "alias", "c")
    except BadBtf:
        return
    assert found >= 0


def test_the_running_kernel_is_as_its_own_description_says() -> None:
    if not Path(VMLINUX).exists():
        pytest.skip(f"this kernel does not tell its types: {VMLINUX}")
    btf = Btf(Path(VMLINUX).read_bytes())
    # The ABI of x86-64 (struct pt_regs), and what every kernel has.
    assert [btf.offset("pt_regs", name) for name in ("r15", "di", "orig_ax", "ip", "sp")] == [0, 112, 120, 128, 152]
    assert btf.offset("task_struct", "tgid") == btf.offset("task_struct", "pid") + 4
    assert btf.offset("cred", "euid") > btf.offset("cred", "uid")
    assert btf.type_id("btf_trace_sys_enter") != btf.type_id("btf_trace_sys_exit")
