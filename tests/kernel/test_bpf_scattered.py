"""What arrays of pointers lead to, with real calls."""

from __future__ import annotations

import array
import contextlib
import ctypes
import os
import socket
import struct
from signal import SIGCHLD

from tests.children import libc
from tests.kernel.test_bpf_captures import recorded
from utraced.syscalls.calls.cloning import CLONE_PARENT_SETTID, CLONE_PIDFD


def test_the_arguments_of_a_program() -> None:
    entry, _ = recorded("execve", lambda: os.execve("/bin/true", ["true", "", "y" * 50], {"A": "1", "B": "2"}))
    path, arguments, environment, *strings = entry.memory
    assert path.data == b"/bin/true"
    assert [one.data for one in strings] == [b"true", b"", b"y" * 33]
    pointers = struct.unpack_from("<4Q", arguments.data)
    assert [one.address for one in strings] == list(pointers[:3])
    assert pointers[3] == 0
    assert struct.unpack_from("<3Q", environment.data)[2] == 0


def test_scattered_buffers() -> None:
    null = os.open("/dev/null", os.O_WRONLY)
    entry, _ = recorded("writev", lambda: os.writev(null, [b"one", b"", b"three"]))
    array, *buffers = entry.memory
    assert [one.data for one in buffers] == [b"one", b"three"]
    assert struct.unpack_from("<Q", array.data)[0] == buffers[0].address


def test_scattered_buffers_are_filled_as_far_as_the_result_says() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"abcdef")
    _, exit_ = recorded("readv", lambda: os.readv(reading, [bytearray(4), bytearray(4)]))
    assert [one.data for one in exit_.memory[1:]] == [b"abcd", b"ef"]


def datagrams() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)


def test_all_of_a_message_that_is_sent() -> None:
    ours, theirs = datagrams()
    with ours, theirs, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [ours.fileno()]))]
        entry, _ = recorded("sendmsg", lambda: ours.sendmsg([b"one", b"three"], rights))
        header, control, buffers, *contents = entry.memory
        fields = struct.unpack_from("<QI4xQQQQ", header.data)
        assert fields[:2] == (0, 0)
        assert (fields[2], fields[4]) == (buffers.address, control.address)
        assert struct.unpack_from("<QII", control.data) == (20, socket.SOL_SOCKET, socket.SCM_RIGHTS)
        assert len(buffers.data) == 32
        assert [one.data for one in contents] == [b"one", b"three"]
        entry, _ = recorded("sendmsg", lambda: other.sendmsg([b"x"], [], 0, ("127.0.0.1", 9)))
        assert entry.memory[1].data[:8] == struct.pack("<H", socket.AF_INET) + struct.pack(">H4B", 9, 127, 0, 0, 1)


def test_all_of_a_message_that_is_received_as_far_as_the_result_says() -> None:
    ours, theirs = datagrams()
    with ours, theirs:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [ours.fileno()]))]
        ours.sendmsg([b"abcdef"], rights)
        _, leave = recorded("recvmsg", lambda: theirs.recvmsg_into([bytearray(4), bytearray(40)], 100))
        header, control, buffers, *contents = leave.memory
        assert leave.numbers == (6,)
        assert struct.unpack_from("<Q", control.data) == (20,)
        assert len(buffers.data) == 32
        assert [one.data for one in contents] == [b"abcd", b"ef"]
        assert len(header.data) == 56


def test_of_a_message_that_did_not_come_nothing_is_copied() -> None:
    ours, theirs = datagrams()
    with ours, theirs:
        theirs.setblocking(False)

        def receive() -> None:
            with contextlib.suppress(BlockingIOError):
                theirs.recvmsg(10)

        _, leave = recorded("recvmsg", receive)
        assert (leave.numbers, leave.memory) == ((-11,), [])


def test_where_a_clone_puts_numbers() -> None:
    pidfd, parent = ctypes.c_int(), ctypes.c_int()
    reading, writing = os.pipe()
    where = [ctypes.addressof(number) for number in (pidfd, parent)]
    args = struct.pack("<11Q", CLONE_PIDFD | CLONE_PARENT_SETTID, where[0], 0, where[1], SIGCHLD, *[0] * 6)

    def clone() -> None:
        pid = libc().syscall(435, args, len(args))
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        os.write(writing, bytes(pidfd))

    _, leave = recorded("clone3", clone)
    found = {one.address: one.data for one in leave.memory}
    assert found[where[0]] == os.read(reading, 4)
    assert int.from_bytes(found[where[1]], "little") == leave.numbers[0] > 0
