from socket import AF_UNIX, SOCK_SEQPACKET, socketpair

import pytest

from benchmarks.asking import asking, summary, times


def test_an_exchange_sends_its_request_and_takes_the_reply() -> None:
    ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
    with ours, theirs:
        theirs.send(b"reply")
        asking(ours, b"request")()
        assert theirs.recv(100) == b"request"


def test_an_exchange_takes_pieces_until_the_reply_is_whole() -> None:
    ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
    with ours, theirs:
        for piece in (b"$a", b"b#", b"00"):
            theirs.send(piece)
        asking(ours, b"g", lambda got: bytes(got) == b"$ab#00")()


def test_an_exchange_tells_that_the_server_hung_up() -> None:
    ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
    with ours:
        theirs.shutdown(1)
        with theirs, pytest.raises(ConnectionError, match="the server hung up"):
            asking(ours, b"request")()


def test_times_are_of_as_many_exchanges_as_asked_for() -> None:
    done: list[None] = []
    taken = times(lambda: done.append(None), 200)
    assert len(done) > 200
    assert 0 < taken.median <= taken.p99


def test_a_summary_is_in_microseconds() -> None:
    assert summary([number * 1000 for number in range(100, 0, -1)]) == (51.0, 100.0)
    assert summary([7000]) == (7.0, 7.0)
