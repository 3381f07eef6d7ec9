import os
import signal
import subprocess

import pytest

from tests.children import NOBODY, as_user, become, child, ended, fork, needs_root, own_program, set_name, zombie
from utraced.errors import NoSuchProcess
from utraced.kernel.process_list import COMMAND_SIZE, pids, subtree, traceable


def test_all_processes_in_order():
    with child() as pid:
        found = pids()
        assert found == sorted(found)
        assert {pid, os.getpid()} <= set(found)


def test_a_subtree_has_children_of_children():
    reading, writing = os.pipe()

    def prepare():
        grandchild = fork()
        if grandchild == 0:
            signal.pause()
        os.write(writing, str(grandchild).encode())

    with child() as other, child(prepare) as pid:
        grandchild = int(os.read(reading, 20))
        assert subtree(pid) == sorted([pid, grandchild])
        assert {pid, grandchild, other, os.getpid()} <= set(subtree(os.getpid()))
        os.kill(grandchild, signal.SIGKILL)
    os.close(reading)
    os.close(writing)


def test_no_subtree_without_its_root():
    with pytest.raises(NoSuchProcess):
        subtree(ended())


def test_what_is_listed():
    with child() as pid, zombie() as dead:
        found = {listed.stat.pid: listed for listed in traceable([ended(), pid, dead, os.getpid()])}
    assert found.keys() == {pid, dead}
    assert found[pid].uid == os.getuid()
    assert (found[pid].tracer, found[pid].tracer_comm) == (0, None)
    assert b"pytest" in found[pid].command
    assert found[dead].stat.state == "zombie"
    assert found[dead].command == b"[" + found[dead].stat.comm + b"]"


def test_a_long_command_is_cut():
    script = f": {'x' * 9000}; echo go; read never"
    with subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as shell:
        assert shell.stdout.readline() == b"go\n"
        [listed] = traceable([shell.pid])
        shell.stdin.close()
    assert listed.command.startswith(b"sh -c : xxx")
    assert len(listed.command) == COMMAND_SIZE


@needs_root
def test_a_user_sees_what_he_may_trace():
    with (
        child(own_program) as own,
        child(lambda: own_program(1000)) as foreign,
        child() as roots,
        child(lambda: own_program(NOBODY, 1000)) as group,
        child(lambda: become(NOBODY)) as guarded,
    ):
        everybody = [own, foreign, roots, group, guarded]
        assert as_user(lambda: [listed.stat.pid for listed in traceable(everybody)]) == [own]
        assert [listed.stat.pid for listed in traceable(everybody)] == everybody


@needs_root
def test_threads_of_the_kernel_are_not_listed():
    assert not any(listed.stat.kernel_thread for listed in traceable(pids()))


def test_hostile_names_stay_bytes():
    def prepare():
        set_name(b"a) Z (\n\xff")

    with child(prepare) as pid:
        [listed] = traceable([pid])
        assert listed.stat.comm == b"a) Z (\n\xff"
        assert listed.stat.state in {"running", "sleeping"}
