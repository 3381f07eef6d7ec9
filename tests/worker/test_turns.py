"""Turns, told in packets: a clock that stands, and clients whose packets take what they say."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from select import EPOLLIN, EPOLLOUT

import pytest

from utraced.errors import LimitExceeded
from utraced.worker.turns import (
    AT_LEAST_NS,
    KEPT,
    LONG_NS,
    MOST_OWED_NS,
    MOST_RESTING,
    PRESENT_NS,
    RESTS,
    WATCHED_NS,
    Account,
    Turns,
)

SHORT = LONG_NS // 10
DEAR = 50 * LONG_NS


class Scene:
    """A loop without a loop: ``waiting`` are the descriptors with a packet to be carried out."""

    def __init__(self) -> None:
        self.now = 10 * PRESENT_NS
        self.used = 0
        self.waiting: list[tuple[int, int]] = []
        self.turns = Turns(lambda: self.waiting, clock=lambda: self.now, cpu=lambda: self.used)

    def client(self, fd: int) -> Account:
        return self.turns.open(fd, 100 + fd)

    def carry_out(self, account: Account, cost: int, *, preempted: int = 0) -> int:
        """Carry out one packet; ``preempted`` are nanoseconds in which others had the CPU."""
        self.turns.start(account)
        self.now += cost + preempted
        self.used += cost
        return self.turns.finish(account)

    def order(self, costs: dict[int, int], packets: int) -> list[int]:
        """Return which clients' packets are carried out, where all have always sent more."""
        accounts = {fd: self.client(fd) for fd in costs}
        self.waiting = [(fd, EPOLLIN) for fd in costs]
        found: list[int] = []
        while len(found) < packets:
            for fd, account in accounts.items():
                if not self.turns.goes_first(account):
                    continue
                while True:
                    self.carry_out(account, costs[fd])
                    found.append(fd)
                    if not self.turns.goes_on(account, fd):
                        break
        return found


def test_equal_packets_take_turns_one_by_one() -> None:
    order = Scene().order({1: SHORT, 2: SHORT, 3: SHORT}, 300)
    assert all(99 <= order.count(fd) <= 101 for fd in (1, 2, 3))
    assert all(len(set(order[at : at + 5])) == 3 for at in range(295))


def test_who_sends_dear_packets_has_as_much_of_the_loop_as_the_others_and_not_as_many_packets() -> None:
    order = Scene().order({1: SHORT, 2: 40 * SHORT}, 1_000)
    dear = [at for at, fd in enumerate(order) if fd == 2]
    # Between two of its packets the other has forty.
    assert {later - earlier for earlier, later in pairwise(dear[1:])} <= {40, 41, 42}


def test_who_asks_now_and_then_goes_first() -> None:
    scene = Scene()
    busy, other = scene.client(1), scene.client(2)
    scene.waiting = [(1, EPOLLIN)]
    for _ in range(1_000):
        scene.carry_out(busy, SHORT)
        assert scene.turns.goes_on(busy, 1)
    scene.waiting = [(1, EPOLLIN), (2, EPOLLIN)]
    assert not scene.turns.goes_on(busy, 1)
    assert not scene.turns.goes_first(busy)
    assert scene.turns.goes_first(other)
    # Nor has it saved up anything meanwhile: after its packet it is the busy one's turn.
    scene.carry_out(other, SHORT)
    scene.carry_out(other, SHORT)
    assert not scene.turns.goes_on(other, 2)
    assert scene.turns.goes_first(busy)


@pytest.mark.parametrize(
    ("waiting", "goes_on"),
    [
        ([(1, EPOLLIN)], True),
        ([], False),
        ([(1, EPOLLIN), (77, EPOLLIN)], False),  # a stop, or a connection: not a client's packet
        ([(1, EPOLLIN), (2, EPOLLOUT)], True),  # it reads what waits for it
    ],
)
def test_a_turn_ends_where_the_loop_is_needed(waiting: list[tuple[int, int]], goes_on: bool) -> None:
    scene = Scene()
    account, _ = scene.client(1), scene.client(2)
    scene.carry_out(account, SHORT)
    scene.waiting = waiting
    assert scene.turns.goes_on(account, 1) is goes_on
    assert scene.turns.goes_first(account)


def watched(scene: Scene, fd: int) -> Account:
    """Return a client of whose packets one took long."""
    account = scene.client(fd)
    scene.carry_out(account, DEAR)
    return account


def test_after_a_dear_packet_its_client_rests_while_others_are_there() -> None:
    scene = Scene()
    dear, other = watched(scene, 1), scene.client(2)
    assert scene.carry_out(dear, DEAR) == 0  # alone it never does
    scene.now += RESTS * DEAR
    scene.carry_out(other, SHORT)
    assert scene.carry_out(dear, DEAR) == RESTS * DEAR
    assert scene.turns.resting(dear) == RESTS * DEAR
    scene.now += DEAR
    assert scene.turns.resting(dear) == (RESTS - 1) * DEAR
    scene.now += (RESTS - 1) * DEAR
    assert scene.turns.resting(dear) == 0
    assert scene.turns.resting(other) == 0


def test_others_are_there_for_a_while_after_they_have_asked() -> None:
    scene = Scene()
    dear, other = watched(scene, 1), scene.client(2)
    scene.carry_out(other, SHORT)
    rests = 0
    for _ in range(1_000):
        rest = scene.carry_out(dear, DEAR)
        scene.now += rest
        rests += rest > 0
    # Each packet with its rest takes so long, and after that it is alone.
    assert rests == 1 + PRESENT_NS // ((RESTS + 1) * DEAR)


def test_short_rests_are_taken_together() -> None:
    scene = Scene()
    dear, other = watched(scene, 1), scene.client(2)
    scene.now += PRESENT_NS
    cost = LONG_NS + 1
    rests: list[int] = []
    for _ in range(60):
        scene.carry_out(other, 0)
        rests.append(scene.carry_out(dear, cost))
        scene.now += rests[-1]
    assert 0 < len([rest for rest in rests if rest]) < 30
    assert all(rest == 0 or rest > AT_LEAST_NS for rest in rests)
    # Over all, it has a part of the time as if it rested after each.
    assert sum(rests) == pytest.approx(60 * (RESTS - 1) * cost, rel=0.4)


def test_a_packet_during_which_another_process_had_the_cpu_is_not_dear() -> None:
    scene = Scene()
    account, other = scene.client(1), scene.client(2)
    for _ in range(100):
        scene.carry_out(other, SHORT)
        assert scene.carry_out(account, SHORT, preempted=DEAR) == 0
    assert account.free_ns <= scene.now


def test_time_is_taken_from_the_clock_of_the_cpu_only_after_a_packet_that_seemed_dear() -> None:
    scene = Scene()
    asked: list[int] = []
    turns = Turns(list, clock=lambda: scene.now, cpu=lambda: asked.append(1) or 0)
    account = turns.open(1, 1)
    for cost, reads in ((SHORT, 0), (DEAR, 1), (SHORT, 2), (SHORT, 2)):
        asked.clear()
        turns.start(account)
        scene.now += cost
        turns.finish(account)
        assert len(asked) == reads
    scene.now += WATCHED_NS
    asked.clear()
    turns.start(account)
    turns.finish(account)
    assert not asked


def test_a_process_has_one_account_and_keeps_it_when_it_connects_anew() -> None:
    scene = Scene()
    other = scene.client(50)
    account = scene.turns.open(1, 7)
    assert scene.turns.open(2, 7) is account
    scene.carry_out(account, DEAR)
    scene.carry_out(other, SHORT)
    assert scene.carry_out(account, DEAR)
    scene.turns.close(1)
    scene.turns.close(2)
    assert scene.turns.resting(scene.turns.open(3, 7)) > 0


def test_a_process_that_rests_does_not_gather_connections() -> None:
    scene = Scene()
    other = scene.client(150)
    for fd in range(1, MOST_RESTING + 1):
        scene.turns.check(7)
        account = scene.turns.open(fd, 7)
    scene.turns.check(7)
    for _ in range(2):
        scene.carry_out(account, DEAR)
        scene.turns.check(7)  # nobody else is there
    scene.carry_out(other, SHORT)
    scene.carry_out(account, DEAR)
    with pytest.raises(LimitExceeded, match=r"process 7 has 64 connections"):
        scene.turns.check(7)
    scene.turns.check(250)
    scene.turns.close(1)
    scene.turns.check(7)
    scene.turns.open(1, 7)
    scene.now += PRESENT_NS
    scene.turns.check(7)


def test_of_clients_that_have_gone_some_are_remembered() -> None:
    turns = Scene().turns
    staying = turns.open(1, 1)
    first = turns.open(2, 2)
    turns.close(2)
    for pid in range(3, KEPT + 2):
        turns.open(2, pid)
        turns.close(2)
    assert turns.open(2, 2) is first
    turns.close(2)
    for pid in range(KEPT + 2, KEPT + 5):
        turns.open(2, pid)
        turns.close(2)
    assert turns.open(2, 2) is not first
    assert turns.open(3, 1) is staying


def test_what_is_spent_beside_packets_counts_too() -> None:
    scene = Scene()
    account, other = scene.client(1), scene.client(2)
    scene.carry_out(other, SHORT)
    scene.turns.spend(account, DEAR)
    assert scene.turns.resting(account) == RESTS * DEAR
    scene.waiting = [(1, EPOLLIN), (2, EPOLLIN)]
    assert scene.turns.goes_first(other)
    assert not scene.turns.goes_first(account)


def test_who_was_alone_for_long_owes_little_for_it() -> None:
    scene = Scene()
    busy = scene.client(1)
    for _ in range(10_000):
        scene.turns.spend(scene.turns.connecting, DEAR)
        scene.carry_out(busy, SHORT)
        assert scene.turns.resting_for(101) == 0
    assert 0 < scene.turns.resting_for(102) <= MOST_OWED_NS + RESTS * DEAR


def test_who_connects_again_and_again_rests_for_others_and_not_for_itself() -> None:
    scene = Scene()
    busy, other = scene.client(1), scene.client(2)
    pid = 101
    for _ in range(10):
        scene.turns.spend(scene.turns.connecting, DEAR)
        scene.carry_out(busy, SHORT)
        assert scene.turns.resting_for(pid) == 0
    assert scene.turns.resting_for(102) > 0
    scene.carry_out(other, SHORT)
    assert scene.turns.resting_for(pid) > 0
    scene.carry_out(busy, SHORT)
    assert scene.turns.resting_for(pid) > 0
    scene.now += PRESENT_NS
    scene.turns.spend(scene.turns.connecting, DEAR)
    scene.carry_out(busy, SHORT)
    assert scene.turns.resting_for(pid) == 0


def test_the_scene_asks_for_what_is_ready() -> None:
    seen: Sequence[tuple[int, int]] = [(2, EPOLLIN)]
    turns = Turns(lambda: seen)
    account = turns.open(1, 1)
    turns.open(2, 2)
    turns.start(account)
    turns.finish(account)
    assert not turns.goes_first(account)
