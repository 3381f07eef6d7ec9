import pytest

from tests.kernel.by_hand import by_hand, decoded
from tests.kernel.targets import make_calls, target
from tests.live.machine import free
from utraced.api import engine, events, trace
from utraced.api import session as api
from utraced.errors import Gone, NoSuchObject
from utraced.handlers import session as module
from utraced.handlers.limits import MAX_BATCH, MAX_PACKET
from utraced.rpc.packet import Packet


def call(number, **members):
    """Return an event of a trace."""
    six = ("0x0",) * 6
    return events.Syscall(
        trace=1,
        arch="x86_64",
        nr=number,
        name="read",
        args=six,
        pc="0x0",
        sp="0x0",
        start_ns=0,
        **members,
    )


def reply(text=b"{}"):
    return [Packet(text)]


def test_ids_are_never_used_again():
    with by_hand() as hand:
        assert [hand.session.new_id() for _ in range(3)] == [1, 2, 3]


def test_what_has_ended_is_gone_and_what_never_was_is_not():
    with target(lambda _: 4) as found, by_hand() as hand:
        number = hand.call(engine.Attach(pid=found.pid)).engine
        found.go()
        hand.ended(found.pid)
        with pytest.raises(Gone) as caught:
            hand.session.engine(number)
        assert caught.value.data["status"].code == 4
        with pytest.raises(NoSuchObject):
            hand.session.engine(number + 1)
        with pytest.raises(NoSuchObject):
            hand.session.trace(number + 1)


def test_of_many_that_have_ended_the_oldest_are_gone_without_a_status(monkeypatch):
    monkeypatch.setattr(module, "REMEMBERED", 1)
    with target() as found, by_hand() as hand:
        ended = []
        for _ in range(3):
            ended.append(hand.call(engine.Attach(pid=found.pid)).engine)
            hand.call(engine.Detach(engine=ended[-1]))
        assert len(hand.session.ended) == 1
        for number in ended:
            with pytest.raises(Gone):
                hand.session.engine(number)


def test_events_are_numbered_and_packed_in_order():
    with by_hand() as hand:
        for number in range(250):
            hand.session.tell(call(number))
        assert [event.seq for event in hand.events()] == list(range(1, 251))
        assert [event.nr for event in hand.seen] == list(range(250))


def test_a_packet_of_events_is_a_batch_of_at_most_so_many():
    with by_hand() as hand:
        for number in range(3 * MAX_BATCH):
            hand.session.tell(call(number))
        hand.session.flush()
        assert all(len(decoded(packet.data)) <= MAX_BATCH for packet in hand.session.packets)
        assert all(len(packet.data) <= MAX_PACKET for packet in hand.session.packets)


def test_events_too_large_for_one_packet_go_in_several_and_one_alone_without_its_memory():
    with by_hand() as hand:
        for size in (90_000, 90_000, 90_000, 300_000):
            hand.session.tell(call(1, memory=[events.Fragment("0x1", bytes(size))]))
        told = hand.events()
        assert [event.seq for event in told] == [1, 2, 3, 4]
        assert [event.memory is None for event in told] == [False, False, False, True]


def test_a_reply_stands_behind_the_events_told_before():
    with by_hand() as hand:
        hand.session.tell(call(1))
        hand.session.reply(reply())
        assert [packet.data == b"{}" for packet in hand.session.packets] == [False, True]
        hand.session.packets.clear()


def test_events_wait_for_a_reply_that_brings_an_id_and_so_do_replies_that_follow_them():
    with by_hand() as hand:
        session = hand.session
        session.creating = 1
        session.tell(call(1))
        session.reply(reply(b"[1]"), follows=True)
        session.reply(reply(b"[2]"))
        session.flush()
        assert [packet.data for packet in session.packets] == [b"[2]"]
        session.reply(reply(b"[3]"))
        session.creating = 0
        session.flush()
        data = [packet.data for packet in session.packets]
        assert data[:2] == [b"[2]", b"[3]"]
        assert decoded(data[2])[0].nr == 1
        assert data[3:] == [b"[1]"]
        session.packets.clear()


def test_observations_that_do_not_fit_are_dropped_and_counted_where_they_would_have_stood():
    with target(make_calls(500)) as found, by_hand(queue_bytes=10_000) as hand:
        number = hand.call(trace.Start(pid=found.pid, syscalls=("getppid",))).trace
        found.go()
        hand.until(lambda: found.said(b"done"))
        first = hand.events()
        assert 0 < len(first) < 500
        totals = hand.call(trace.Stop(trace=number))
        hand.events()
        lost = hand.told(events.Lost)
        assert sum(event.count for event in lost) == totals.lost == 500 - totals.delivered
        assert len(hand.told(events.Syscall)) == totals.delivered
        assert [event.seq for event in hand.seen] == list(range(1, len(hand.seen) + 1))
        assert hand.kinds()[-1] == "detached"
        assert (hand.seen[-1].delivered, hand.seen[-1].lost) == (totals.delivered, totals.lost)


def test_what_is_never_lost_is_told_though_it_does_not_fit():
    with target(make_calls(20)) as found, by_hand(queue_bytes=0) as hand:
        hand.call(trace.Start(pid=found.pid, syscalls=("getppid",)))
        number = hand.call(engine.Attach(pid=found.pid, events=("death",))).engine
        found.go()
        hand.until(lambda: found.said(b"done"))
        found.go()
        hand.ended(found.pid)
        kinds = hand.kinds()
        assert kinds.count("death") == 2
        assert kinds.count("detached") == 2
        assert number in {event.engine for event in hand.told(events.Detached)}
        assert sum(event.count for event in hand.told(events.Lost)) + kinds.count("syscall") == 20


def test_closing_undoes_everything_of_this_session_alone():
    with target() as found, by_hand() as hand:
        other = hand.another(2)
        hand.call(engine.Attach(pid=found.pid, hold=True), session=other)
        hand.call(trace.Start(pid=found.pid), session=other)
        mine = hand.call(engine.Attach(pid=found.pid, hold=True)).engine
        other.close("session_closed", 7)
        told = hand.events(other)
        assert [(event.kind if hasattr(event, "kind") else type(event), event.reason) for event in told] == [
            (events.Detached, "session_closed")
        ] * 2
        assert other.engines == other.traces == {}
        assert not free(found.pid)
        assert hand.session.engine(mine).process.pid == found.pid


def test_a_mark_stands_where_it_was_asked_for():
    with by_hand() as hand:
        hand.session.tell(call(1))
        hand.call(api.Sync(token="here"))
        hand.session.tell(call(2))
        assert hand.kinds() == ["syscall", "sync", "syscall"]
        assert hand.told(events.Sync)[0].token == "here"


def test_sessions_are_listed_with_what_they_hold():
    with target() as found, by_hand() as hand:
        number = hand.call(engine.Attach(pid=found.pid, hold=True)).engine
        hand.session.fellows[1] = hand.session
        (entry,) = hand.call(api.List()).sessions
        assert (entry.session, entry.engines, entry.traces) == (1, 1, 0)
        assert entry.holdings == (api.Holding(pid=found.pid, engine=number, held=(found.pid,)),)
