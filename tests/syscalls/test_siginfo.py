"""siginfo_t: raw structures, what they say, and strace 6.1's text for the same bytes."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from utraced.syscalls.abi import ABIS, Abi
from utraced.syscalls.siginfo import SIZE, code_name, decode_siginfo, siginfo_text, signal_text


def raw(signo: int, code: int, *words: int, errno: int = 0) -> bytes:
    """Return a siginfo_t with ``words`` (32 bits each) in its union."""
    masked = [word & 0xFFFFFFFF for word in words]
    return struct.pack(f"<iii4x{len(masked)}I", signo, errno, code, *masked).ljust(SIZE, b"\0")


CASES = [
    (raw(17, 1, 12, 0, 3), "SIGCHLD, si_code=CLD_EXITED, si_pid=12, si_uid=0, si_status=3, si_utime=0, si_stime=0"),
    (
        raw(17, 1, 12, 0, -1, 0, 5),
        "SIGCHLD, si_code=CLD_EXITED, si_pid=12, si_uid=0, si_status=-1, si_utime=5 /* 0.05 s */, si_stime=0",
    ),
    (
        raw(17, 2, 12, 0, 15, 0, 1234),
        "SIGCHLD, si_code=CLD_KILLED, si_pid=12, si_uid=0, si_status=SIGTERM, si_utime=1234 /* 12.34 s */, si_stime=0",
    ),
    (
        raw(17, 5, 12, 0, 64),
        "SIGCHLD, si_code=CLD_STOPPED, si_pid=12, si_uid=0, si_status=SIGRT_32, si_utime=0, si_stime=0",
    ),
    (
        raw(17, 4, 12, 0, 1029),
        "SIGCHLD, si_code=CLD_TRAPPED, si_pid=12, si_uid=0, si_status=1029, si_utime=0, si_stime=0",
    ),
    (raw(10, 0, 12, 1000), "SIGUSR1, si_code=SI_USER, si_pid=12, si_uid=1000"),
    (raw(10, 0, -1, -1, 5), "SIGUSR1, si_code=SI_USER, si_pid=-1, si_uid=-1"),
    (raw(10, -6, 12, 1000, 9), "SIGUSR1, si_code=SI_TKILL, si_pid=12, si_uid=1000"),
    (raw(10, -1, 1, 2), "SIGUSR1, si_code=SI_QUEUE, si_pid=1, si_uid=2"),
    (
        raw(10, -1, 1, 2, -3, -1),
        "SIGUSR1, si_code=SI_QUEUE, si_pid=1, si_uid=2, si_int=-3, si_ptr=0xfffffffffffffffd",
    ),
    (raw(10, -1, 1, 2, 0, 1), "SIGUSR1, si_code=SI_QUEUE, si_pid=1, si_uid=2, si_int=0, si_ptr=0x100000000"),
    (raw(14, -2), "SIGALRM, si_code=SI_TIMER, si_timerid=0, si_overrun=0, si_int=0, si_ptr=NULL"),
    (
        raw(14, -2, -1, -2, -3),
        "SIGALRM, si_code=SI_TIMER, si_timerid=0xffffffff, si_overrun=-2, si_int=-3, si_ptr=0xfffffffd",
    ),
    (raw(10, -5, 65, 0, 7), "SIGUSR1, si_code=SI_SIGIO, si_band=65, si_fd=7"),
    (raw(10, -8, 0, 0), "SIGUSR1, si_code=0xfffffff8, si_pid=0, si_uid=0"),
    (raw(10, 0, errno=999), "SIGUSR1, si_code=SI_USER, si_errno=999, si_pid=0, si_uid=0"),
    (raw(10, 1, errno=2), "SIGUSR1, si_code=0x1, si_errno=ENOENT"),
    (raw(10, 0x80), "SIGUSR1, si_code=SI_KERNEL"),
    (raw(10, 0x80, 1, 0, 5), "SIGUSR1, si_code=SI_KERNEL, si_pid=1, si_uid=0, si_int=5, si_ptr=0x5"),
    (raw(11, 1, 8), "SIGSEGV, si_code=SEGV_MAPERR, si_addr=0x8"),
    (raw(11, 2), "SIGSEGV, si_code=SEGV_ACCERR, si_addr=NULL"),
    (
        raw(11, 3, 0x1000, 0, 0, 0, 0x10, 0, 0x20),
        "SIGSEGV, si_code=SEGV_BNDERR, si_addr=0x1000, si_lower=0x10, si_upper=0x20",
    ),
    (raw(11, 4, 0x1000, 0, 0, 0, 16), "SIGSEGV, si_code=SEGV_PKUERR, si_addr=0x1000, si_pkey=16"),
    (raw(11, 0x80), "SIGSEGV, si_code=SI_KERNEL, si_addr=NULL"),
    (raw(7, 4, 0x1000, 0, 12), "SIGBUS, si_code=BUS_MCEERR_AR, si_addr=0x1000, si_addr_lsb=0xc"),
    (raw(7, 2, 0x1000, 0, 12), "SIGBUS, si_code=BUS_ADRERR, si_addr=0x1000"),
    (raw(5, 4, 0x1000), "SIGTRAP, si_code=TRAP_HWBKPT, si_addr=0x1000"),
    (raw(8, 1, 0x400), "SIGFPE, si_code=FPE_INTDIV, si_addr=0x400"),
    (raw(29, 1, 65, 0, 7), "SIGIO, si_code=POLL_IN, si_band=65, si_fd=7"),
    (raw(29, 6, 1, 1, -1), "SIGIO, si_code=POLL_HUP, si_band=4294967297, si_fd=-1"),
    (raw(29, 7), "SIGIO, si_code=0x7"),
    (raw(40, 1, 65, 0, 7), "SIGRT_8, si_code=0x1, si_pid=65, si_uid=0, si_int=7, si_ptr=0x7"),
    (
        raw(31, 1, 0x1234, 0, 39, 0xC000003E),
        "SIGSYS, si_code=SYS_SECCOMP, si_call_addr=0x1234, si_syscall=__NR_getpid, si_arch=AUDIT_ARCH_X86_64",
    ),
    (
        raw(31, 2, 0x1234, 0, 39, 0x40000003),
        "SIGSYS, si_code=SYS_USER_DISPATCH, si_call_addr=0x1234, si_syscall=39 /* mkdir */, si_arch=AUDIT_ARCH_I386",
    ),
    (
        raw(31, 9, 0, 0, 59 | 0x40000000, 0xC000003E),
        "SIGSYS, si_code=0x9, si_call_addr=NULL, si_syscall=1073741883 /* execve#64 */, si_arch=AUDIT_ARCH_X86_64",
    ),
    (
        raw(31, 1, 0, 0, -1, 77),
        "SIGSYS, si_code=SYS_SECCOMP, si_call_addr=NULL, si_syscall=4294967295, si_arch=0x4d /* AUDIT_ARCH_??? */",
    ),
    (
        raw(31, 1, 0, 0, -1, 0xC000003E),
        "SIGSYS, si_code=SYS_SECCOMP, si_call_addr=NULL, si_syscall=4294967295, si_arch=AUDIT_ARCH_X86_64",
    ),
]


@pytest.mark.parametrize(("data", "text"), CASES)
def test_text(data: bytes, text: str) -> None:
    assert siginfo_text(data) == f"{{si_signo={text}}}"


def test_the_line_of_a_delivery() -> None:
    assert signal_text(raw(10, 0, 12, 0)) == "--- SIGUSR1 {si_signo=SIGUSR1, si_code=SI_USER, si_pid=12, si_uid=0} ---"


def test_no_signal_is_empty() -> None:
    assert siginfo_text(bytes(SIZE)) == "{}"


def test_sigsys_names_calls_of_the_program_itself() -> None:
    text = siginfo_text(raw(31, 1, 0, 0, 39, 0x40000003), ABIS["i386"])
    assert "si_syscall=__NR_mkdir, si_arch=AUDIT_ARCH_I386" in text


def test_members_are_those_with_a_meaning() -> None:
    assert decode_siginfo(raw(17, 1, 12, 1000, 3, 0, 5, 0, 6)).members == {
        "pid": 12,
        "uid": 1000,
        "status": 3,
        "utime": 5,
        "stime": 6,
    }
    assert decode_siginfo(raw(11, 1, 8)).members == {"addr": 8}
    assert code_name(11, 1) == "SEGV_MAPERR"


@given(st.binary(max_size=SIZE), st.sampled_from(list(ABIS.values())))
def test_any_bytes_have_a_text(data: bytes, abi: Abi) -> None:
    assert siginfo_text(data, abi).startswith("{")
    assert signal_text(data, abi).endswith(" ---")


@given(st.integers(0, 70), st.integers(-70, 140), st.lists(st.integers(0, 0xFFFFFFFF), max_size=28))
def test_any_signal_has_a_text(signo: int, code: int, words: list[int]) -> None:
    assert siginfo_text(raw(signo, code, *words)).endswith("}")
