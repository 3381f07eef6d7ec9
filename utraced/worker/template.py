"""The template: has loaded all that a worker needs, and forks one for each order of the broker's; the attacher too.

A worker is never exec'd after it has given up root: that would make it dumpable, and its user could then take its
descriptors (``begin_new_exec`` in fs/exec.c).  Being forked, it also starts in 10 ms instead of 300.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module

import anyio
import anyio.lowlevel

from utraced.handlers.daemon import user_name
from utraced.linux.handing import WORKER_NAME, Order, Receiver, StartAttacher
from utraced.linux.identity import assume
from utraced.linux.prctl import set_name
from utraced.syscalls.calls import signatures

from .logs import start_log
from .serve import serve_handed

log = logging.getLogger("utraced")

LATER = (
    "difflib",
    "encodings.ascii",
    "encodings.latin_1",
    "ptrace.binding.linux_struct",
    "utraced.api.document",
    "utraced.handlers.all",
    "utraced.syscalls.tables.arguments",
)
"""What is loaded when it is first needed, so that others need not wait for it."""
STANDARD = 3
"""Descriptors 0 to 2 stay."""


def serve_orders(fd: int, *, load_attacher: Callable[[], None], be_attacher: Callable[[int], None]) -> None:
    """Be the template of the broker at the other end of ``fd``, until it is gone.

    ``be_attacher`` is the attacher of who holds the other end of a channel, to its end; ``load_attacher`` loads it.
    """
    set_name("utraced-template")
    start_log()
    # The workers are nobody's concern here: the broker hears of their ends by their channels.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    # The broker is told to end, and this process by it.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    broker = os.getppid()
    load_attacher()
    _load()
    receiver = Receiver(Order, StartAttacher)
    with socket.socket(fileno=fd) as channel:
        while (handed := receiver.wait(channel)) is not None:
            message, (theirs,) = handed.message, handed.fds
            try:
                if os.fork() == 0:
                    if isinstance(message, Order):
                        _be_worker(message, theirs, kin=frozenset({broker, os.getppid()}))
                    _be_attacher(theirs, be_attacher)
            except OSError as error:
                log.error("no process for %s: %s", message, error.strerror)
            os.close(theirs)


def _load() -> None:
    """Load all that workers may need, and keep the collector from writing to what they share.

    They can load nothing themselves: the folder that Python is in may be closed to their users.
    """
    for module in LATER:
        import_module(module)
    for abi in ("x86_64", "i386"):
        signatures(abi)
    anyio.run(anyio.lowlevel.checkpoint)
    gc.collect()
    gc.freeze()


def _be_worker(order: Order, channel: int, *, kin: frozenset[int]) -> None:
    """Be a worker, to the end of this process."""
    status = 1
    try:
        set_name("utraced-refuser" if order.refuses else WORKER_NAME)
        os.closerange(STANDARD, channel)
        os.closerange(channel + 1, os.sysconf("SC_OPEN_MAX"))
        for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        os.umask(0o077)
        assume(order.identity)
        user = "" if order.refuses else user_name(order.identity.uid)
        serve_handed(channel, order, kin, user=user)
        status = 0
    except BaseException:
        log.exception("worker of uid %d", order.identity.uid)
    finally:
        with suppress(OSError, ValueError):
            sys.stderr.flush()
        # What the template has open in Python is closed already, and not this process's to end.
        os._exit(status)


def _be_attacher(channel: int, be_attacher: Callable[[int], None]) -> None:
    """Be the attacher, to the end of this process."""
    try:
        be_attacher(channel)
    finally:
        os._exit(1)
