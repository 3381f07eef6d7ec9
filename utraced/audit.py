"""The audit trail: who did what to which process, as one structured line each.  No contents, no arguments.

A ``Trail`` is one connection's.  What it tells goes through two bounds, its own and that of all connections together,
so that nobody fills a journal or drowns what others do; what is not written is counted, and told with the next line.
No I/O: a line is given to a ``Sink``, which never waits.
"""

from __future__ import annotations

from collections.abc import Callable
from time import gmtime, monotonic, strftime, time
from typing import Literal, Protocol

from msgspec import structs

from utraced.errors import LimitExceeded, PermissionDenied, UtracedError
from utraced.model import Peer, Value, text_of

Deed = Literal["connect", "attach", "trace", "refusal", "limit", "end", "gap"]

MESSAGE_IDS: dict[Deed, str] = {
    "connect": "4919db8a269644d3a24f05354d70f635",
    "attach": "1ef52684613a456ca68eb2fd4eb583de",
    "trace": "2d61ff0298be4e2e838547de3e10e8b7",
    "refusal": "ec9fdfc53723488296f431965f76289f",
    "limit": "a8892a4b1e114df08f993956709cc581",
    "end": "a4e4e43a999b42aa8ec365f71f954344",
    "gap": "9eb50aa3cfa04f038a6411503c814d14",
}
"""MESSAGE_ID of each (systemd.journal-fields(7))."""
NOTICE, INFO = 5, 6
"""Priorities (syslog(3)): what was not done, and what was."""
LONGEST = 100
"""Characters of a text in a line: names of methods and limits are shorter."""


class Who(Value, frozen=True):
    """A client: its process when it connected, as the kernel says, and that one's name, which it may choose."""

    pid: int
    uid: int
    gid: int
    comm: str = ""


class Target(Value, frozen=True):
    """A process that something was done to; ``start_time`` in clock ticks tells it from others of the same pid."""

    pid: int
    start_time: int | None = None


class Entry(Value, frozen=True):
    """One line.

    ``time``: in UTC.  ``action``: what happened.  ``session``: the connection's number, None where it never became
    one.  ``peer``: who connected.  ``user``: as whom the daemon traces for it.  ``access``: full or observe.
    ``method``: what was asked for.  ``target``: what process it was about.  ``reason``: why it was refused or has
    ended.  ``limit``, ``value``: what was exceeded.  ``missing``: so many lines before this one were not written.
    """

    time: str
    action: Deed
    session: int | None = None
    peer: Who | None = None
    user: str | None = None
    access: str | None = None
    method: str | None = None
    target: Target | None = None
    reason: str | None = None
    limit: str | None = None
    value: int | None = None
    missing: int = 0

    @property
    def priority(self) -> int:
        """How much it matters (syslog(3))."""
        return NOTICE if self.action in {"refusal", "limit", "gap"} else INFO

    @property
    def message(self) -> str:
        """The same for people."""
        who = ""
        if self.peer is not None:
            who = f"{self.peer.comm or 'a process'}[{self.peer.pid}] of uid {self.peer.uid}, gid {self.peer.gid} "
        return f"{who}{self._what()}" + (f"; {self.missing} lines before this are missing" if self.missing else "")

    def _what(self) -> str:
        target = "" if self.target is None else f" process {self.target.pid}"
        asked = f" at {self.method}" if self.method else ""
        match self.action:
            case "connect":
                return f"connected to trace as {self.user} ({self.access}), session {self.session}"
            case "attach":
                return f"attaches to{target} as {self.user}"
            case "trace":
                return f"traces{target} as {self.user}"
            case "refusal":
                return f"is refused{target}{asked}: {self.reason}"
            case "limit":
                return f"exceeds {self.limit} ({self.value}){asked}" + (f" for{target}" if target else "")
            case "end":
                return f"has ended session {self.session}: {self.reason}"
        return "the audit trail goes on"


def journal_fields(entry: Entry) -> dict[str, str]:
    """Return the fields that tell an entry to the journal; those of other messages keep their meaning."""
    peer, target = entry.peer, entry.target
    members: dict[str, object] = {
        "MESSAGE": entry.message,
        "PRIORITY": entry.priority,
        "MESSAGE_ID": MESSAGE_IDS[entry.action],
        "SYSLOG_IDENTIFIER": "utraced",
        "UTRACED_ACTION": entry.action,
        "UTRACED_SESSION": entry.session,
        "UTRACED_PEER_PID": None if peer is None else peer.pid,
        "UTRACED_PEER_UID": None if peer is None else peer.uid,
        "UTRACED_PEER_GID": None if peer is None else peer.gid,
        "UTRACED_PEER_COMM": None if peer is None else peer.comm,
        "UTRACED_USER": entry.user,
        "UTRACED_ACCESS": entry.access,
        "UTRACED_METHOD": entry.method,
        "UTRACED_TARGET_PID": None if target is None else target.pid,
        "UTRACED_TARGET_START_TIME": None if target is None else target.start_time,
        "UTRACED_REASON": entry.reason,
        "UTRACED_LIMIT": entry.limit,
        "UTRACED_VALUE": entry.value,
        "UTRACED_MISSING": entry.missing or None,
    }
    return {name: str(value) for name, value in members.items() if value is not None}


Clock = Callable[[], float]
"""Tells seconds."""


class Sink(Protocol):
    """Where entries are written to."""

    def write(self, entry: Entry) -> bool:
        """Take an entry without waiting; False where it is lost."""
        ...

    def close(self) -> None:
        """Let go of what is open."""
        ...


class Bound:
    """So many lines at once, and so many more in each second."""

    __slots__ = ("_burst", "_clock", "_left", "_rate", "_then")

    def __init__(self, burst: int, rate: float, clock: Clock) -> None:
        self._burst = burst
        self._rate = rate
        self._clock = clock
        self._left = float(burst)
        self._then = clock()

    def admits(self) -> bool:
        """Tell whether there may be one more now, and count it."""
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._then) * self._rate)
        self._then = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class _Bounds:
    """What is refused has a bound of its own: it must not keep what is done from being written."""

    __slots__ = ("_deeds", "_refusals")

    def __init__(self, deeds: Bound, refusals: Bound) -> None:
        self._deeds = deeds
        self._refusals = refusals

    def admit(self, action: Deed) -> bool:
        return (self._refusals if action in {"refusal", "limit"} else self._deeds).admits()


class Audit:
    """Where the trails of a process's connections lead; ``user`` is as whom it traces.  Without a sink, nowhere."""

    def __init__(self, sink: Sink | None = None, *, user: str = "", clock: Clock = monotonic) -> None:
        self.user = user
        self.clock = clock
        self._sink = sink
        self._bounds = _Bounds(Bound(2000, 50, clock), Bound(200, 5, clock))
        self._missing = 0

    def trail(
        self, peer: Peer, comm: bytes | None, *, session: int | None = None, access: str = "full", user: str = ""
    ) -> Trail:
        """Return the trail of a connection; ``comm`` is its process's name, ``user`` as whom it is to trace."""
        who = Who(pid=peer.pid, uid=peer.uid, gid=peer.gid, comm=_printable(text_of(comm or b"")))
        return Trail(self, who, session=session, access=access, user=user or self.user)

    @property
    def silent(self) -> bool:
        """Whether there is nowhere to write to."""
        return self._sink is None

    def write(self, entry: Entry) -> None:
        """Write a line, or count it and those that it was to tell of."""
        if self._sink is None:
            return
        if self._missing:
            entry = structs.replace(entry, missing=entry.missing + self._missing)
        admitted = entry.action == "gap" or self._bounds.admit(entry.action)
        self._missing = 0 if admitted and self._sink.write(entry) else entry.missing + (entry.action != "gap")

    def close(self) -> None:
        """Tell of lines that no other line has told of, and close the sink."""
        if self._missing:
            self.write(Entry(time=_now(), action="gap", user=self.user or None))
        if self._sink is not None:
            self._sink.close()


class Trail:
    """What one connection does."""

    def __init__(self, audit: Audit, who: Who, *, session: int | None, access: str, user: str) -> None:
        self._audit = audit
        self._who = who
        self._user = user
        self._session = session
        self._access = access
        self._bounds = _Bounds(Bound(200, 10, audit.clock), Bound(20, 1, audit.clock))
        self._missing = 0

    def connected(self) -> None:
        """Tell that it is served."""
        self._tell("connect")

    def attached(self, pid: int, start_time: int, *, method: str) -> None:
        """Tell that it may stop and change a process from now on."""
        self._tell("attach", target=Target(pid=pid, start_time=start_time), method=method)

    def traces(self, pid: int, start_time: int, *, method: str) -> None:
        """Tell that it sees what a process does from now on."""
        self._tell("trace", target=Target(pid=pid, start_time=start_time), method=method)

    def failed(self, error: UtracedError, *, method: str, pid: int | None = None) -> None:
        """Tell of a refusal or a limit; other errors are nobody's business."""
        target = None if pid is None else Target(pid=pid)
        if isinstance(error, PermissionDenied):
            self._tell("refusal", target=target, method=method, reason=error.reason)
        elif isinstance(error, LimitExceeded):
            value = error.data.get("value")
            self.exceeded(
                str(error.data.get("limit", "")), value if type(value) is int else None, method=method, pid=pid
            )

    def exceeded(self, limit: str, value: int | None, *, method: str | None = None, pid: int | None = None) -> None:
        """Tell of a limit."""
        self._tell(
            "limit", target=None if pid is None else Target(pid=pid), method=method, limit=limit[:LONGEST], value=value
        )

    def ended(self, reason: str) -> None:
        """Tell that the connection is over."""
        self._tell("end", reason=reason)

    def _tell(  # noqa: PLR0913 - the members of a line
        self,
        action: Deed,
        *,
        target: Target | None = None,
        method: str | None = None,
        reason: str | None = None,
        limit: str | None = None,
        value: int | None = None,
    ) -> None:
        if self._audit.silent:
            return
        # Its last line tells of all that were kept back.
        if action != "end" and not self._bounds.admit(action):
            self._missing += 1
            return
        missing, self._missing = self._missing, 0
        self._audit.write(
            Entry(
                time=_now(),
                action=action,
                session=self._session,
                peer=self._who,
                user=self._user or None,
                access=self._access,
                method=None if method is None else method[:LONGEST],
                target=target,
                reason=reason,
                limit=limit,
                value=value,
                missing=missing,
            )
        )


def _now() -> str:
    now = time()
    return f"{strftime('%Y-%m-%dT%H:%M:%S', gmtime(now))}.{int(now * 1000) % 1000:03d}Z"


def _printable(text: str) -> str:
    """Return a name without what would control a terminal or begin a new line."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text[:LONGEST])
