import ctypes
import os
import signal
import threading

import pytest

from tests.children import libc
from tests.kernel.seized import go_on, seized, wait
from tests.kernel.targets import WALL, target
from utraced.kernel import ptrace
from utraced.kernel.classify import classify, exit_status, syscall_stop
from utraced.model import Status
from utraced.syscalls.abi import AUDIT_ARCH_X86_64
from utraced.tracing.stops import (
    CloneStop,
    Death,
    EventStop,
    ExecStop,
    ExitStop,
    GroupStop,
    SignalStop,
    SyscallStop,
    VforkDoneStop,
)

NR_GETPPID = 110
NR_CLOSE = 3


def until(found, kind, request=ptrace.PTRACE_CONT):
    """Go on to the first stop of a kind, through those of other kinds."""
    found.go()
    while True:
        stop = classify(found.pid, go_on(found, request))
        if type(stop) is kind:
            return stop


def until_call(found, nr):
    while True:
        stop = until_stop(found)
        if stop.entering and stop.nr == nr:
            return stop


def until_stop(found):
    stop = classify(found.pid, go_on(found, ptrace.PTRACE_SYSCALL))
    assert type(stop) is SyscallStop
    return stop


def test_a_call_and_its_return():
    with seized(lambda _: os.getppid()) as found:
        found.go()
        entry = until_call(found, NR_GETPPID)
        assert (entry.tid, entry.arch, len(entry.args)) == (found.pid, AUDIT_ARCH_X86_64, 6)
        assert entry.pc
        assert entry.sp
        back = until_stop(found)
        assert not back.entering
        assert (back.result, back.failed) == (os.getpid(), False)
        assert back.time_ns >= entry.time_ns


def test_a_call_that_fails_returns_a_negative_number():
    with seized(lambda _: libc().close(-1) * 0) as found:
        found.go()
        entry = until_call(found, NR_CLOSE)
        assert entry.args[0] & 0xFFFF_FFFF == 0xFFFF_FFFF
        back = until_stop(found)
        assert (back.result, back.failed) == (-9, True)


def test_an_interrupted_thread_is_at_an_event_stop_and_at_no_call():
    with target() as found:
        ptrace.seize(found.pid)
        ptrace.call(ptrace.PTRACE_INTERRUPT, found.pid)
        stop = classify(found.pid, wait(found.pid))
        assert type(stop) is EventStop
        assert syscall_stop(found.pid) is None


def test_a_signal_and_the_stop_that_it_causes():
    with seized() as found:
        os.kill(found.pid, signal.SIGSTOP)
        stop = classify(found.pid, go_on(found))
        assert type(stop) is SignalStop
        assert (stop.signal, stop.code) == (signal.SIGSTOP, 0)
        group = classify(found.pid, go_on(found, signal=signal.SIGSTOP))
        assert type(group) is GroupStop
        assert group.signal == signal.SIGSTOP
        assert ptrace.attempt(ptrace.PTRACE_LISTEN, found.pid)
        os.kill(found.pid, signal.SIGCONT)
        # The end of a group-stop is told as an event stop.
        assert type(classify(found.pid, wait(found.pid))) is EventStop


def test_a_real_time_signal_with_its_value():
    with seized() as found:
        libc().sigqueue(found.pid, signal.SIGRTMIN + 3, ctypes.c_void_p(77))
        stop = classify(found.pid, go_on(found))
        assert (stop.signal, stop.code) == (signal.SIGRTMIN + 3, -1)
        assert len(stop.info) == 128
        assert int.from_bytes(stop.info[24:32], "little") == 77


def test_a_new_thread():
    def act(side):
        threading.Thread(target=side.wait, daemon=True).start()

    with seized(act) as found:
        stop = until(found, CloneStop)
        assert (stop.how, stop.is_thread) == ("thread", True)
        assert stop.child in {int(name) for name in os.listdir(f"/proc/{found.pid}/task")}


def test_a_new_process():
    def act(_):
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)

    with seized(act) as found:
        stop = until(found, CloneStop)
        assert (stop.how, stop.is_thread) == ("fork", False)
        # The child is ours too: it waits to be let go.
        assert type(classify(stop.child, wait(stop.child))) is EventStop
        ptrace.call(ptrace.PTRACE_DETACH, stop.child)


def test_a_vfork_and_its_end():
    with seized(lambda _: os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)[1]) as found:
        stop = until(found, CloneStop)
        assert (stop.how, stop.is_thread) == ("vfork", False)
        wait(stop.child)
        ptrace.call(ptrace.PTRACE_DETACH, stop.child)
        done = classify(found.pid, go_on(found))
        assert type(done) is VforkDoneStop
        assert done.child == stop.child


def test_a_child_made_by_clone_without_a_flag_of_a_thread_is_a_process():
    def act(_):
        pid = libc().syscall(56, 0, 0, 0, 0, 0)
        if pid == 0:
            os._exit(0)

    with seized(act) as found:
        stop = until(found, CloneStop)
        assert (stop.how, stop.is_thread) == ("fork", False)
        wait(stop.child)
        ptrace.call(ptrace.PTRACE_DETACH, stop.child)


def test_an_exec_tells_the_program_and_who_called_it():
    with seized(lambda _: os.execv("/bin/true", ["true"])) as found:
        stop = until(found, ExecStop)
        assert (stop.former_tid, stop.path) == (found.pid, os.path.realpath("/bin/true").encode())


def test_an_exec_by_another_thread_takes_over_the_tid_of_the_leader():
    def act(side):
        threading.Thread(target=os.execv, args=("/bin/true", ["true"])).start()
        side.wait()

    with seized(act) as found:
        clone = until(found, CloneStop)
        wait(clone.child)
        assert ptrace.restart(ptrace.PTRACE_CONT, clone.child, 0)
        assert ptrace.restart(ptrace.PTRACE_CONT, found.pid, 0)
        while True:
            tid, status = os.waitpid(-1, WALL)
            stop = classify(tid, status)
            if type(stop) is ExecStop:
                break
            raise AssertionError(stop)  # the leader is gone without a word
        assert (stop.tid, stop.former_tid) == (found.pid, clone.child)


@pytest.mark.parametrize(
    ("act", "expected"),
    [
        (lambda _: 7, Status(code=7)),
        (lambda _: os.kill(os.getpid(), signal.SIGTERM), Status(signal="SIGTERM", core_dumped=False)),
    ],
    ids=["code", "signal"],
)
def test_the_exit_and_the_death(act, expected):
    with seized(act, exits=True) as found:
        found.go()
        status = go_on(found)
        stop = classify(found.pid, status)
        if type(stop) is SignalStop:
            stop = classify(found.pid, go_on(found, signal=stop.signal))
        assert type(stop) is ExitStop
        assert stop.status == expected
        death = classify(found.pid, go_on(found))
        assert type(death) is Death
        assert death.status == expected


def test_a_core_dump_is_told_from_the_status():
    assert exit_status(signal.SIGSEGV | 0x80) == Status(signal="SIGSEGV", core_dumped=True)
    assert exit_status(255 << 8) == Status(code=255)


def statuses(found):
    """Statuses of each kind of stop."""
    return [
        ptrace.EVENT_STOP << 16 | signal.SIGTRAP << 8 | 0x7F,
        ptrace.EVENT_EXEC << 16 | signal.SIGTRAP << 8 | 0x7F,
        ptrace.EVENT_CLONE << 16 | signal.SIGTRAP << 8 | 0x7F,
        ptrace.EVENT_EXIT << 16 | signal.SIGTRAP << 8 | 0x7F,
        ptrace.EVENT_VFORK_DONE << 16 | signal.SIGTRAP << 8 | 0x7F,
        signal.SIGUSR1 << 8 | 0x7F,
        (signal.SIGTRAP | 0x80) << 8 | 0x7F,
    ]


def test_what_was_killed_since_is_at_no_stop():
    with seized() as found:
        os.kill(found.pid, signal.SIGKILL)
        assert [classify(found.pid, status) for status in statuses(found)] == [None] * 7


@pytest.mark.parametrize("name", ["signal_info", "event_message"])
def test_what_is_killed_between_two_questions_is_at_no_stop(name, monkeypatch):
    with seized() as found:
        asked = getattr(ptrace, name)

        def killed(tid):
            os.kill(tid, signal.SIGKILL)
            return asked(tid)

        monkeypatch.setattr(ptrace, name, killed)
        event = 0 if name == "signal_info" else ptrace.EVENT_EXEC
        assert classify(found.pid, event << 16 | signal.SIGTRAP << 8 | 0x7F) is None


def test_what_is_killed_and_has_gone_on_to_its_exit_is_at_no_stop_before():
    def act(_):
        if os.fork() == 0:
            os._exit(0)

    with seized(act, exits=True) as found:
        found.go()
        status = go_on(found)
        clone = classify(found.pid, status)
        assert type(clone) is CloneStop
        wait(clone.child)
        ptrace.call(ptrace.PTRACE_DETACH, clone.child)
        os.kill(found.pid, signal.SIGKILL)
        os.waitid(os.P_PID, found.pid, os.WEXITED | os.WSTOPPED | os.WNOWAIT | WALL)
        # Its message is its status now: no child has that number.
        assert ptrace.event_message(found.pid) == signal.SIGKILL
        for before in (status, signal.SIGUSR1 << 8 | 0x7F, (signal.SIGTRAP | 0x80) << 8 | 0x7F):
            assert classify(found.pid, before) is None
        end = classify(found.pid, wait(found.pid))
        ptrace.restart(ptrace.PTRACE_CONT, found.pid, 0)
        assert type(end) is ExitStop
        assert end.status.signal == "SIGKILL"


def test_an_event_that_we_did_not_ask_for_is_no_stop_of_ours():
    with seized() as found:
        assert classify(found.pid, 7 << 16 | signal.SIGTRAP << 8 | 0x7F) is None
