import os
import threading

import pytest

from tests.children import child, ended, zombie
from tests.handlers.contexts import context
from utraced.api.daemon import Check
from utraced.api.process import Info
from utraced.errors import InvalidParams, NoSuchProcess
from utraced.handlers.target import resolve, resolve_any
from utraced.kernel.proc import Process


def start_of(pid):
    with Process(pid) as process:
        return process.stat().start_time


def test_a_pid_and_a_pidfd_name_the_same():
    with child() as pid:
        expected = (pid, start_of(pid))
        assert resolve(Info(pid=pid), context()) == expected
        assert resolve(Info(pidfd=0), context(os.pidfd_open(pid))) == expected
        assert resolve(Info(pidfd=1), context(-1, os.pidfd_open(pid))) == expected


def test_a_zombie_is_still_a_process():
    with zombie() as pid:
        assert resolve(Info(pid=pid), context()).pid == pid
        pidfd = os.pidfd_open(pid)
        kept = os.dup(pidfd)
        assert resolve(Info(pidfd=0), context(pidfd)).pid == pid
    with pytest.raises(NoSuchProcess):
        resolve(Info(pid=pid), context())
    with pytest.raises(NoSuchProcess):
        resolve(Info(pidfd=0), context(kept))


def test_the_start_time_must_match():
    with child() as pid:
        start = start_of(pid)
        for named, fds in (
            (Info(pid=pid, start_time=start), ()),
            (Info(pidfd=0, start_time=start), (os.pidfd_open(pid),)),
        ):
            assert resolve(named, context(*fds)).start_time == start
        with pytest.raises(NoSuchProcess, match="another"):
            resolve(Info(pid=pid, start_time=start + 1), context())
        with pytest.raises(NoSuchProcess, match="another"):
            resolve(Info(pidfd=0, start_time=0), context(os.pidfd_open(pid)))


def test_exactly_one_of_both():
    with pytest.raises(InvalidParams):
        resolve(Info(), context())
    with pytest.raises(InvalidParams):
        resolve(Info(pid=1, pidfd=0), context(os.pidfd_open(os.getpid())))


def test_no_descriptor_there_or_no_pidfd():
    with pytest.raises(InvalidParams):
        resolve(Info(pidfd=0), context())
    reading, writing = os.pipe()
    with pytest.raises(InvalidParams, match="no pidfd"):
        resolve(Info(pidfd=0), context(writing))
    # It was ours, so it is closed.
    assert os.read(reading, 1) == b""
    os.close(reading)


def test_a_process_that_never_was_and_a_thread():
    with pytest.raises(NoSuchProcess):
        resolve(Info(pid=ended()), context())
    go, started, tids = threading.Event(), threading.Event(), []

    def wait():
        tids.append(threading.get_native_id())
        started.set()
        go.wait()

    thread = threading.Thread(target=wait)
    thread.start()
    started.wait()
    with pytest.raises(NoSuchProcess, match="thread"):
        resolve(Info(pid=tids[0]), context())
    go.set()
    thread.join()


def test_where_none_need_be_named():
    assert resolve_any(Check(), context()) is None
    with child() as pid:
        assert resolve_any(Check(pid=pid), context()) == resolve(Info(pid=pid), context())
        assert resolve_any(Check(pidfd=0), context(os.pidfd_open(pid))).pid == pid
        with pytest.raises(InvalidParams) as told:
            resolve_any(Check(start_time=start_of(pid)), context())
    assert told.value.data["member"] == "start_time"
