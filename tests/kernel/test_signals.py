import os
import signal
import threading

import pytest

from tests.children import NOBODY, as_user, ended, needs_root
from tests.kernel.targets import target
from utraced.errors import NoSuchProcess
from utraced.kernel import signals
from utraced.kernel.proc import Process
from utraced.kernel.signals import send


def started(pid):
    with Process(pid) as process:
        return process.stat().start_time


def test_a_signal_reaches_the_thread_that_was_meant():
    def act(side):
        tids = []
        begun = threading.Event()

        def other():
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
            tids.append(threading.get_native_id())
            begun.set()
            info = signal.sigwaitinfo({signal.SIGUSR1})
            side.say(f"got {info.si_signo} from {info.si_pid}".encode())

        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        threading.Thread(target=other, daemon=True).start()
        begun.wait()
        side.say(f"tid {tids[0]}.".encode())
        side.wait()

    with target(act) as found:
        found.go()
        found.hear(b".")
        tid = next(int(name) for name in os.listdir(f"/proc/{found.pid}/task") if int(name) != found.pid)
        send(found.pid, started(found.pid), tid, signal.SIGUSR1)
        found.hear(f"got 10 from {os.getpid()}".encode())


def test_a_signal_for_the_process_goes_to_a_thread_that_takes_it():
    def act(side):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        threading.Thread(target=lambda: side.say(b"got %d" % signal.sigwait({signal.SIGUSR1})), daemon=True).start()
        side.say(b"ready to get it")
        side.wait()

    with target(act) as found:
        found.go()
        found.hear(b"ready to get it")
        send(found.pid, started(found.pid), None, signal.SIGUSR1)
        found.hear(b"got 10")


def test_nobody_is_there():
    pid = ended()
    with pytest.raises(ProcessLookupError):
        send(pid, 1, None, signal.SIGUSR1)
    with pytest.raises(ProcessLookupError):
        send(pid, 1, pid, 0)


@pytest.mark.parametrize("alone", [True, False])
def test_who_has_its_pid_now_gets_nothing(alone):
    with target() as found, pytest.raises(NoSuchProcess):
        send(found.pid, started(found.pid) - 1, found.pid if alone else None, signal.SIGKILL)


def test_a_kernel_without_a_pidfd_of_threads(monkeypatch):
    monkeypatch.setattr(signals, "_PIDFD_THREAD", 1 << 30)
    with target() as found:
        send(found.pid, started(found.pid), found.pid, 0)
        with pytest.raises(NoSuchProcess):
            send(found.pid, started(found.pid) - 1, found.pid, signal.SIGKILL)
        with pytest.raises(ProcessLookupError):
            send(os.getpid(), started(os.getpid()), found.pid, 0)


def test_a_thread_of_another_process_is_not_reached():
    with target() as found, pytest.raises(ProcessLookupError):
        send(os.getpid(), started(os.getpid()), found.pid, 0)


@needs_root
def test_the_kernel_says_whom_one_may_signal():
    with target() as found:
        start = started(found.pid)

        def refused():
            try:
                send(found.pid, start, found.pid, signal.SIGUSR1)
            except PermissionError:
                return True
            return False

        assert as_user(refused, NOBODY)
