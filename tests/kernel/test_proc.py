import os
import threading

import pytest

from tests.children import child, ended, needs_root, own_program, set_name, zombie
from utraced.errors import NoSuchProcess
from utraced.kernel.proc import (
    MISSED,
    STATES,
    Process,
    asked_again,
    comm_of,
    parse_stat,
    parse_status,
    split_strings,
)

HOSTILE = [b"a b", b") S 1 1 (", b"((((", b"new\nline", b"\xff\xfe", b"back\\slash", b"", b"Uid:\t0\t0", b"a\rVmX:"]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_process_may_call_itself_what_it_likes(name):
    with child(lambda: set_name(name)) as pid, Process(pid) as process:
        stat, status = process.stat(), process.status()
        assert stat.comm == name
        assert (stat.pid, stat.parent) == (pid, os.getpid())
        assert stat.state in {"running", "sleeping"}
        assert (stat.threads, stat.kernel_thread) == (1, False)
        assert (stat.process_group, stat.session) == (os.getpgrp(), os.getsid(0))
        assert (status.process, status.tracer) == (pid, 0)
        assert status.users == (os.getuid(),) * 4
        assert comm_of(pid) == name


def test_start_time_and_memory_of_ourselves():
    with Process(os.getpid()) as process:
        stat, status = process.stat(), process.status()
    assert stat.start_time > 0
    assert status.memory["VmSize"] >= status.memory["VmRSS"] > 1_000_000
    assert status.supplementary_groups == tuple(sorted(os.getgroups()))


def test_a_zombie_has_a_name_and_nothing_else():
    with zombie() as pid, Process(pid) as process:
        assert process.stat().state == "zombie"
        assert process.status().memory == {}
        assert process.arguments() == ()
        assert process.read("maps") == b""
        assert process.link("exe") is None
        assert process.details("exe") is None
        # The file belongs to root, who finds that there is no memory to read.
        with pytest.raises((NoSuchProcess, PermissionError)):
            process.read("environ")


@needs_root
def test_a_thread_of_the_kernel():
    kernel = next(pid for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))) if comm_of(pid) == b"kthreadd")
    with Process(kernel) as process:
        assert process.stat().kernel_thread
        assert process.arguments() == ()
        assert process.link("exe") is None
        assert process.status().memory == {}


def test_what_has_ended_stays_ended():
    with pytest.raises(NoSuchProcess):
        Process(ended())
    with zombie() as pid:
        process = Process(pid)
    for look in (
        process.stat,
        process.status,
        process.arguments,
        lambda: process.link("exe"),
        lambda: process.details("ns/user"),
        lambda: process.open("maps"),
    ):
        with pytest.raises(NoSuchProcess):
            look()
    process.close()
    assert comm_of(pid) is None


def test_a_reused_pid_is_no_such_process():
    with child() as pid:
        with Process(pid) as process:
            start = process.stat().start_time
        with Process(pid, start) as process:
            assert process.pid == pid
        before = os.listdir("/proc/self/fd")
        with pytest.raises(NoSuchProcess, match="another"):
            Process(pid, start + 1)
        assert os.listdir("/proc/self/fd") == before


def test_a_process_that_ends_while_it_is_read():
    """Whatever moment it is, the answer is a value or NoSuchProcess."""
    seen = []
    for _ in range(30):
        go = threading.Event()
        with child() as pid:
            process = Process(pid)

            def look(process=process, go=go):
                go.set()
                while True:
                    try:
                        process.stat(), process.status(), process.arguments(), process.link("exe")
                    except NoSuchProcess:
                        return
                    except BaseException as error:
                        seen.append(error)
                        return

            thread = threading.Thread(target=look)
            thread.start()
            go.wait()
        thread.join()
        process.close()
    assert seen == []


@needs_root
def test_ids_of_another_user():
    def prepare():
        os.setgroups([5, 6])
        os.setresgid(11, 12, 13)
        os.setresuid(1, 2, 3)

    with child(prepare) as pid, Process(pid) as process:
        status = process.status()
    assert status.users == (1, 2, 3, 2)
    assert status.groups == (11, 12, 13, 12)
    assert status.supplementary_groups == (5, 6)
    assert (status.effective, status.permitted != 0) == (0, False)


@needs_root
def test_arguments_are_cut_where_asked():
    with child(own_program) as pid, Process(pid) as process:
        whole = process.arguments()
        assert whole
        assert process.arguments(3) == (whole[0][:3],)
        assert b"\0".join(whole) + b"\0" == process.read("cmdline")


@pytest.mark.parametrize(
    ("data", "strings"),
    [
        (b"", ()),
        (b"\0", (b"",)),
        (b"a\0", (b"a",)),
        (b"a\0\0", (b"a", b"")),
        (b"a\0b c\0", (b"a", b"b c")),
        (b"overwritten title", (b"overwritten title",)),
    ],
)
def test_strings(data, strings):
    assert split_strings(data) == strings


@pytest.mark.parametrize(("letter", "word"), [*STATES.items(), ("?", "unknown")])
def test_states(letter, word):
    stat = parse_stat(b"1 (x) " + letter.encode() + b" 0 1 1 0 -1 4194560 " + b"0 " * 10 + b"1 0 99 0")
    assert (stat.state, stat.start_time, stat.threads) == (word, 99, 1)


def test_kernels_that_tell_less():
    status = parse_status(
        b"Name:\tx\nTgid:\t7\nTracerPid:\t0\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t\nCapPrm:\tff\nCapEff:\t0f\n"
    )
    assert (status.no_new_privs, status.seccomp, status.memory) == (False, 0, {})
    assert (status.permitted, status.effective) == (255, 15)


def test_a_process_is_asked_again_that_is_there() -> None:
    answers = iter((NoSuchProcess("not now"), NoSuchProcess("not now"), 5))

    def ask() -> int:
        answer = next(answers)
        if isinstance(answer, NoSuchProcess):
            raise answer
        return answer

    assert asked_again(os.getpid(), ask) == 5


@pytest.mark.parametrize(("pid", "times"), [(4_194_304, 1), (os.getpid(), MISSED + 1)])
def test_a_process_that_is_gone_is_not_or_not_for_ever(pid: int, times: int) -> None:
    asked = []

    def ask() -> int:
        asked.append(pid)
        raise NoSuchProcess("gone")

    with pytest.raises(NoSuchProcess, match="gone"):
        asked_again(pid, ask)
    assert len(asked) == times
