"""What a user can do to a worker of his own: nothing that would give him what it has; what he can hurts him alone."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import socket
from collections.abc import Callable

import pytest

from tests.broker.system import System
from tests.children import as_user, child, libc, needs_root, own_program
from tests.live.machine import free, tracer, until, wait_end
from tests.worker.daemon import Peer

pytestmark = needs_root

ADA, BOB = 3141, 3142
PTRACE_ATTACH, PTRACE_SEIZE = 16, 0x4206
PIDFD_GETFD, KCMP, GET_ROBUST_LIST = 438, 312, 274
VM_READV, VM_WRITEV = 310, 311


def worker_of(found: System, uid: int) -> int:
    return int(found.call_as(uid, "daemon.hello")["tracer_pid"])


class Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("size", ctypes.c_size_t))


def vector() -> Vector:
    return Vector(ctypes.addressof(ctypes.create_string_buffer(8)), 8)


def opens(pid: int, name: str, flags: int = os.O_RDONLY) -> int:
    try:
        os.close(os.open(f"/proc/{pid}/{name}", flags))
    except PermissionError:
        return -1
    return 0


def getfd(pid: int, fd: int) -> int:
    return int(libc().syscall(PIDFD_GETFD, os.pidfd_open(pid), fd, 0))


ATTACKS: dict[str, Callable[[int], int]] = {
    "PTRACE_ATTACH": lambda pid: libc().ptrace(PTRACE_ATTACH, pid, 0, 0),
    "PTRACE_SEIZE": lambda pid: libc().ptrace(PTRACE_SEIZE, pid, 0, 0),
    **{f"pidfd_getfd {fd}": lambda pid, fd=fd: getfd(pid, fd) for fd in range(12)},  # type: ignore[misc]
    "process_vm_readv": lambda pid: libc().syscall(
        VM_READV, pid, ctypes.byref(vector()), 1, ctypes.byref(vector()), 1, 0
    ),
    "process_vm_writev": lambda pid: libc().syscall(
        VM_WRITEV, pid, ctypes.byref(vector()), 1, ctypes.byref(vector()), 1, 0
    ),
    "mem to read": lambda pid: opens(pid, "mem"),
    "mem to write": lambda pid: opens(pid, "mem", os.O_RDWR),
    **{
        name: lambda pid, name=name: opens(pid, name) for name in ("maps", "environ", "auxv", "fd", "syscall", "fdinfo")
    },  # type: ignore[misc]
    "map_files": lambda pid: opens(pid, "map_files"),
    "oom_score_adj": lambda pid: opens(pid, "oom_score_adj", os.O_WRONLY),
    "coredump_filter": lambda pid: opens(pid, "coredump_filter", os.O_WRONLY),
    "clear_refs": lambda pid: opens(pid, "clear_refs", os.O_WRONLY),
    "kcmp": lambda pid: libc().syscall(KCMP, os.getpid(), pid, 0, 0, 0),
    "get_robust_list": lambda pid: libc().syscall(
        GET_ROBUST_LIST, pid, ctypes.byref(ctypes.c_void_p()), ctypes.byref(ctypes.c_size_t())
    ),
}


def test_it_can_be_neither_traced_nor_read_nor_written(daemon: System) -> None:
    pid = worker_of(daemon, ADA)
    with child(lambda: own_program(ADA)) as other:
        given = as_user(lambda: {name: attack(pid) for name, attack in ATTACKS.items()}, ADA)
        # The same attacks on a program of his own work, so that it is the worker that refuses them.
        self_given = as_user(
            lambda: {name: attack(other) for name, attack in ATTACKS.items() if "PTRACE" not in name}, ADA
        )
    assert {name for name, result in given.items() if result != -1} == set()
    assert {"mem to write", "fd", "kcmp", "pidfd_getfd 0"} <= {
        name for name, result in self_given.items() if result != -1
    }


def test_it_leaves_no_core(daemon: System) -> None:
    """What it has in memory is not for its user, who sends it a signal that dumps core."""
    pid = worker_of(daemon, ADA)
    as_user(lambda: resource.prlimit(pid, resource.RLIMIT_CORE), ADA)
    as_user(lambda: os.kill(pid, signal.SIGSEGV), ADA)
    wait_end(pid)
    assert not os.path.exists(f"core.{pid}")
    assert worker_of(daemon, ADA) != pid


def test_few_descriptors_lose_connections_and_no_session(daemon: System) -> None:
    """Its user takes its descriptors from it, and connects: who was there before goes on."""

    def starve() -> tuple[int, int]:
        with Peer(daemon.address) as peer:
            pid = peer.call("daemon.hello")["tracer_pid"]
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (1, 1))
            with Peer(daemon.address) as lost:
                # The kernel closes it for want of a descriptor: before the request is sent, or after.
                try:
                    lost.send("daemon.hello")
                    ended = lost.next() is None
                except (BrokenPipeError, ConnectionResetError):
                    ended = True
            assert ended
            return pid, peer.call("daemon.hello")["tracer_pid"]

    before, after = as_user(starve, 3143)
    assert before == after
    assert worker_of(daemon, BOB)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM, signal.SIGHUP, signal.SIGXCPU])
def test_signals_hurt_nobody_else(number: signal.Signals, daemon: System) -> None:
    pid = worker_of(daemon, 3144)
    with child(lambda: own_program(BOB)) as target:

        def trace() -> int:
            with Peer(daemon.address) as peer:
                peer.call("engine.attach", pid=target)
                found = tracer(target)
                ours.send(b"!")
                assert ours.recv(1)
                return found if peer.call("engine.list")["engines"] else 0

        ours, theirs = socket.socketpair()
        helper = os.fork()
        if helper == 0:
            try:
                theirs.recv(1)
                as_user(lambda: os.kill(pid, number), 3144)
                theirs.send(b"!")
            finally:
                os._exit(0)
        try:
            assert as_user(trace, BOB) not in {0, pid}
        finally:
            os.waitpid(helper, 0)
            ours.close()
            theirs.close()
        until(lambda: free(target), "a target that is let go")
    if number == signal.SIGSTOP:
        os.kill(pid, signal.SIGCONT)
    assert worker_of(daemon, 3144)


def test_other_users_can_do_nothing_to_it(daemon: System) -> None:
    pid = worker_of(daemon, ADA)

    def attempts() -> list[int]:
        found = []
        for attempt in (
            lambda: os.kill(pid, 0),
            lambda: os.sched_setaffinity(pid, {0}),
            lambda: os.setpriority(os.PRIO_PROCESS, pid, 19),
            lambda: resource.prlimit(pid, resource.RLIMIT_NOFILE),
        ):
            try:
                attempt()
            except OSError as error:
                found.append(error.errno or 0)
        return found

    assert set(as_user(attempts, BOB)) <= {errno.EPERM, errno.EACCES}
    assert len(as_user(attempts, BOB)) == 4
    assert len(as_user(attempts, ADA)) == 0
