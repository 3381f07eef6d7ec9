import os
import resource
import socket

import pytest

from tests.children import isolated
from utraced.linux.sockets import MAX_FDS, check_connected, receive, send


@pytest.fixture
def pair():
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with left, right:
        yield left, right


def close(fds):
    for fd in fds:
        os.close(fd)


def test_packets_stay_packets(pair):
    send(pair[0], b"one")
    send(pair[0], b"two")
    assert receive(pair[1], 100) == (b"one", (), False, False)
    assert receive(pair[1], 100) == (b"two", (), False, False)


def test_descriptors_arrive_in_order_and_close_on_exec(pair):
    files = [os.memfd_create(str(n)) for n in range(3)]
    send(pair[0], b"x", files)
    got = receive(pair[1], 100)
    assert [os.readlink(f"/proc/self/fd/{fd}") for fd in got.fds] == [f"/memfd:{n} (deleted)" for n in range(3)]
    assert not any(os.get_inheritable(fd) for fd in got.fds)
    close([*files, *got.fds])


@pytest.mark.parametrize(("size", "truncated"), [(99, False), (100, False), (101, True), (5000, True)])
def test_a_packet_may_be_as_large_as_allowed(pair, size, truncated):
    send(pair[0], b"x" * size)
    got = receive(pair[1], 100)
    assert (len(got.data), got.truncated) == (min(size, 100), truncated)
    send(pair[0], b"next")
    assert receive(pair[1], 100).data == b"next"


def test_a_truncated_packet_still_brings_its_descriptors(pair):
    send(pair[0], b"x" * 200, [0])
    got = receive(pair[1], 100)
    assert got.truncated
    assert len(got.fds) == 1
    close(got.fds)


def test_sixteen_descriptors_fit_and_more_are_told(pair):
    send(pair[0], b"x", [0] * MAX_FDS)
    got = receive(pair[1], 100)
    assert (len(got.fds), got.fds_truncated) == (MAX_FDS, False)
    close(got.fds)
    socket.send_fds(pair[0], [b"x"], [0] * (MAX_FDS + 4))
    got = receive(pair[1], 100)
    assert (len(got.fds), got.fds_truncated) == (MAX_FDS, True)
    close(got.fds)
    with pytest.raises(ValueError, match="at most 16"):
        send(pair[0], b"x", [0] * (MAX_FDS + 1))


def test_descriptors_beyond_the_process_limit_are_told(pair):
    send(pair[0], b"x", [0] * 10)

    def receive_with_few_left():
        # Which descriptors are open is the runner's affair: leave room for three above the highest.
        highest = max(map(int, os.listdir("/proc/self/fd")))
        for number in range(highest):
            try:
                os.fstat(number)
            except OSError:
                os.dup2(0, number)
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 4, highest + 4))
        got = receive(pair[1], 100)
        return len(got.fds), got.fds_truncated

    count, truncated = isolated(receive_with_few_left)
    assert truncated
    assert count < 10


def test_nothing_waits(pair):
    with pytest.raises(BlockingIOError):
        receive(pair[1], 100)


def test_a_full_socket_is_told(pair):
    def fill():
        while True:
            send(pair[0], b"x" * 1000)

    with pytest.raises(BlockingIOError):
        fill()


def test_the_end_of_the_stream_is_an_empty_packet_nobody_can_send(pair):
    with pytest.raises(ValueError, match="empty"):
        send(pair[0], b"")
    pair[0].close()
    assert receive(pair[1], 100) == (b"", (), False, False)
    with pytest.raises(BrokenPipeError):
        send(pair[1], b"x")


def test_a_connected_packet_socket_is_told_from_others(pair):
    check_connected(pair[0].fileno())
    pair[0].send(b"still open")
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as lonely,
        pytest.raises(ValueError, match="is not connected"),
    ):
        check_connected(lonely.fileno())
    with pytest.raises(ValueError, match="is no socket: Bad file descriptor"):
        check_connected(lonely.fileno())
    streams = socket.socketpair()
    with streams[0], streams[1], pytest.raises(ValueError, match="of another kind"):
        check_connected(streams[0].fileno())
    reading, writing = os.pipe()
    with pytest.raises(ValueError, match="is no socket"):
        check_connected(reading)
    close([reading, writing])
