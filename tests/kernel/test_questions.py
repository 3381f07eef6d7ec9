import ctypes
import errno
import os

import pytest

from tests.children import as_user, become, child, ended, isolated, libc, needs_root, own_program, zombie
from utraced.kernel import questions
from utraced.kernel.questions import filtered, may_access, may_count, may_make_bpf_maps, may_ptrace
from utraced.linux.prctl import no_new_privs

NR_PTRACE, NR_PROCESS_VM_READV = 101, 310
KILL = 0x8000_0000
"""SECCOMP_RET_KILL_PROCESS."""
PARANOID = "/proc/sys/kernel/perf_event_paranoid"


def forbid(nr, answer=0x0005_0000 | errno.EPERM):
    """Have a system call answered by EPERM, or otherwise (linux/filter.h, linux/seccomp.h)."""

    class Program(ctypes.Structure):
        _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_void_p)]

    instructions = [
        (0x20, 0, 0, 0),
        (0x15, 0, 1, nr),
        (0x06, 0, 0, answer),
        (0x06, 0, 0, 0x7FFF_0000),
    ]
    words = b"".join(
        code.to_bytes(2, "little") + bytes([yes, no]) + value.to_bytes(4, "little")
        for code, yes, no, value in instructions
    )
    text = ctypes.create_string_buffer(words)
    program = Program(len(instructions), ctypes.addressof(text))
    no_new_privs()
    assert libc().prctl(22, ctypes.c_ulong(2), ctypes.byref(program), 0, 0) == 0


def test_ourselves_and_our_children():
    assert may_access(os.getpid())
    with child() as pid:
        assert may_access(pid)


@needs_root
@pytest.mark.parametrize(
    ("prepare", "allowed"),
    [
        (own_program, True),
        (lambda: None, False),
        (lambda: become(65534), False),
        (lambda: own_program(65534, 1000), False),
        (lambda: own_program(1000), False),
    ],
    ids=["own", "root's", "not dumpable", "group", "another's"],
)
def test_a_user_is_answered_by_the_kernel(prepare, allowed):
    with child(prepare) as pid:
        assert as_user(lambda: may_access(pid)) is allowed


def test_another_tracer_does_not_matter():
    def seize(pid):
        assert libc().ptrace(0x4206, pid, 0, 0) == 0

    with child() as pid, child(lambda: seize(pid)):
        assert may_access(pid)


def test_what_has_no_memory():
    for pid in (ended(), 2):
        with pytest.raises(ProcessLookupError):
            may_access(pid)
    with zombie() as pid, pytest.raises(ProcessLookupError):
        may_access(pid)


def test_asking_reads_nothing(monkeypatch):
    """Where there were memory at the address, that would be an answer too."""
    text = ctypes.create_string_buffer(b"x")
    monkeypatch.setattr(questions, "_NOWHERE", ctypes.addressof(text))
    assert may_access(os.getpid())


def test_a_sandbox_that_forbids_it():
    def ask():
        before = may_ptrace(), filtered()
        forbid(NR_PTRACE)
        return before, (may_ptrace(), filtered())

    assert isolated(ask) == ((True, False), (False, True))


@needs_root
def test_a_filter_that_kills_for_asking_is_not_provoked():
    with child() as own, child(lambda: become(1000)) as foreign:

        def ask():
            forbid(NR_PROCESS_VM_READV, KILL)
            return may_access(own), may_access(foreign)

        def ask_as_user():
            forbid(NR_PROCESS_VM_READV, KILL)
            return may_access(own), may_access(foreign), may_access(os.getpid())

        assert isolated(ask) == (True, True)
        assert as_user(ask_as_user, 1000) == (False, False, False)


@needs_root
@pytest.mark.parametrize("user", [False, True], ids=["root", "user"])
def test_events_go_by_the_setting(user):
    with open(PARANOID) as file:
        paranoid = int(file.read())

    def ask():
        return may_count(kernel=False), may_count(kernel=True)

    assert (as_user(ask) if user else ask()) == (
        (paranoid <= 2, paranoid <= 1) if user else (True, True)
    )  # fmt: skip


@needs_root
def test_programs_for_the_kernel_go_by_the_setting():
    with open("/proc/sys/kernel/unprivileged_bpf_disabled") as file:
        disabled = int(file.read())
    assert may_make_bpf_maps()
    assert as_user(may_make_bpf_maps) is (disabled == 0)


def test_asking_leaves_nothing_open():
    before = os.listdir("/proc/self/fd")
    may_count(kernel=True), may_count(kernel=False), may_make_bpf_maps()
    assert os.listdir("/proc/self/fd") == before
