from __future__ import annotations

import os
import select
import socket
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from utracectl.lines import LineSocket
from utraced.errors import Unsupported
from utraced.linux import sockets

MOST = 200_000


@pytest.fixture
def ends() -> Iterator[tuple[LineSocket, socket.socket]]:
    """Give a socket of lines, not blocking, and the other end of its stream."""
    ours, theirs = socket.socketpair()
    lines = LineSocket(ours)
    lines.setblocking(False)
    with lines, theirs:
        yield lines, theirs


def readable(sock: socket.socket) -> bool:
    return bool(select.select([sock], [], [], 0)[0])


def test_each_line_is_a_packet(ends: tuple[LineSocket, socket.socket]) -> None:
    lines, theirs = ends
    theirs.sendall(b'{"a": 1}\n\n \r\n[2]\r\n{"half"')
    assert sockets.receive(lines, MOST) == (b'{"a": 1}', (), False, False)
    assert readable(lines)
    assert sockets.receive(lines, MOST).data == b"[2]"
    with pytest.raises(BlockingIOError):
        sockets.receive(lines, MOST)
    assert not readable(lines)
    theirs.sendall(b": 3}\n")
    assert sockets.receive(lines, MOST).data == b'{"half": 3}'


@given(st.lists(st.binary(min_size=1, max_size=300).map(lambda data: data.hex().encode()), max_size=8), st.data())
def test_however_it_is_cut_it_is_the_same(packets: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(packet + b"\n" for packet in packets)
    ours, theirs = socket.socketpair()
    found = []
    with LineSocket(ours) as lines, theirs:
        while stream:
            size = data.draw(st.integers(1, len(stream)))
            theirs.sendall(stream[:size])
            stream = stream[size:]
            while readable(lines):
                try:
                    found.append(sockets.receive(lines, MOST).data)
                except BlockingIOError:
                    break
    assert found == packets


def test_a_line_that_is_too_large_is_cut(ends: tuple[LineSocket, socket.socket]) -> None:
    lines, theirs = ends
    theirs.sendall(b"x" * 101 + b"\nnext\n" + b"y" * 100 + b"\n")
    assert sockets.receive(lines, 100) == (b"x" * 100, (), True, False)
    assert sockets.receive(lines, 100).data == b"next"
    assert sockets.receive(lines, 100) == (b"y" * 100, (), False, False)


def test_the_end(ends: tuple[LineSocket, socket.socket]) -> None:
    lines, theirs = ends
    theirs.sendall(b"last\nwithout its end")
    theirs.close()
    assert sockets.receive(lines, MOST).data == b"last"
    assert sockets.receive(lines, MOST).data == b""
    assert sockets.receive(lines, MOST).data == b""


def test_the_end_may_be_told_by_somebody_else() -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    with LineSocket(ours, ended=lambda: RuntimeError("it is over")) as lines:
        for _ in range(2):
            with pytest.raises(RuntimeError, match="it is over"):
                sockets.receive(lines, MOST)


def test_packets_are_sent_whole_however_large(ends: tuple[LineSocket, socket.socket]) -> None:
    lines, theirs = ends
    lines.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    packet = b"z" * 100_000
    got = bytearray()

    def read() -> None:
        while len(got) <= len(packet):
            got.extend(theirs.recv(1000))

    reader = threading.Thread(target=read)
    reader.start()
    sockets.send(lines, packet)
    reader.join()
    assert bytes(got) == packet + b"\n"


def test_a_full_stream_blocks_before_a_packet_and_not_in_it(ends: tuple[LineSocket, socket.socket]) -> None:
    lines, theirs = ends
    count = 0

    def fill() -> None:
        nonlocal count
        while True:
            sockets.send(lines, b"a")
            count += 1

    with pytest.raises(BlockingIOError):
        fill()
    theirs.setblocking(False)
    got = b""
    while len(got) < 2 * count:
        got += theirs.recv(1 << 20)
    assert got == b"a\n" * count


def test_descriptors_cannot_pass(ends: tuple[LineSocket, socket.socket]) -> None:
    lines, theirs = ends
    with open(os.devnull, "rb") as file, pytest.raises(Unsupported, match="descriptors cannot pass"):
        sockets.send(lines, b"{}", [file.fileno()])
    assert not readable(theirs)
