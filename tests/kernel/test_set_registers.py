import ctypes
import mmap
import os
import shutil
import subprocess
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kernel.seized import go_on, seized, wait
from tests.kernel.targets import WALL
from utraced.errors import InvalidParams, NoSuchProcess, Unsupported
from utraced.kernel import ptrace, registers, set_registers
from utraced.kernel.set_registers import NO_CALL

STEPPED = 5 << 8 | 0x7F
NOP = 0x90
RESTARTED = -512 & NO_CALL
"""-ERESTARTSYS in rax: the call will be made again."""
SETS = (registers.general, registers.floating_point, registers.extended, registers.debug)


@pytest.fixture
def code():
    """Give the address of a page of instructions that do nothing; targets have it too."""
    area = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    area.write(bytes([NOP]) * 4096)
    hold = (ctypes.c_char * 4096).from_buffer(area)
    yield ctypes.addressof(hold)
    del hold
    area.close()


def every(tid):
    return [read(tid) for read in SETS]


def in_its_read(found):
    """Return the registers of a target that was stopped inside the call by which it waits."""
    while registers.general(found.pid)["rax"] != RESTARTED:
        go_on_and_interrupt(found)
    return registers.general(found.pid)


@contextmanager
def refused(tid, member=None, kind=InvalidParams):
    """Check that what is inside is refused, naming ``member``, and that nothing has changed."""
    before = every(tid)
    with pytest.raises(kind) as caught:
        yield caught
    assert caught.value.data.get("member") == member
    assert every(tid) == before


def test_what_is_written_is_read_and_nothing_else_changes():
    with seized() as found:
        before = registers.general(found.pid)
        changed = {"r15": 0x1122_3344_5566_7788, "rax": NO_CALL, "rsp": 0xFFFF_FFFF_8000_0000, "fs_base": 0x1000}
        set_registers.write(found.pid, general=changed)
        assert registers.general(found.pid) == before | changed
        set_registers.write(found.pid, general=before)
        assert registers.general(found.pid) == before
        found.go()
        assert os.WIFEXITED(go_on(found))


def test_a_new_place_is_not_taken_for_an_interrupted_call(code):
    with seized() as found:
        before = in_its_read(found)
        set_registers.write(found.pid, general={"rip": code + 8})
        assert registers.general(found.pid)["orig_rax"] == NO_CALL
        assert go_on(found, ptrace.PTRACE_SINGLESTEP) == STEPPED
        assert registers.general(found.pid)["rip"] == code + 9
        # Put back as it was the call is made again: the target hears the word to go, and ends well.
        set_registers.write(found.pid, general=before)
        found.go()
        assert go_on(found) == 0


def test_who_names_the_call_keeps_it(code):
    with seized() as found:
        before = in_its_read(found)
        set_registers.write(found.pid, general={"rip": code + 8, "orig_rax": before["orig_rax"]})
        assert registers.general(found.pid)["orig_rax"] == before["orig_rax"] == 0
        assert go_on(found, ptrace.PTRACE_SINGLESTEP) == STEPPED
        # Two taken off for the call, one stepped.
        assert registers.general(found.pid)["rip"] == code + 7
        set_registers.write(found.pid, general={"rip": registers.general(found.pid)["rip"]})


def test_the_entry_of_a_call_can_be_skipped_and_its_number_changed():
    with seized(lambda side: (side.wait(), os.getppid() == os.getpid())[1]) as found:
        found.go()
        while registers.general(found.pid)["orig_rax"] != 110:  # getppid
            go_on(found, ptrace.PTRACE_SYSCALL)
            found.go()
        set_registers.write(found.pid, general={"orig_rax": 39})  # getpid
        while not os.WIFEXITED(status := go_on(found, ptrace.PTRACE_SYSCALL)):
            pass
        assert os.waitstatus_to_exitcode(status) == 1


@pytest.mark.parametrize(
    ("general", "member"),
    [
        ({"r15": 0x1234, "rfoo": 1}, "rfoo"),
        ({"r15": 0x1234, "": 1}, ""),
        ({"r15": 0x1234, "cs": 0}, "cs"),
        ({"r15": 0x1234, "ss": 0x18}, "ss"),
        ({"r15": 0x1234, "ds": 0x2B | 1 << 16}, "ds"),
        ({"r15": 0x1234, "fs": 1}, "fs"),
        ({"r15": 0x1234, "fs_base": 1 << 63}, "fs_base"),
        ({"r15": 0x1234, "gs_base": 0xFFFF_8000_0000_0000}, "gs_base"),
        ({"r15": 0x1234, "eflags": 0x346}, "eflags"),
        ({"r15": 0x1234, "eflags": 0x3246}, "eflags"),
        ({"r15": 0x1234, "eflags": 1 << 40 | 0x246}, "eflags"),
        ({"cs": 0x23, "rip": 1 << 32}, "rip"),
    ],
)
def test_what_the_kernel_would_refuse_drop_or_cut(general, member):
    with seized() as found, refused(found.pid, member):
        set_registers.write(found.pid, general=general, fp={"mxcsr": 0x1FA0}, debug={"dr0": 0x1000})


def test_a_misspelt_name_is_told_the_right_one():
    with seized() as found:
        with refused(found.pid, "rflags") as caught:
            set_registers.write(found.pid, general={"rflags": 0x246})
        assert "eflags" in caught.value.hint
        with refused(found.pid, "x" * 64) as caught:
            set_registers.write(found.pid, general={"x" * 5000: 1})
        assert len(caught.value.message) < 400


def test_flags_of_the_program_can_be_written():
    with seized() as found:
        before = registers.general(found.pid)["eflags"]
        for bit in (0x1, 0x4, 0x10, 0x40, 0x80, 0x400, 0x800, 0x40000):
            set_registers.write(found.pid, general={"eflags": before ^ bit})
            assert registers.general(found.pid)["eflags"] == before ^ bit


def test_floating_point_registers():
    with seized() as found:
        before = registers.floating_point(found.pid)
        changed = {"cwd": 0x27F, "mxcsr": 0x1FA0, "st_space[0]": 7, "xmm_space[63]": 0xDEAD_BEEF, "rip": 1 << 40}
        set_registers.write(found.pid, fp=changed)
        assert registers.floating_point(found.pid) == before | changed
        assert registers.extended(found.pid)[160 + 4 * 63 :][:4] == (0xDEAD_BEEF).to_bytes(4, "little")


@pytest.mark.parametrize(
    ("fp", "member"),
    [
        ({"cwd": 0x27F, "xmm_space[64]": 1}, "xmm_space[64]"),
        ({"cwd": 0x1_0000}, "cwd"),
        ({"cwd": 0x27F, "xmm_space[0]": 1 << 32}, "xmm_space[0]"),
        ({"cwd": 0x27F, "mxcsr": 0xFFFF_FFFF}, "mxcsr"),
        ({"cwd": 0x27F, "mxcr_mask": 1}, "mxcr_mask"),
    ],
)
def test_floating_point_registers_that_are_refused(fp, member):
    with seized() as found, refused(found.pid, member):
        set_registers.write(found.pid, fp=fp)


def test_the_extended_state_is_written_whole():
    with seized() as found:
        area = bytearray(registers.extended(found.pid))
        area[160:176] = b"sixteen bytes is"  # xmm0
        area[512] |= 2  # XSTATE_BV: SSE is not in its initial state
        set_registers.write(found.pid, xstate=bytes(area))
        assert registers.extended(found.pid)[160:176] == b"sixteen bytes is"
        for wrong in (bytes(area[:-1]), bytes(area) + b"\0", b""):
            with refused(found.pid, "xstate"):
                set_registers.write(found.pid, general={"r15": 0x1234}, xstate=wrong)
        area[512 + 7] = 0x7F  # features that no CPU has
        with refused(found.pid, "xstate"):
            set_registers.write(found.pid, xstate=bytes(area))


def test_debug_registers_can_be_set_but_not_armed():
    with seized() as found:
        set_registers.write(found.pid, debug={"dr0": 0x1000, "dr3": 0x2000})
        assert registers.debug(found.pid)["dr3"] == 0x2000
        with refused(found.pid, kind=Unsupported):
            set_registers.write(found.pid, debug={"dr7": 1})
        with refused(found.pid, "dr1"):
            set_registers.write(found.pid, debug={"dr0": 0x3000, "dr1": NO_CALL})
        with refused(found.pid, "dr4"):
            set_registers.write(found.pid, debug={"dr4": 0})
        # Armed by somebody before us: the address it uses stays, and it can be cleared.
        ptrace.call(ptrace.PTRACE_POKEUSER, found.pid, 848 + 8 * 7, 1)
        with refused(found.pid, kind=Unsupported):
            set_registers.write(found.pid, debug={"dr0": 0x3000})
        set_registers.write(found.pid, debug={"dr7": 0, "dr0": 0x3000})
        now = registers.debug(found.pid)
        assert (now["dr7"], now["dr0"]) == (0, 0x3000)


@pytest.mark.parametrize(
    "wanted", [{"general": {"r15": 0x1234}}, {"fp": {"cwd": 0x27F}}, {"xstate": b"x"}, {"debug": {"dr0": 0}}]
)
def test_a_dying_thread(wanted):
    with seized() as found:
        os.kill(found.pid, 9)
        with pytest.raises(NoSuchProcess):
            set_registers.write(found.pid, **wanted)


def test_one_that_dies_meanwhile(monkeypatch):
    with seized() as found:
        call = ptrace.call

        def killing(request, *arguments):
            if request == ptrace.PTRACE_POKEUSER:
                os.kill(found.pid, 9)
                os.waitid(os.P_PID, found.pid, os.WEXITED | os.WNOWAIT | WALL)
            return call(request, *arguments)

        monkeypatch.setattr(ptrace, "call", killing)
        with pytest.raises(NoSuchProcess):
            set_registers.write(found.pid, fp={"cwd": 0x27F}, general={"r15": 0x1234})


def test_a_32_bit_program_s_call_is_made_again_or_not(tmp_path):
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("gcc is missing: install it to run the tests with compiled programs")
    source = 'void _start(void) { int r; __asm__ volatile("int $0x80" : "=a"(r) : "a"(29)); for (;;); }'  # pause
    program = tmp_path / "pausing"
    (tmp_path / "pausing.c").write_text(source)
    flags = ["-m32", "-O1", "-static", "-nostdlib", "-ffreestanding", "-fno-pie", "-no-pie"]
    if subprocess.run([compiler, *flags, "-o", program, tmp_path / "pausing.c"], check=False).returncode:
        pytest.skip("gcc makes no i386 programs here")
    with seized(lambda _: os.execv(program, [program])) as found:
        found.go()
        while registers.general(found.pid)["orig_rax"] != 29 or registers.general(found.pid)["cs"] != 0x23:
            go_on(found, ptrace.PTRACE_SYSCALL)
        go_on_and_interrupt(found)
        before = registers.general(found.pid)
        assert before["rax"] & 0xFFFF_FFFF == 0xFFFF_FDFE  # -ERESTARTNOHAND
        with refused(found.pid, "rip"):
            set_registers.write(found.pid, general={"rip": 1 << 32})
        set_registers.write(found.pid, general={"rip": before["rip"] + 2})
        go_on_and_interrupt(found)
        now = registers.general(found.pid)
        assert now["orig_rax"] == NO_CALL
        set_registers.write(found.pid, general=before)
        go_on_and_interrupt(found)
        again = registers.general(found.pid)
        assert (again["orig_rax"], again["rip"]) == (29, before["rip"])


def go_on_and_interrupt(found):
    """Let the thread run and stop it anew."""
    assert ptrace.restart(ptrace.PTRACE_CONT, found.pid, 0)
    ptrace.call(ptrace.PTRACE_INTERRUPT, found.pid)
    wait(found.pid)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(["rax", "eflags", "cs", "ss", "fs", "gs_base", "rip", "orig_rax", "zzz"]),
                       st.integers(0, NO_CALL), max_size=5))  # fmt: skip
def test_all_or_nothing(target_of_all, values):
    before = registers.general(target_of_all)
    refusal = None
    try:
        set_registers.write(target_of_all, general=values)
    except InvalidParams as error:
        refusal = error
    if refusal:
        assert refusal.data["member"] in values
        assert registers.general(target_of_all) == before
    else:
        implied = {"orig_rax": NO_CALL} if values.get("rip", before["rip"]) != before["rip"] else {}
        assert registers.general(target_of_all) == {**before, **implied, **values}
        set_registers.write(target_of_all, general=before)


@pytest.fixture(scope="module")
def target_of_all():
    with seized() as found:
        yield found.pid
