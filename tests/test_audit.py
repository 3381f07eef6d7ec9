from __future__ import annotations

from typing import Any

import msgspec
import pytest

from utraced.audit import MESSAGE_IDS, Audit, Bound, Entry, journal_fields
from utraced.errors import LimitExceeded, NoSuchProcess, PermissionDenied
from utraced.model import Peer, encode_json

PEER = Peer(pid=7, uid=1000, gid=100, groups=(5,))
DENIED = PermissionDenied("no: /secret/path", reason="not_owner", hint="x")


class Desk:
    """An audit trail with a clock that stands, and what is written to it; ``full``: nothing can be."""

    def __init__(self) -> None:
        self.now = 100.0
        self.full = False
        self.entries: list[Entry] = []
        self.audit = Audit(self, user="alice", clock=lambda: self.now)

    def close(self) -> None: ...

    def write(self, entry: Entry) -> bool:
        if not self.full:
            self.entries.append(entry)
        return not self.full

    def trail(self, **options: Any) -> Any:
        return self.audit.trail(PEER, b"gdb", **{"session": 3, **options})

    def told(self) -> list[tuple[str, int]]:
        """Return the actions and the counts of missing lines."""
        found = [(entry.action, entry.missing) for entry in self.entries]
        self.entries.clear()
        return found


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_what_a_connection_does(desk: Desk) -> None:
    trail = desk.trail(access="observe")
    trail.connected()
    trail.attached(4711, 99, method="engine.attach")
    trail.traces(4711, 99, method="trace.start")
    trail.failed(DENIED, method="memory.read", pid=1)
    trail.failed(LimitExceeded("x", limit="tracees", value=5, hint="y"), method="engine.attach", pid=12)
    trail.exceeded("stall_seconds", 30)
    trail.ended("session_closed")
    told = [msgspec.json.decode(encode_json(entry)) for entry in desk.entries]
    for entry in told:
        assert len(entry.pop("time")) == len("2000-01-01T00:00:00.000Z")
        assert entry.pop("peer") == {"pid": 7, "uid": 1000, "gid": 100, "comm": "gdb"}
        assert (entry.pop("session"), entry.pop("user"), entry.pop("access")) == (3, "alice", "observe")
    target = {"pid": 4711, "start_time": 99}
    assert told == [
        {"action": "connect"},
        {"action": "attach", "target": target, "method": "engine.attach"},
        {"action": "trace", "target": target, "method": "trace.start"},
        {"action": "refusal", "target": {"pid": 1}, "method": "memory.read", "reason": "not_owner"},
        {"action": "limit", "target": {"pid": 12}, "method": "engine.attach", "limit": "tracees", "value": 5},
        {"action": "limit", "limit": "stall_seconds", "value": 30},
        {"action": "end", "reason": "session_closed"},
    ]


def test_the_same_in_words(desk: Desk) -> None:
    test_what_a_connection_does(desk)
    who = "gdb[7] of uid 1000, gid 100 "
    assert [entry.message.removeprefix(who) for entry in desk.entries] == [
        "connected to trace as alice (observe), session 3",
        "attaches to process 4711 as alice",
        "traces process 4711 as alice",
        "is refused process 1 at memory.read: not_owner",
        "exceeds tracees (5) at engine.attach for process 12",
        "exceeds stall_seconds (30)",
        "has ended session 3: session_closed",
    ]
    assert [entry.priority for entry in desk.entries] == [6, 6, 6, 5, 5, 5, 6]


def test_the_journal_s_fields(desk: Desk) -> None:
    desk.trail().attached(4711, 99, method="engine.attach")
    assert journal_fields(desk.entries[0]) == {
        "MESSAGE": "gdb[7] of uid 1000, gid 100 attaches to process 4711 as alice",
        "PRIORITY": "6",
        "MESSAGE_ID": "1ef52684613a456ca68eb2fd4eb583de",
        "SYSLOG_IDENTIFIER": "utraced",
        "UTRACED_ACTION": "attach",
        "UTRACED_SESSION": "3",
        "UTRACED_PEER_PID": "7",
        "UTRACED_PEER_UID": "1000",
        "UTRACED_PEER_GID": "100",
        "UTRACED_PEER_COMM": "gdb",
        "UTRACED_USER": "alice",
        "UTRACED_ACCESS": "full",
        "UTRACED_METHOD": "engine.attach",
        "UTRACED_TARGET_PID": "4711",
        "UTRACED_TARGET_START_TIME": "99",
    }
    assert len(set(MESSAGE_IDS.values())) == len(MESSAGE_IDS)


def test_root_and_a_foreign_process_have_numbers_too(desk: Desk) -> None:
    desk.audit.trail(Peer(pid=0, uid=0, gid=0), None, user="bob").failed(DENIED, method="connect")
    fields = journal_fields(desk.entries[0])
    assert (fields["UTRACED_PEER_PID"], fields["UTRACED_PEER_UID"], fields["UTRACED_PEER_COMM"]) == ("0", "0", "")
    assert fields["UTRACED_USER"] == "bob"
    assert fields["MESSAGE"].startswith("a process[0] of uid 0")
    assert "UTRACED_SESSION" not in fields


def test_only_refusals_and_limits_are_anybody_s_business(desk: Desk) -> None:
    desk.trail().failed(NoSuchProcess("gone"), method="memory.read", pid=8)
    assert desk.entries == []


def test_a_name_cannot_forge_a_line_or_move_a_cursor(desk: Desk) -> None:
    desk.audit.trail(PEER, b"a\nb\x1b[2J\xff\xc2\x9b").connected()
    [entry] = desk.entries
    assert entry.peer is not None
    assert entry.peer.comm == "a\\nb\\x1b[2J\\xff\\x9b"
    assert entry.message.isprintable()
    assert entry.peer.comm.encode() in encode_json(entry).replace(b"\\\\", b"\\")


def test_a_flood_of_refusals_is_bounded_and_counted(desk: Desk) -> None:
    trail = desk.trail()
    for _ in range(10_000):
        trail.failed(DENIED, method="memory.read")
    assert desk.told() == [("refusal", 0)] * 20
    trail.attached(1, 1, method="engine.attach")  # which has its own bound
    assert desk.told() == [("attach", 9980)]
    trail.failed(DENIED, method="memory.read")
    desk.now += 1
    trail.failed(DENIED, method="memory.read")
    trail.failed(DENIED, method="memory.read")
    trail.ended("session_closed")
    assert desk.told() == [("refusal", 1), ("end", 1)]


def test_many_connections_have_one_bound_together(desk: Desk) -> None:
    for _ in range(30):
        trail = desk.trail()
        for _ in range(30):
            trail.failed(DENIED, method="memory.read")
    found = desk.told()
    assert len(found) == 200
    desk.now += 1
    desk.trail().connected()
    # Ten of each connection were kept back by its own bound, and never told, as none has ended.
    assert desk.told() == [("connect", 30 * 20 - 200 - sum(count for _, count in found))]


def test_connections_without_end(desk: Desk) -> None:
    for _ in range(10_000):
        trail = desk.trail()
        trail.connected()
        trail.ended("session_closed")
    assert len(desk.told()) == 2000
    desk.audit.close()
    assert desk.told() == [("gap", 18_000)]
    desk.audit.close()
    assert desk.told() == []


def test_what_is_lost_is_told_with_the_next(desk: Desk) -> None:
    trail = desk.trail()
    desk.full = True
    for _ in range(5):
        trail.connected()
    desk.audit.close()
    desk.full = False
    trail.connected()
    trail.connected()
    assert desk.entries[0].message.endswith("; 5 lines before this are missing")
    assert desk.told() == [("connect", 5), ("connect", 0)]


def test_without_a_sink_nothing_is_written() -> None:
    audit = Audit()
    trail = audit.trail(PEER, b"x", session=1)
    trail.connected()
    trail.failed(DENIED, method="x")
    audit.close()
    assert audit.silent


def test_a_bound_lets_more_through_as_time_passes() -> None:
    now = [0.0]
    bound = Bound(2, 0.5, lambda: now[0])
    assert [bound.admits() for _ in range(3)] == [True, True, False]
    now[0] = 2.0
    assert [bound.admits() for _ in range(2)] == [True, False]
    now[0] = 1000.0
    assert [bound.admits() for _ in range(3)] == [True, True, False]
