import ctypes
import errno
import os

import pytest

from tests.kernel.seized import seized
from utraced.errors import NoSuchProcess, Unsupported
from utraced.kernel import ptrace, registers


def test_general_registers_are_named_as_in_sys_user_h():
    with seized() as found:
        values = registers.general(found.pid)
        assert list(values) == [
            *("r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi"),
            *("orig_rax", "rip", "cs", "eflags", "rsp", "ss", "fs_base", "gs_base", "ds", "es", "fs", "gs"),
        ]
        assert all(0 <= value < 1 << 64 for value in values.values())
        assert list(values.values()) == [ptrace.peek_user(found.pid, 8 * index) for index in range(27)]
        info = ptrace.syscall_info(found.pid)
        assert info is not None
        assert (values["rip"], values["rsp"]) == info[2:4]


def test_floating_point_registers_are_as_the_cpu_keeps_them():
    with seized() as found:
        values = registers.floating_point(found.pid)
        raw = ptrace.register_set(found.pid, 2, 512)
        assert values["cwd"] == int.from_bytes(raw[:2], "little") == 0x37F
        assert values["mxcsr"] == int.from_bytes(raw[24:28], "little")
        words = [int.from_bytes(raw[at : at + 4], "little") for at in range(0, 512, 4)]
        assert [values[f"st_space[{index}]"] for index in range(32)] == words[8:40]
        assert [values[f"xmm_space[{index}]"] for index in range(64)] == words[40:104]


def test_the_extended_state_begins_with_the_old_one():
    with seized() as found:
        state = registers.extended(found.pid)
        assert len(state) >= 576
        assert state[:24] == ptrace.register_set(found.pid, 2, 512)[:24]


def test_a_machine_without_extended_state(monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENODEV, "no such device")

    monkeypatch.setattr(ptrace, "register_set", refuse)
    with pytest.raises(Unsupported) as caught:
        registers.extended(os.getpid())
    assert caught.value.data["feature"] == "registers.xstate"


def test_debug_registers_are_clear_where_nothing_is_watched():
    with seized() as found:
        values = registers.debug(found.pid)
        assert list(values) == ["dr0", "dr1", "dr2", "dr3", "dr6", "dr7"]
        assert [values[f"dr{index}"] for index in (0, 1, 2, 3, 7)] == [0] * 5
        counter = ctypes.c_int()
        address = ctypes.addressof(counter)
        ptrace.call(6, found.pid, 848, address)  # PTRACE_POKEUSER
        assert registers.debug(found.pid)["dr0"] == address


@pytest.mark.parametrize("read", [registers.general, registers.floating_point, registers.extended, registers.debug])
def test_a_dying_thread_has_no_registers(read):
    with seized() as found:
        os.kill(found.pid, 9)
        with pytest.raises(NoSuchProcess) as caught:
            read(found.pid)
        assert caught.value.data == {"tid": found.pid}
