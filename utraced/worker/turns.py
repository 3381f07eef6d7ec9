"""Whose turn it is: all clients share one loop, and no packet can be interrupted.  No I/O.

Two rules.  Of the clients that have sent something, the one goes first that has used least of the loop: start-time fair
queueing (Goyal, Vin and Cheng, 1996), for which a packet costs the time it took.  And a client of whose packets one
took long rests afterwards for a multiple of that time, while others are there: whoever asks now and then finds the loop
free most of the time, not always in the middle of such a packet.  A client alone is never held back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from select import EPOLLIN
from time import monotonic_ns, thread_time_ns
from typing import TYPE_CHECKING

from utraced.errors import LimitExceeded

if TYPE_CHECKING:
    from utraced.handlers.aside import Share

LONG_NS = 150_000
"""Nanoseconds: a packet that takes longer makes its client rest."""
RESTS = 4
"""For so many times what it took."""
AT_LEAST_NS = 2_000_000
"""Nanoseconds of rest that are not worth a timer: they are added to the next."""
MOST_OWED_NS = 50_000_000
"""Nanoseconds of rest that a client keeps which was alone."""
PRESENT_NS = 1_000_000_000
"""Nanoseconds for which a client that has asked for something counts as there."""
WATCHED_NS = 1_000_000_000
"""Nanoseconds for which, after a packet that seemed to take long, time is taken from the CPU's clock: others may have
had the CPU meanwhile.  That takes 1 µs a packet."""
MOST_RESTING = 64
"""Connections of a client that has had to rest just now; it gets no more, as each would have to wait."""
KEPT = 64
"""Clients without a connection that are remembered, lest one rests less by connecting anew."""


class Account:
    """What one client, a process with all its connections, has used; ``share`` is its part of the threads."""

    __slots__ = ("connections", "finish_ns", "free_ns", "rested_ns", "share", "watched_ns")

    def __init__(self) -> None:
        self.connections = 0
        self.finish_ns = 0
        self.free_ns = 0
        self.rested_ns = -PRESENT_NS
        self.share: Share | None = None
        self.watched_ns = 0


class Turns:
    """The accounts of all clients.

    ``now_ns`` is when the last packet was started or done.  ``ready`` tells which descriptors have something for the
    loop to do, with epoll(7)'s events.  ``clock`` and ``cpu`` tell nanoseconds.  ``connecting`` is the account of all
    who connect, for what connections cost.
    """

    def __init__(
        self,
        ready: Callable[[], Sequence[tuple[int, int]]],
        *,
        clock: Callable[[], int] = monotonic_ns,
        cpu: Callable[[], int] = thread_time_ns,
    ) -> None:
        self._ready = ready
        self.clock = clock
        self._cpu = cpu
        self._by_fd: dict[int, Account] = {}
        self._by_pid: dict[int, Account] = {}
        self.connecting = Account()
        self._virtual_ns = 0
        self._last: Account | None = None
        self._last_ns = self._before_ns = -PRESENT_NS
        self._started_cpu = 0
        self.now_ns = 0

    def open(self, fd: int, pid: int) -> Account:
        """Note a connection of the process ``pid`` at the descriptor ``fd``, and return its account."""
        account = self._by_pid.get(pid)
        if account is None:
            self._forget()
            account = self._by_pid[pid] = Account()
        account.connections += 1
        self._by_fd[fd] = account
        return account

    def check(self, pid: int) -> None:
        """Raise LimitExceeded where the process ``pid`` has many connections and rests: it must not gather more."""
        account = self._by_pid.get(pid)
        if account is None or account.connections < MOST_RESTING:
            return
        if self.clock() - account.rested_ns < PRESENT_NS:
            raise LimitExceeded(
                f"process {pid} has {account.connections} connections and uses more than its share",
                limit="connections",
                value=MOST_RESTING,
                hint="Use one connection for many requests, and connect again later.",
            )

    def close(self, fd: int) -> None:
        """Note that a connection has ended."""
        self._by_fd.pop(fd).connections -= 1

    def _forget(self) -> None:
        """Forget clients that have gone, the oldest first."""
        gone = [pid for pid, account in self._by_pid.items() if not account.connections]
        for pid in gone[: max(0, len(gone) - KEPT + 1)]:
            del self._by_pid[pid]

    def goes_first(self, account: Account) -> bool:
        """Tell whether of the others that have sent something none goes before this client."""
        if len(self._by_fd) == 1:
            return True
        start_ns = self._start_of(account)
        return not any(self._precedes(fd, events, start_ns) for fd, events in self._ready())

    def goes_on(self, account: Account, fd: int) -> bool:
        """Tell whether more has come at ``fd``, and nothing else waits for the loop that goes before it."""
        start_ns, more = self._start_of(account), False
        for other, events in self._ready():
            if other == fd:
                more = True
            elif other not in self._by_fd or self._precedes(other, events, start_ns):
                return False
        return more

    def _start_of(self, account: Account) -> int:
        return max(account.finish_ns, self._virtual_ns)

    def _precedes(self, fd: int, events: int, start_ns: int) -> bool:
        """Tell whether a packet has come at ``fd`` whose client goes before one that has used ``start_ns``."""
        account = self._by_fd.get(fd)
        return account is not None and bool(events & EPOLLIN) and self._start_of(account) < start_ns

    def start(self, account: Account) -> int:
        """Note that a packet of the client's is carried out from now on; return the time."""
        now = self.now_ns = self.clock()
        if account.watched_ns > now:
            self._started_cpu = self._cpu()
        return now

    def finish(self, account: Account) -> int:
        """Note that it is done, and what comes next started; return the nanoseconds for which the client rests."""
        started, now = self.now_ns, self.clock()
        self.now_ns = now
        cost = now - started
        if account.watched_ns > started:
            cpu = self._cpu()
            cost, self._started_cpu = cpu - self._started_cpu, cpu
        elif cost > LONG_NS:
            # Perhaps another process had the CPU: it is measured from the next one on.
            account.watched_ns = now + WATCHED_NS
            self._started_cpu = self._cpu()
            cost = LONG_NS
        self._virtual_ns = self._start_of(account)
        self.spend(account, cost)
        if account is not self._last:
            self._last, self._before_ns = account, self._last_ns
        self._last_ns = now
        return self.rest(account)

    def spend(self, account: Account, cost_ns: int) -> None:
        """Note nanoseconds that a client has cost, with a packet or otherwise."""
        account.finish_ns = self._start_of(account) + cost_ns
        if cost_ns > LONG_NS:
            account.watched_ns = self.now_ns + WATCHED_NS
            account.free_ns = max(account.free_ns, self.now_ns) + RESTS * cost_ns

    def resting(self, account: Account) -> int:
        """Return for how many nanoseconds a client has to rest from now on, as there are others."""
        self.now_ns = self.clock()
        return self.rest(account)

    def resting_for(self, pid: int) -> int:
        """Return for how many nanoseconds nobody is to connect after process ``pid``, as there are others than it."""
        self.now_ns = self.clock()
        return self.rest(self.connecting, self._by_pid.get(pid))

    def rest(self, account: Account, who: Account | None = None) -> int:
        """Return the same from ``now_ns`` on; ``who`` uses the account, where that is not its own."""
        rest = account.free_ns - self.now_ns
        if rest <= AT_LEAST_NS:
            return 0
        other_ns = self._before_ns if (who or account) is self._last else self._last_ns
        if self.now_ns - other_ns >= PRESENT_NS:
            # What it would owe others, should they come, could by then be minutes.
            account.free_ns = self.now_ns + min(rest, MOST_OWED_NS)
            return 0
        account.rested_ns = self.now_ns
        return rest
