import ctypes
import os
import select
import signal

import pytest

from tests.children import fork, isolated
from utraced.kernel import signalfd


def test_the_end_of_a_child_is_readable_and_wakes_no_handler():
    def watch():
        signal.signal(signal.SIGCHLD, lambda *_: os._exit(1))
        fd = signalfd.open_sigchld()
        ready = select.poll()
        ready.register(fd, select.POLLIN)
        silent = not ready.poll(0)
        for _ in range(3):
            pid = fork()
            if pid == 0:
                os._exit(0)
            os.waitpid(pid, 0)
        readable = bool(ready.poll(10_000))
        signalfd.drain(fd)
        drained = not ready.poll(0)
        signalfd.drain(fd)
        return silent, readable, drained, os.get_inheritable(fd), os.get_blocking(fd)

    assert isolated(watch) == (True, True, True, False, False)


def test_without_descriptors_it_says_so(monkeypatch):
    class Libc:
        @staticmethod
        def signalfd(*_):
            ctypes.set_errno(24)
            return -1

    monkeypatch.setattr(signalfd, "_libc", Libc)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        with pytest.raises(OSError, match="Too many open files"):
            signalfd.open_sigchld()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
