import ctypes
import os
from contextlib import contextmanager

import pytest

from tests.children import NOBODY, as_user, become, child, isolated, libc, needs_root, own_program, zombie
from utraced.kernel import questions, yama
from utraced.kernel.obstacles import NO_PTRACE, OF_ACCESS, obstacles
from utraced.kernel.proc import Process

CAP_NET_RAW = 13


def told(pid):
    """Return what is in the way, as plain values that can leave the process that asks."""
    with Process(pid) as process, Process(os.getpid()) as own:
        found = list(obstacles(process, own))
    for obstacle in found:
        assert obstacle.error.hint
    return [
        (obstacle.subject, obstacle.error.data.get("reason", obstacle.error.kind), obstacle.error.message)
        for obstacle in found
    ]


def reasons(pid):
    return [reason for _, reason, _ in told(pid)]


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


def all_of_it():
    """Be a program of another user and group, that has a capability and is not dumpable."""
    keep_capability()
    os.setresgid(NOBODY, NOBODY, NOBODY)
    libc().prctl(4, 0, 0, 0, 0)


@needs_root
@pytest.mark.parametrize(
    ("prepare", "expected"),
    [
        (lambda: None, ["not_owner", "group_differs", "capabilities"]),
        (lambda: own_program(1000, NOBODY), ["not_owner"]),
        (lambda: own_program(1000), ["not_owner", "group_differs"]),
        (lambda: own_program(NOBODY, 1000), ["group_differs"]),
        (keep_capability, ["capabilities"]),
        (lambda: become(NOBODY), ["not_dumpable"]),
        (all_of_it, ["capabilities", "not_dumpable"]),
        (lambda: become(1000, 1000), ["not_owner", "group_differs", "not_dumpable"]),
    ],
    ids=["root's", "another's", "user and group", "group", "capability", "dumpable", "two", "three"],
)
def test_all_that_is_in_a_user_s_way(prepare, expected):
    with child(prepare) as pid:
        found, allowed = as_user(lambda: (reasons(pid), questions.may_access(pid)))
    assert (found, allowed) == (expected, False)


@needs_root
def test_half_a_set_uid_program_is_not_yours():
    with child(lambda: os.setresuid(NOBODY, 0, 0)) as pid:
        subject, reason, message = as_user(lambda: told(pid))[0]
    assert (subject, reason) == ("owner", "not_owner")
    assert "uid 0" in message


@needs_root
def test_nothing_is_in_the_way_of_an_own_program():
    with child(own_program) as pid:
        assert as_user(lambda: (reasons(pid), questions.may_access(pid))) == ([], True)


@needs_root
def test_nothing_is_in_root_s_way():
    with child(lambda: become(1000)) as pid:
        assert reasons(pid) == []


def test_oneself_and_ones_tracer():
    assert told(os.getpid())[0][:2] == ("process", "would_deadlock")

    def traced_by_parent():
        assert libc().ptrace(0, 0, 0, 0) == 0
        return reasons(os.getppid())

    assert isolated(traced_by_parent) == ["would_deadlock"]


@contextmanager
def traced(pid):
    """Let a process of its own trace ``pid``; give its pid."""

    def seize():
        assert libc().ptrace(0x4206, pid, 0, 0) == 0

    with child(seize) as tracer:
        yield tracer


def test_the_other_tracer_is_named():
    with child() as pid, traced(pid) as tracer:
        with Process(pid) as process, Process(os.getpid()) as own:
            [obstacle] = obstacles(process, own)
        assert obstacle.subject == "tracer"
        assert str(tracer) in obstacle.error.message
        assert obstacle.error.data["tracer"]["pid"] == tracer
        assert obstacle.error.data["tracer"]["comm"]


@needs_root
def test_other_reasons_do_not_hide_the_other_tracer():
    with child(lambda: become(1000)) as pid, traced(pid):
        assert as_user(lambda: reasons(pid)) == ["not_owner", "group_differs", "not_dumpable", "traced_by_other"]


def test_what_has_ended():
    with zombie() as pid:
        assert told(pid)[0][:2] == ("process", "no_such_process")


@needs_root
def test_the_kernel_s_own_threads():
    kernel = next(int(pid) for pid in os.listdir("/proc") if pid.isdecimal() and _is_kernel_thread(int(pid)))
    [(subject, reason, message)] = told(kernel)
    assert (subject, reason) == ("process", "policy")
    assert "kernel" in message


def _is_kernel_thread(pid):
    with Process(pid) as process:
        return process.stat().kernel_thread


@needs_root
@pytest.mark.parametrize(
    ("scope", "user", "root"), [(0, [], []), (1, ["yama"], []), (2, ["yama"], []), (3, ["yama"], ["yama"])]
)
def test_yama(monkeypatch, scope, user, root):
    monkeypatch.setattr(yama, "scope", lambda: scope)
    with child(own_program) as pid:
        assert reasons(pid) == root
        assert as_user(lambda: reasons(pid)) == user


@needs_root
def test_root_without_the_capability_is_told_so():
    def ask(pid):
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)
        assert libc().capset(header, (ctypes.c_uint32 * 6)()) == 0
        with Process(pid) as process, Process(os.getpid()) as own:
            error = next(obstacles(process, own)).error
        return error.data

    with child(own_program) as pid:
        data = isolated(lambda: ask(pid))
    assert (data["reason"], data["capability"]) == ("missing_capability", "CAP_SYS_PTRACE")


def test_a_sandbox_around_the_daemon(monkeypatch):
    monkeypatch.setattr(questions, "may_ptrace", lambda: False)
    with child() as pid:
        assert told(pid) == [("daemon", "policy", NO_PTRACE)]


def test_of_which_the_kernel_can_be_asked():
    assert {"owner", "group", "capabilities", "dumpable", "yama"} == OF_ACCESS
