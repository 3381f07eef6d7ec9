import ctypes
import errno
import os
import signal

import pytest

from tests.children import ended, libc, zombie
from tests.kernel.seized import WALL, go_on, seized
from tests.kernel.targets import target
from tests.live.machine import tracer
from utraced.kernel import ptrace


def test_seizing_stops_nothing():
    with target(lambda side: side.say(b"free")) as found:
        ptrace.seize(found.pid)
        assert tracer(found.pid) == os.getpid()
        found.go()
        found.hear(b"free")


def test_who_cannot_be_seized():
    with pytest.raises(ProcessLookupError):
        ptrace.seize(ended())
    with zombie() as pid, pytest.raises(PermissionError):
        ptrace.seize(pid)
    with seized() as found, pytest.raises(PermissionError):
        ptrace.seize(found.pid)


def test_a_call_returns_its_value_or_raises_its_errno():
    with seized() as found:
        assert ptrace.call(ptrace.PTRACE_SETOPTIONS, found.pid, 0, ptrace.OPTIONS) == 0
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            ptrace.call(0x7777, found.pid)
    with pytest.raises(ProcessLookupError):
        ptrace.call(ptrace.PTRACE_CONT, found.pid)


def test_only_esrch_is_an_answer():
    with seized() as found:
        assert ptrace.attempt(ptrace.PTRACE_SETOPTIONS, found.pid, 0, ptrace.OPTIONS)
        with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
            ptrace.attempt(ptrace.PTRACE_SETOPTIONS, found.pid, 0, 1 << 30)
    assert not ptrace.attempt(ptrace.PTRACE_SETOPTIONS, found.pid, 0, ptrace.OPTIONS)


def test_every_question_to_who_is_gone_has_an_answer():
    pid = ended()
    assert ptrace.syscall_info(pid) is None
    assert ptrace.event_message(pid) is None
    assert ptrace.signal_info(pid) is None
    assert not ptrace.restart(ptrace.PTRACE_CONT, pid, 0)
    with pytest.raises(ProcessLookupError):
        ptrace.register_set(pid, 1, 512)
    with pytest.raises(ProcessLookupError):
        ptrace.peek_user(pid, 0)


def test_a_running_thread_is_answered_for_as_one_that_dies():
    with target() as found:
        ptrace.seize(found.pid)
        assert ptrace.syscall_info(found.pid) is None
        assert not ptrace.restart(ptrace.PTRACE_CONT, found.pid, 0)


def test_a_signal_comes_with_who_sent_it():
    with seized() as found:
        os.kill(found.pid, signal.SIGUSR1)
        assert go_on(found) == signal.SIGUSR1 << 8 | 0x7F
        info = ptrace.signal_info(found.pid)
        assert info is not None
        assert int.from_bytes(info[:4], "little") == signal.SIGUSR1
        assert int.from_bytes(info[16:20], "little") == os.getpid()


def test_a_signal_that_is_none_is_refused():
    with seized() as found, pytest.raises(OSError, match=os.strerror(errno.EIO)):
        ptrace.restart(ptrace.PTRACE_CONT, found.pid, 99)


def test_the_exit_message_is_asked_for_and_comes():
    with seized(lambda _: 3, exits=True) as found:
        found.go()
        assert go_on(found) >> 16 == ptrace.EVENT_EXIT
        assert ptrace.event_message(found.pid) == 3 << 8
        assert os.WEXITSTATUS(go_on(found)) == 3
    assert ptrace.options(exits=False) == ptrace.OPTIONS
    assert ptrace.options(exits=True) == ptrace.OPTIONS | ptrace.O_TRACEEXIT
    assert ptrace.options(exits=False, bound=True) == ptrace.OPTIONS | ptrace.O_TRACESECCOMP | ptrace.O_EXITKILL


def test_a_register_set_is_as_long_as_the_kernel_says():
    with seized() as found:
        assert len(ptrace.register_set(found.pid, 1, 4096)) == 27 * 8
        assert len(ptrace.register_set(found.pid, 1, 16)) == 16
        with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
            ptrace.register_set(found.pid, 0x9999, 16)


def test_a_word_of_minus_one_is_no_error():
    with seized() as found:
        words = [ptrace.peek_user(found.pid, 8 * index) for index in range(27)]
        registers = (ctypes.c_uint64 * 27)()
        ptrace.call(ptrace.PTRACE_GETREGS, found.pid, 0, ctypes.addressof(registers))
        assert words == list(registers)  # orig_rax among them, which is -1 where the thread is at no call
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            ptrace.peek_user(found.pid, 1 << 20)


def test_a_detached_target_is_free():
    with seized(lambda side: side.say(b"free")) as found:
        assert ptrace.attempt(ptrace.PTRACE_DETACH, found.pid)
        assert tracer(found.pid) == 0
        found.go()
        found.hear(b"free")
        assert os.waitpid(found.pid, WALL)[1] == 0


def test_the_information_of_a_signal_is_changed():
    with seized() as found:
        os.kill(found.pid, signal.SIGUSR1)
        go_on(found)
        info = ptrace.signal_info(found.pid)
        changed = info[:16] + (77).to_bytes(4, "little") + info[20:]
        ptrace.set_signal_info(found.pid, changed)
        assert ptrace.signal_info(found.pid) == changed
        # What is behind the part that the kernel keeps, it refuses where it does not know the code.
        strange = info[:8] + (99).to_bytes(4, "little") + info[12:48]
        ptrace.set_signal_info(found.pid, strange + b"!" * 80)
        assert ptrace.signal_info(found.pid) == strange + bytes(80)
    ptrace.set_signal_info(ended(), bytes(128))


def test_signals_that_wait_for_one_thread_are_seen():
    def act(side):
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGUSR2])
        side.say(b"blocked")
        side.wait()

    with target(act) as found:
        found.go()
        found.hear(b"blocked")
        ptrace.seize(found.pid)
        ptrace.call(ptrace.PTRACE_INTERRUPT, found.pid)
        os.waitpid(found.pid, WALL)
        assert ptrace.waiting_signals(found.pid) == []
        libc().syscall(234, found.pid, found.pid, signal.SIGUSR1)  # tgkill: for the thread alone
        os.kill(found.pid, signal.SIGUSR2)
        assert ptrace.waiting_signals(found.pid) == [(signal.SIGUSR1, -6)]
    assert ptrace.waiting_signals(ended()) == []
