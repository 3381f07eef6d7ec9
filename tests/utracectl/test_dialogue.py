from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from tests.utracectl.server import HELLO, event, response
from utracectl.dialogue import Asked, ConnectionEnded, Dialogue, value_of
from utraced.api.daemon import Hello
from utraced.api.events import Lost
from utraced.api.thread import Stop
from utraced.errors import UtracedError

Pair = tuple[Dialogue, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    dialogue = Dialogue(ours, json=True)
    with theirs:
        yield dialogue, theirs
    dialogue.close()


def asked(dialogue: Dialogue) -> Asked:
    one = dialogue.ask(Hello(), ())
    assert dialogue.send(one)
    return one


def say(sock: socket.socket, packet: Any, fds: tuple[int, ...] = ()) -> None:
    socket.send_fds(sock, [msgspec.json.encode(packet)], fds)


def test_answers_wait_to_be_taken(pair: Pair) -> None:
    dialogue, theirs = pair
    first, second = asked(dialogue), asked(dialogue)
    assert not dialogue.receive()
    say(theirs, response({"id": second.number}, HELLO))
    assert dialogue.receive()
    assert (dialogue.heard(first.number), dialogue.heard(second.number)) == (False, True)
    assert value_of(dialogue.answer(second.number)).server == "utraced"
    assert not dialogue.heard(second.number)


def test_what_nobody_knows_is_no_event(pair: Pair) -> None:
    dialogue, theirs = pair
    say(theirs, [event(kind="later"), event(kind="lost", count=1)])
    dialogue.receive()
    assert (dialogue.next_event(), dialogue.next_event()) == (Lost(count=1), None)


@pytest.mark.parametrize("when", ["never asked", "given up before", "given up after", "closed"])
def test_descriptors_of_answers_that_nobody_takes_are_closed(pair: Pair, when: str) -> None:
    dialogue, theirs = pair
    one = asked(dialogue)
    if when == "given up before":
        assert dialogue.give_up(one) is not None
    read, write = os.pipe()
    say(theirs, response({"id": 99 if when == "never asked" else one.number}, HELLO), (write,))
    os.close(write)
    dialogue.receive()
    if when == "given up after":
        assert dialogue.give_up(one) is None
    if when == "closed":
        dialogue.close()
    # The end of the pipe: no copy of the other end is open any more.
    assert os.read(read, 1) == b""
    os.close(read)


def test_giving_up_cancels(pair: Pair) -> None:
    dialogue, theirs = pair
    one = asked(dialogue)
    cancel = dialogue.give_up(one)
    assert cancel is not None
    dialogue.send(cancel)
    theirs.recv(999)
    said = msgspec.json.decode(theirs.recv(999))
    assert said == {"jsonrpc": "2.0", "method": "$/cancelRequest", "params": {"id": one.number}}
    say(theirs, response({"id": one.number}, HELLO))
    dialogue.receive()
    assert not dialogue.heard(one.number)


def test_what_came_before_the_end_comes_before_it(pair: Pair) -> None:
    dialogue, theirs = pair
    one, other = asked(dialogue), asked(dialogue)
    say(theirs, event(kind="lost", count=1))
    say(theirs, response({"id": one.number}, HELLO))
    theirs.shutdown(socket.SHUT_RDWR)
    while dialogue.ended is None:
        assert dialogue.receive()
    assert dialogue.next_event() == Lost(count=1)
    assert value_of(dialogue.answer(one.number)).server == "utraced"
    with pytest.raises(ConnectionEnded):
        dialogue.answer(other.number)
    with pytest.raises(ConnectionEnded):
        dialogue.ask(Hello(), ())
    assert dialogue.give_up(other) is None


def test_an_answer_to_nothing_is_one_to_all(pair: Pair) -> None:
    dialogue, theirs = pair
    one, other = asked(dialogue), asked(dialogue)
    say(theirs, {"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "what?"}})
    dialogue.receive()
    for number in (one.number, other.number):
        with pytest.raises(UtracedError, match="what"):
            value_of(dialogue.answer(number))


@pytest.mark.parametrize(
    ("sent", "read", "repeated"),
    [
        ([Hello], 0, [True]),
        ([Hello], 1, [True]),
        ([Stop], 0, [True]),
        ([Stop], 1, [False]),
        ([Stop, Hello], 0, [False, True]),
        ([Stop, Hello], 1, [False, True]),
    ],
)
def test_what_may_be_asked_again(pair: Pair, sent: list[type], read: int, repeated: list[bool]) -> None:
    dialogue, theirs = pair
    requests = [dialogue.ask(Stop(engine=1) if kind is Stop else Hello(), ()) for kind in sent]
    assert all(dialogue.send(request) for request in requests)
    assert not any(dialogue.may_repeat(request) for request in requests)
    for _ in range(read):
        theirs.recv(999)
    theirs.close()
    dialogue.receive()
    assert [dialogue.may_repeat(request) for request in requests] == repeated


def test_what_could_not_be_sent_may_be_asked_again(pair: Pair) -> None:
    dialogue, theirs = pair
    theirs.close()
    request = dialogue.ask(Stop(engine=1), ())
    assert dialogue.send(request)
    dialogue.receive()
    assert dialogue.may_repeat(request)


def test_nothing_may_be_asked_again_once_something_was_heard(pair: Pair) -> None:
    dialogue, theirs = pair
    request = asked(dialogue)
    say(theirs, event(kind="lost", count=1))
    theirs.close()
    while dialogue.ended is None:
        dialogue.receive()
    assert not dialogue.may_repeat(request)
    assert not dialogue.may_repeat()


def test_a_socket_may_tell_its_end_itself() -> None:
    class Telling(socket.socket):
        def recvmsg_into(self, *_: Any) -> Any:
            raise Explained("the host is unreachable")

    class Explained(ConnectionEnded):
        status = 125

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    dialogue = Dialogue(Telling(fileno=ours.detach()), json=True)
    assert dialogue.receive()
    ends = [dialogue.end(), dialogue.end()]
    assert [(type(end), str(end)) for end in ends] == [(Explained, "the host is unreachable")] * 2
    assert ends[0] is not ends[1]
    dialogue.close()
    theirs.close()
