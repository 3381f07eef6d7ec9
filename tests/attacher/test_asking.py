"""The kernel is asked as somebody else."""

from __future__ import annotations

import os
import select

import pytest

from tests.children import NOBODY, child, libc, needs_root, own_program, zombie
from tests.live.machine import children
from utraced.attacher.asking import Question
from utraced.errors import NoSuchProcess, PermissionDenied, UtracedError
from utraced.linux.capabilities import CAP_SYS_PTRACE
from utraced.linux.identity import Identity

pytestmark = needs_root
USER = Identity(NOBODY, NOBODY)


def asked(identity: Identity, pid: int) -> UtracedError | None:
    question = Question(identity, pid)
    poll = select.poll()
    poll.register(question, select.POLLIN)
    assert poll.poll(30_000)
    return question.answer()


def test_a_user_may_trace_his_own() -> None:
    with child(own_program) as pid:
        assert asked(USER, pid) is None


def undumpable() -> None:
    own_program()
    libc().prctl(4, 0, 0, 0, 0)


@pytest.mark.parametrize(
    "prepare",
    [lambda: None, lambda: own_program(NOBODY, 100), lambda: own_program(100, NOBODY), undumpable],
    ids=["root", "group", "user", "not dumpable"],
)
def test_a_user_may_not_trace_others(prepare) -> None:
    with child(prepare) as pid:
        assert isinstance(asked(USER, pid), PermissionDenied)


def test_one_with_the_capability_may_trace_all() -> None:
    with child(undumpable) as pid:
        assert asked(Identity(0, 0, (), CAP_SYS_PTRACE), pid) is None


def test_root_without_it_may_not() -> None:
    with child(own_program) as pid:
        assert isinstance(asked(Identity(0, 0), pid), PermissionDenied)


def test_who_has_ended_is_nobody() -> None:
    with zombie() as pid:
        assert isinstance(asked(Identity(0, 0, (), CAP_SYS_PTRACE), pid), NoSuchProcess)


def test_no_child_is_left() -> None:
    with child() as pid:
        asked(USER, pid)
        assert children(os.getpid()) == [pid]
