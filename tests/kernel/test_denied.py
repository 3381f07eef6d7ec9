import ctypes
import os
from contextlib import contextmanager

import pytest

from tests.children import NOBODY, as_user, become, child, ended, isolated, libc, needs_root, own_program, zombie
from utraced.errors import NoSuchProcess, PermissionDenied
from utraced.kernel import denied
from utraced.kernel.denied import explained, why_denied, yama_scope
from utraced.kernel.proc import Process
from utraced.linux.errno_errors import refused

CAP_NET_RAW = 13


def reading(pid):
    """Return what a user is told, as plain values that can leave its process."""
    error = why_denied(pid)
    assert error.hint
    return error.data.get("reason", error.kind), error.message, error.data


def reason(pid):
    return reading(pid)[0]


def keep_capability():
    """Be an own program that has a capability, as one that got it by inheritance has."""
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    libc().prctl(8, 1, 0, 0, 0)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)(1 << CAP_NET_RAW, 1 << CAP_NET_RAW, 0, 0, 0, 0)
    assert libc().capset(header, data) == 0
    libc().prctl(4, 1, 0, 0, 0)


@needs_root
@pytest.mark.parametrize(
    ("prepare", "expected"),
    [
        (lambda: None, "not_owner"),
        (lambda: own_program(1000), "not_owner"),
        (lambda: own_program(NOBODY, 1000), "group_differs"),
        (keep_capability, "capabilities"),
        (lambda: become(NOBODY), "not_dumpable"),
    ],
    ids=["root's", "another's", "group", "capability", "dumpable"],
)
def test_what_a_user_is_told(prepare, expected):
    with child(prepare) as pid:

        def ask():
            told = reason(pid)
            with Process(pid) as process:
                try:
                    process.link("ns/user")
                except PermissionError:
                    return told
            return "the kernel allows it"

        assert as_user(ask) == expected


@needs_root
def test_half_a_set_uid_program_is_not_yours():
    with child(lambda: os.setresuid(NOBODY, 0, 0)) as pid:
        told, message, _ = as_user(lambda: reading(pid))
    assert told == "not_owner"
    assert "uid 0" in message


@needs_root
def test_the_kernel_allows_an_own_program_where_only_policy_is_left():
    with child(own_program) as pid:
        assert as_user(lambda: (reason(pid), os.readlink(f"/proc/{pid}/ns/user") != "")) == ("policy", True)


def test_oneself_and_ones_tracer():
    assert reason(os.getpid()) == "would_deadlock"

    def traced_by_parent():
        assert libc().ptrace(0, 0, 0, 0) == 0
        return reason(os.getppid())

    assert isolated(traced_by_parent) == "would_deadlock"


@contextmanager
def traced(pid):
    """Let a process of its own trace ``pid``; give its pid."""

    def seize():
        assert libc().ptrace(0x4206, pid, 0, 0) == 0

    with child(seize) as tracer:
        yield tracer


def test_the_other_tracer_is_named():
    with child() as pid, traced(pid) as tracer:
        told, message, data = reading(pid)
        assert told == "traced_by_other"
        assert str(tracer) in message
        assert data["tracer"]["pid"] == tracer
        assert data["tracer"]["comm"]


def test_what_has_ended():
    assert reason(ended()) == "no_such_process"
    with zombie() as pid:
        assert reason(pid) == "no_such_process"


@needs_root
def test_the_kernel_s_own_threads():
    kernel = next(int(pid) for pid in os.listdir("/proc") if pid.isdecimal() and _is_kernel_thread(int(pid)))
    assert reason(kernel) == "policy"
    assert "kernel" in why_denied(kernel).message


def _is_kernel_thread(pid):
    with Process(pid) as process:
        return process.stat().kernel_thread


@needs_root
@pytest.mark.parametrize(
    ("scope", "user", "root"),
    [
        ("0", "policy", "policy"),
        ("1", "yama", "policy"),
        ("2", "yama", "policy"),
        ("3", "yama", "yama"),
        ("x", "policy", "policy"),
    ],
)
def test_yama(tmp_path, monkeypatch, scope, user, root):
    # The file is opened here, since a user may not enter the test's directory.
    (tmp_path / "ptrace_scope").write_text(scope)
    fd = os.open(tmp_path / "ptrace_scope", os.O_RDONLY)
    monkeypatch.setattr(denied, "YAMA", str(tmp_path / "ptrace_scope"))
    with child(own_program) as pid:
        assert reason(pid) == root

        def ask():
            monkeypatch.setattr(denied, "yama_scope", lambda: int(scope) if scope.isdecimal() else 0)
            return reason(pid)

        assert as_user(ask) == user
    os.close(fd)


def test_without_yama(monkeypatch):
    monkeypatch.setattr(denied, "YAMA", "/nowhere")
    assert yama_scope() == 0


@needs_root
def test_root_without_the_capability_is_told_so():
    def ask(pid):
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)
        assert libc().capset(header, (ctypes.c_uint32 * 6)()) == 0
        return reading(pid)

    with child(own_program) as pid:
        told, _, data = isolated(lambda: ask(pid))
    assert told == "missing_capability"
    assert data["capability"] == "CAP_SYS_PTRACE"


@needs_root
def test_a_denied_read_is_explained():
    def ask(pid):
        try:
            with explained(pid), Process(pid) as process:
                process.read("environ")
        except PermissionDenied as error:
            return error.reason, type(error.__cause__).__name__
        return None

    with child(lambda: own_program(1000)) as pid:
        assert as_user(lambda: ask(pid)) == ("not_owner", "PermissionError")


def test_other_errors_pass():
    with pytest.raises(NoSuchProcess), explained(1):
        raise NoSuchProcess("x")


def test_hidden_processes(monkeypatch):
    def hidden(pid):
        raise PermissionError(1, "hidepid")

    monkeypatch.setattr(denied, "Process", hidden)
    assert why_denied(1).message == refused("process 1").message
