import ctypes
import mmap
import os
import shutil
import subprocess

import anyio
import msgspec
import pytest

from tests.children import (
    NOBODY,
    as_user,
    become,
    child,
    ended,
    libc,
    needs_root,
    own_program,
    set_name,
    zombie,
)
from tests.handlers.contexts import context
from utraced.api.map_records import unpack
from utraced.api.process import Details, Info, List, Mapped, Maps, Processes
from utraced.errors import NoSuchProcess
from utraced.handlers import process as handlers
from utraced.handlers.context import WithDescriptors
from utraced.kernel.maps import read_maps
from utraced.kernel.proc import Process
from utraced.model import Hex, decode_hook, encode_json, schema_hook

HANDLER = {List: handlers.list_processes, Info: handlers.info, Maps: handlers.maps}


def call(params, *fds):
    """Return what the handler answers, having been through the wire format."""

    async def run():
        return await HANDLER[type(params)](params, context(*fds))

    answer = anyio.run(run)
    value = answer.value if isinstance(answer, WithDescriptors) else answer
    packet = encode_json(value)
    assert len(packet) < 200_000
    assert msgspec.json.decode(packet, type=type(params).result, dec_hook=decode_hook) == value
    return answer


# process.list


def test_list_a_tree():
    with child(lambda: set_name(b"a) b\n")) as pid, zombie() as dead:
        found = {process.pid: process for process in call(List(root=os.getpid())).processes}
        assert found.keys() == {pid, dead}
        first, second = found[pid], found[dead]
        assert first.parent == os.getpid()
        assert first.uid == os.getuid()
        assert "pytest" in first.command
        assert (second.state, second.command[0], second.traced_by) == ("zombie", "[", None)
        with Process(pid) as process:
            assert process.stat().start_time == first.start_time


def test_list_without_its_root():
    with pytest.raises(NoSuchProcess):
        call(List(root=ended()))


def test_pages_of_the_list_meet_without_overlap():
    with child() as one, child() as two, child() as three:
        found, cursor = [], min(one, two, three)
        while cursor is not None:
            page = call(List(root=os.getpid(), cursor=cursor, limit=1))
            found += [process.pid for process in page.processes]
            cursor = page.next
        assert found == sorted([one, two, three])


def test_the_tracer_in_list_and_info():
    def seize(pid):
        set_name(b"my tracer")
        assert libc().ptrace(0x4206, pid, 0, 0) == 0

    with child() as pid, child(lambda: seize(pid)) as tracer:
        details = call(Info(pid=pid))
        [listed] = call(List(root=pid)).processes
    assert details.tracer == listed.traced_by
    assert (details.tracer.pid, details.tracer.comm) == (tracer, "my tracer")


# process.info


def test_info_of_a_child():
    with child(lambda: set_name(b"a) \xff")) as pid:
        details = call(Info(pid=pid))
        assert call(Info(pidfd=0), os.pidfd_open(pid)).start_time == details.start_time
    assert (details.pid, details.parent) == (pid, os.getpid())
    assert (details.name, details.name_bytes) == ("a) \\xff", b"a) \xff")
    assert details.exe == os.path.realpath("/proc/self/exe")
    assert not details.exe_deleted
    assert (details.cwd, details.root) == (os.getcwd(), "/")
    assert details.argv_bytes is None
    assert (details.users.real, details.groups.saved) == (os.getuid(), os.getgid())
    assert (details.threads, details.kernel_thread, details.withheld) == (1, False, None)
    assert details.namespaces["pid"] == os.stat("/proc/self/ns/pid").st_ino
    assert details.memory.virtual >= details.memory.resident > 1_000_000
    assert details.memory.anonymous + details.memory.file + details.memory.shared == details.memory.resident
    assert details.tracer is None


def test_info_of_a_zombie():
    with zombie() as pid:
        details = call(Info(pid=pid))
    assert details.state == "zombie"
    assert (details.argv, details.exe, details.cwd, details.memory, details.withheld) == ((), None, None, None, None)


@needs_root
def test_info_of_a_thread_of_the_kernel():
    details = call(Info(pid=2))
    assert details.kernel_thread
    assert (details.name, details.exe, details.memory) == ("kthreadd", None, None)


def run_copy(path):
    """Start a copy of sleep under this name; it ends with its standard input."""
    shutil.copy("/bin/cat", path)
    process = subprocess.Popen([path, "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdin.write(b"x")
    process.stdin.flush()
    process.stdout.read(1)
    return process


@pytest.mark.parametrize("name", ["program", "program (deleted)", "pro\ngram"])
@pytest.mark.parametrize("deleted", [False, True])
def test_info_of_a_program_that_is_deleted_or_only_says_so(tmp_path, name, deleted):
    path = str(tmp_path / name)
    with run_copy(path) as process:
        if deleted:
            os.unlink(path)
        details = call(Info(pid=process.pid))
        process.stdin.close()
        process.stdout.read()
    assert (details.exe, details.exe_deleted) == (path, deleted)
    assert details.argv == (path, "-")


def test_info_of_a_program_that_was_replaced(tmp_path):
    path = str(tmp_path / "program")
    with run_copy(path) as process:
        shutil.copy("/bin/true", path + ".new")
        os.rename(path + ".new", path)
        details = call(Info(pid=process.pid))
        process.stdin.close()
        process.stdout.read()
    assert (details.exe, details.exe_deleted) == (path, True)


def test_info_of_hostile_and_of_too_many_arguments():
    def start(*arguments):
        process = subprocess.Popen(
            [b"sh", b"-c", b"echo; read x", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        process.stdout.readline()
        return process

    with start(b"a\xff", b"", b"\n\x01") as process:
        details = call(Info(pid=process.pid))
        process.stdin.close()
    assert details.argv == ("sh", "-c", "echo; read x", "a\\xff", "", "\n\x01")
    assert details.argv_bytes == (b"sh", b"-c", b"echo; read x", b"a\xff", b"", b"\n\x01")
    assert not details.argv_truncated
    for argument, count in ((b"\xff" * 1000, 200), (b"x" * 100_000, 3), (b"", 60_000)):
        with start(*[argument] * count) as process:
            details = call(Info(pid=process.pid))
            process.stdin.close()
        assert details.argv_truncated
        assert details.argv[0] == "sh"


@needs_root
@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (lambda: None, "not_owner"),
        (lambda: own_program(NOBODY, 1), "group_differs"),
        (lambda: become(NOBODY), "not_dumpable"),
    ],
    ids=["not_owner", "group_differs", "not_dumpable"],
)
def test_info_of_others_is_what_everybody_may_know(prepare, reason):
    with child(prepare) as pid:

        def ask():
            details = call(Info(pid=pid))
            return details.withheld.reason, details.exe, details.namespaces, details.name, bool(details.argv)

        name = call(Info(pid=pid)).name
        assert as_user(ask) == (reason, None, None, name, True)


# process.maps


def test_maps_are_those_of_the_kernel():
    with child() as pid:
        answer = call(Maps(pid=pid))
        with Process(pid) as process:
            expected = read_maps(process)
    assert [(each.start, each.end, each.perms) for each in answer.maps] == [each[:3] for each in expected]
    assert answer.next is None
    stack = next(each for each in answer.maps if each.path == "[stack]")
    assert (stack.dev, stack.inode, stack.deleted) == ("00:00", 0, False)
    assert b'"start":"0x' in encode_json(answer)


def many_maps():
    """Have some 8,000 mappings: neighbours with different rights do not merge."""
    for number in range(8000):
        libc().mmap(None, ctypes.c_size_t(4096), 1 + 2 * (number & 1), 0x22, -1, ctypes.c_long(0))


def test_pages_of_maps_meet_without_overlap():
    with child(many_maps) as pid:
        whole, cursor, pages = [], None, 0
        while True:
            page = call(Maps(pid=pid, cursor=cursor))
            whole += page.maps
            pages += 1
            if page.next is None:
                break
            cursor = page.next
        with Process(pid) as process:
            assert [each.start for each in whole] == [each.start for each in read_maps(process)]
        assert 3 < pages < 20
        inside = call(Maps(pid=pid, cursor=Hex(whole[5].start + 1), limit=2))
        assert inside.maps == tuple(whole[5:7])
        assert inside.next == whole[7].start


def test_maps_as_a_file():
    with child(many_maps) as pid:
        answer = call(Maps(pid=pid, form="fd"))
        with Process(pid) as process:
            expected = read_maps(process)
        with mmap.mmap(answer.fds[0], answer.value.size, mmap.MAP_SHARED, mmap.PROT_READ) as view:
            assert list(unpack(memoryview(view).toreadonly())) == expected
        assert (answer.value.fd, answer.value.count, answer.value.next) == (0, len(expected), None)
        assert os.fstat(answer.fds[0]).st_size == answer.value.size
        with pytest.raises(PermissionError):
            os.ftruncate(answer.fds[0], 0)
        part = call(Maps(pid=pid, form="fd", cursor=Hex(expected[3].start), limit=4))
        assert list(unpack(os.read(part.fds[0], part.value.size))) == expected[3:7]
        assert part.value.next == expected[7].start
    for fd in answer.fds + part.fds:
        os.close(fd)


def test_as_is_called_as_on_the_wire():
    assert msgspec.json.decode(b'{"pid":1,"as":"fd"}', type=Maps).form == "fd"


def test_maps_of_a_zombie():
    with zombie() as pid:
        assert call(Maps(pid=pid)).maps == ()


@needs_root
def test_maps_of_others_are_denied_with_the_reason():
    with child() as pid:

        def ask():
            try:
                call(Maps(pid=pid))
            except Exception as error:
                return type(error).__name__, error.data["reason"]
            return None

        assert as_user(ask) == ("PermissionDenied", "not_owner")


def test_a_process_that_ends_between_request_and_thread():
    with child() as pid:
        waiting = handlers.maps(Maps(pid=pid), context())

    async def run():
        await waiting

    with pytest.raises(NoSuchProcess):
        anyio.run(run)


@pytest.mark.parametrize("kind", [Details, Mapped, Processes])
def test_results_have_a_schema(kind):
    assert msgspec.json.schema(kind, schema_hook=schema_hook)["$defs"]
