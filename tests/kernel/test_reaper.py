import os
import signal
import threading

from tests.children import isolated, zombie
from tests.kernel.seized import WALL, seized
from tests.kernel.targets import target
from utraced.kernel import ptrace, reaper
from utraced.kernel.reaper import Reaper, wait_status


def test_the_status_is_that_of_waitpid():
    for code in (0, 3, 255):
        assert os.WEXITSTATUS(wait_status(os.CLD_EXITED, code)) == code
        assert os.WIFEXITED(wait_status(os.CLD_EXITED, code))
    killed = wait_status(os.CLD_KILLED, signal.SIGTERM)
    assert (os.WIFSIGNALED(killed), os.WTERMSIG(killed), os.WCOREDUMP(killed)) == (True, signal.SIGTERM, False)
    dumped = wait_status(os.CLD_DUMPED, signal.SIGSEGV)
    assert (os.WTERMSIG(dumped), os.WCOREDUMP(dumped)) == (signal.SIGSEGV, True)
    event = wait_status(os.CLD_TRAPPED, ptrace.EVENT_EXEC << 8 | signal.SIGTRAP)
    assert (os.WIFSTOPPED(event), os.WSTOPSIG(event), event >> 16) == (True, signal.SIGTRAP, ptrace.EVENT_EXEC)
    assert wait_status(os.CLD_STOPPED, signal.SIGSTOP) == signal.SIGSTOP << 8 | 0x7F


def test_both_ways_of_asking_tell_the_same_of_a_stop_and_of_an_end():
    with seized(lambda _: 5, exits=True) as found:
        for _ in range(3):
            found.go()
        ptrace.restart(ptrace.PTRACE_CONT, found.pid, 0)
        for _ in range(2):
            seen = os.waitid(os.P_PID, found.pid, os.WEXITED | os.WNOWAIT | WALL)
            status = os.waitpid(found.pid, WALL)[1]
            assert wait_status(seen.si_code, seen.si_status) == status
            ptrace.restart(ptrace.PTRACE_CONT, found.pid, 0)


def until_reaped(looking, pid):
    """Wait, without reaping, until somebody has reaped a child."""
    while True:
        try:
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        except ChildProcessError:
            return
        os.sched_yield()


def test_it_reaps_what_has_died_and_keeps_the_statuses(monkeypatch):
    monkeypatch.setattr(reaper, "PATIENCE", 0.0)
    looking = Reaper()
    with target(lambda _: 4) as one, target(lambda _: os.kill(os.getpid(), signal.SIGTERM)) as two:
        looking.start()
        looking.start()
        one.go()
        two.go()
        until_reaped(looking, one.pid)
        until_reaped(looking, two.pid)
    looking.stop()
    assert sorted(looking.statuses) == sorted([(one.pid, 4 << 8), (two.pid, int(signal.SIGTERM))])


def test_it_goes_on_while_there_are_no_children(monkeypatch):
    monkeypatch.setattr(reaper, "PATIENCE", 0.0)

    def look():
        looks = threading.Semaphore(0)
        asked = os.waitid

        def counted(*arguments):
            looks.release()
            return asked(*arguments)

        os.waitid = counted
        looking = Reaper()
        looking.start()
        for _ in range(3):
            looks.acquire()
        looking.stop()
        return looking.statuses

    assert isolated(look) == []


def test_what_was_never_started_is_stopped_too():
    looking = Reaper()
    looking.stop()
    with zombie() as pid:
        assert looking.statuses == []
        assert os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT).si_pid == pid
