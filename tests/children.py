"""Real processes to look at: forked, prepared, and waiting until the test is over."""

from __future__ import annotations

import codecs
import ctypes
import os
import pickle
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import pytest

NOBODY = 65534
# Whoever has become another user may not be able to read the interpreter's files any more.
codecs.lookup("ascii")

Returned = TypeVar("Returned")

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="changes its user")


def fork() -> int:
    """Fork, also beside threads: the child only makes system calls."""
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


@contextmanager
def child(prepare: Callable[[], None] = lambda: None) -> Iterator[int]:
    """Give the pid of a child that has called ``prepare`` and waits; at the end it is killed and reaped."""
    ready, say = os.pipe()
    pid = fork()
    if pid == 0:
        try:
            os.close(ready)
            prepare()
            os.write(say, b"!")
            signal.pause()
        finally:
            os._exit(1)
    os.close(say)
    try:
        assert os.read(ready, 1) == b"!", "the child could not prepare itself"
        yield pid
    finally:
        os.close(ready)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@contextmanager
def gated(act: Callable[[], object]) -> Iterator[tuple[int, Callable[[], None]]]:
    """Give the pid of a child, and what lets it go on: it does ``act`` then, and exits with 0.

    At the end it is killed, where it still runs, and reaped.
    """
    waits, gate = os.pipe()
    pid = fork()
    if pid == 0:
        try:
            os.close(gate)
            os.read(waits, 1)
            act()
            os._exit(0)
        finally:
            os._exit(1)
    os.close(waits)
    closed = False

    def go() -> None:
        nonlocal closed
        if not closed:
            closed = True
            os.close(gate)

    try:
        yield pid, go
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        go()


@contextmanager
def zombie() -> Iterator[int]:
    """Give the pid of a child that has exited with status 3 and is not reaped yet."""
    pid = fork()
    if pid == 0:
        os._exit(3)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    try:
        yield pid
    finally:
        os.waitpid(pid, 0)


def ended() -> int:
    """Return the pid of a process that is gone."""
    with zombie() as pid:
        return pid


def isolated(function: Callable[[], Returned]) -> Returned:
    """Return what ``function`` returns in a child of its own; what it raises is raised here."""
    reading, writing = os.pipe()
    pid = fork()
    if pid == 0:
        try:
            os.close(reading)
            try:
                answer: tuple[bool, object] = (True, function())
            except BaseException:
                answer = (False, traceback.format_exc())
            with open(writing, "wb") as file:
                pickle.dump(answer, file)
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as file:
        good, value = pickle.load(file)
    os.waitpid(pid, 0)
    assert good, value
    returned: Returned = value
    return returned


def become(uid: int, gid: int | None = None) -> None:
    """Give up root for good."""
    gid = uid if gid is None else gid
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def as_user(function: Callable[[], Returned], uid: int = NOBODY, gid: int | None = None) -> Returned:
    """Return what ``function`` returns when that user calls it."""

    def call() -> Returned:
        become(uid, gid)
        return function()

    return isolated(call)


def own_program(uid: int = NOBODY, gid: int | None = None) -> None:
    """Be like a program that this user started: dumpable, without capabilities."""
    become(uid, gid)
    libc().prctl(4, 1, 0, 0, 0)


def set_name(name: bytes) -> None:
    """Set this process's comm (PR_SET_NAME)."""
    libc().prctl(15, ctypes.create_string_buffer(name), 0, 0, 0)


def libc() -> ctypes.CDLL:
    """Return the C library."""
    return ctypes.CDLL(None, use_errno=True)
