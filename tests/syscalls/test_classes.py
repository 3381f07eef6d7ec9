"""Classes of calls: some members as strace has them, and laws that all classes keep."""

from __future__ import annotations

import pytest

from utraced.syscalls.abi import ABIS
from utraced.syscalls.classes import BARE, CLASSES


def test_every_member_is_a_call() -> None:
    known = set().union(*(abi.numbers for abi in ABIS.values()))
    for name, members in CLASSES.items():
        assert members <= known, name


@pytest.mark.parametrize(
    ("name", "members", "others"),
    [
        ("%file", "openat execve statx mount fchmodat2 readlink fsconfig", "read close fchmod dup"),
        ("%desc", "read close epoll_wait openat mmap socketcall memfd_create", "socket getpid execve"),
        ("%process", "clone exit_group wait4 kill execve", "getpid pidfd_open ptrace"),
        ("%network", "socket sendfile accept4 getpmsg", "read socketcall"),
        ("%signal", "kill rt_sigaction signalfd4 pause io_uring_enter", "wait4"),
        ("%ipc", "shmat semop msgget ipc", "mq_open"),
        ("%memory", "mmap brk shmat io_setup mseal", "memfd_create pkey_alloc"),
        ("%creds", "getuid setgroups prctl capget", "getpid"),
        ("%clock", "gettimeofday clock_gettime time", "nanosleep times"),
        ("%pure", "getpid getuid", "getpgid getsid"),
        ("%stat", "stat stat64", "lstat fstat newfstatat"),
        ("%lstat", "lstat", "stat"),
        ("%fstat", "fstat newfstatat statx", "stat"),
        ("%%stat", "stat lstat fstat newfstatat statx", "statfs"),
        ("%statfs", "statfs statfs64", "fstatfs"),
        ("%fstatfs", "fstatfs", "statfs"),
        ("%%statfs", "statfs fstatfs ustat", "stat"),
    ],
)
def test_members(name: str, members: str, others: str) -> None:
    assert set(members.split()) <= CLASSES[name]
    assert not set(others.split()) & CLASSES[name]


def test_second_names() -> None:
    assert CLASSES["%net"] == CLASSES["%network"]
    assert CLASSES["%mem"] == CLASSES["%memory"]
    assert all(f"%{name}" in CLASSES for name in BARE)
