import os
import signal
import threading

import pytest

from tests.children import NOBODY, as_user, child, ended, needs_root, zombie
from utraced.errors import NoSuchProcess, PermissionDenied
from utraced.linux.pidfd import alive, open_pidfd, pid_of, send_signal


def test_a_living_process():
    with child() as pid:
        pidfd = open_pidfd(pid)
        assert alive(pidfd)
        assert pid_of(pidfd) == pid
        assert not os.get_inheritable(pidfd)
        os.close(pidfd)


def test_a_zombie_is_not_alive_and_still_has_its_pid():
    with zombie() as pid:
        pidfd = open_pidfd(pid)
        assert not alive(pidfd)
        assert pid_of(pidfd) == pid
    with pytest.raises(NoSuchProcess):
        pid_of(pidfd)
    with pytest.raises(NoSuchProcess):
        send_signal(pidfd, 0)
    os.close(pidfd)


def test_no_process_and_no_leader():
    with pytest.raises(NoSuchProcess):
        open_pidfd(ended())
    go, started, tids = threading.Event(), threading.Event(), []

    def wait():
        tids.append(threading.get_native_id())
        started.set()
        go.wait()

    thread = threading.Thread(target=wait)
    thread.start()
    started.wait()
    with pytest.raises(NoSuchProcess, match="thread"):
        open_pidfd(tids[0])
    go.set()
    thread.join()


def test_other_descriptors_are_no_pidfd():
    for path in ("/dev/null", "/proc/self/status"):
        with open(path, "rb") as file, pytest.raises(ValueError, match="no pidfd"):
            pid_of(file.fileno())


def test_signals():
    with child() as pid:
        pidfd = open_pidfd(pid)
        send_signal(pidfd, 0)
        send_signal(pidfd, signal.SIGSTOP)
        assert os.WIFSTOPPED(os.waitpid(pid, os.WUNTRACED)[1])
        os.close(pidfd)


@needs_root
def test_signals_to_others_are_denied():
    def attempt():
        pidfd = open_pidfd(os.getppid())
        try:
            send_signal(pidfd, 0)
        except PermissionDenied as error:
            return error.reason
        return None

    assert as_user(attempt, NOBODY) == "not_owner"
