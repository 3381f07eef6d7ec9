"""All sessions of a worker, and how many of them are whose."""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import TYPE_CHECKING

from utraced.audit import Audit, Trail
from utraced.configuration import Limits
from utraced.errors import LimitExceeded, UtracedError
from utraced.kernel.proc import comm_of
from utraced.model import Peer, SessionAccess

from .recorder import NO_RECORDER, Recorder
from .session import Session

if TYPE_CHECKING:
    from utraced.kernel.tracer import Tracer


class Sessions:
    """The open sessions by number; numbers are not used again.

    ``stirred`` are those that may have something to send.  ``audit`` is told what they do.  ``kin`` are the daemon's
    other processes, which it cannot do without.
    """

    def __init__(self, tracer: Tracer, limits: Limits, audit: Audit, *, kin: frozenset[int] = frozenset()) -> None:
        self.open: dict[int, Session] = {}
        self._kin = kin
        self.stirred: set[Session] = set()
        self.limits = limits
        self.audit = audit
        self.recorder: Recorder = NO_RECORDER
        self._tracer = tracer
        self._last = 0
        self._of_user: Counter[int] = Counter()

    def add(self, peer: Peer, *, access: SessionAccess = "full", socket: str = "") -> Session:
        """Return a new session, of a connection at ``socket``; ``access`` says whether it may only look.

        Raises LimitExceeded where its user has as many as one may have.
        """
        most = self.limits.sessions
        if self._of_user[peer.uid] >= most:
            raise LimitExceeded(
                f"user {peer.uid} has {most} sessions",
                limit="sessions",
                value=most,
                hint="Close connections that are no longer needed.",
            )
        self._of_user[peer.uid] += 1
        self._last += 1
        trail = self.trail(peer, session=self._last, access=access)
        session = self.open[self._last] = Session(self._last, peer, self._tracer, self.limits, trail=trail)
        session.fellows = self.open
        session.stirred = self.stirred
        session.access = access
        session.socket = socket
        session.kin = self._kin
        session.recorder = self.recorder
        return session

    def trail(self, peer: Peer, *, session: int | None = None, access: SessionAccess = "full") -> Trail:
        """Return the audit trail of a connection, also of one that is not served."""
        comm = None
        if not self.audit.silent:
            # Without descriptors (LimitExceeded) it goes on nameless.
            with contextlib.suppress(UtracedError):
                comm = comm_of(peer.pid)
        return self.audit.trail(peer, comm, session=session, access=access)

    def remove(self, session: Session) -> None:
        """Forget a session that has ended."""
        self.stirred.discard(session)
        if self.open.pop(session.session, None) is None:
            return
        uid = session.peer.uid
        self._of_user[uid] -= 1
        if not self._of_user[uid]:
            del self._of_user[uid]
