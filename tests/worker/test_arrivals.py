from __future__ import annotations

import socket
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from utraced.model import Peer
from utraced.worker.arrivals import Arrivals, Arrived


def arrived(pid: int, name: str) -> Arrived:
    return Arrived(cast("socket.socket", None), Peer(pid=pid, uid=0, gid=0), name, "full", None)


def turns(arrivals: Arrivals) -> list[list[tuple[int, str]]]:
    found = []
    while arrivals:
        found.append([(each.who.pid, each.name) for each in arrivals.turn()])
    return found


def test_a_newcomer_does_not_wait_behind_all_that_another_has_brought() -> None:
    arrivals = Arrivals()
    for name in "abc":
        arrivals.add(arrived(1, name))
    arrivals.add(arrived(2, "d"))
    assert turns(arrivals) == [[(1, "a"), (2, "d")], [(1, "b")], [(1, "c")]]


def test_what_is_put_back_is_the_next_of_its_client() -> None:
    arrivals = Arrivals()
    for name in "abc":
        arrivals.add(arrived(1, name))
    [first] = arrivals.turn()
    arrivals.put_back(first)
    assert turns(arrivals) == [[(1, "a")], [(1, "b")], [(1, "c")]]


@given(st.lists(st.integers(1, 4)))
def test_each_is_taken_once_in_the_order_of_its_client(pids: list[int]) -> None:
    arrivals = Arrivals()
    for number, pid in enumerate(pids):
        arrivals.add(arrived(pid, f"{number:4}"))
        assert len(arrivals) == number + 1
    told = turns(arrivals)
    assert len(arrivals) == 0
    assert all(len({pid for pid, _ in turn}) == len(turn) for turn in told)
    for pid in set(pids):
        own = [name for turn in told for who, name in turn if who == pid]
        assert own == [f"{number:4}" for number, who in enumerate(pids) if who == pid]
