"""Three clients on one busy process, of which one after the other is killed: the others and the process go on.

``UTRACED_KILLS`` says how many are killed, 500 in a long run.
"""

from __future__ import annotations

import mmap
import os
import signal
import socket
import struct
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from tests.children import fork
from tests.live.conftest import Programs
from tests.live.machine import free, state, threads, tracer, until
from tests.live.test_three_sessions import numbered
from tests.tracing.three_sessions import Calls, Signals
from tests.worker.daemon import listening
from utracectl.client import Client
from utraced.api import engine, events, thread
from utraced.api.engine import CallFilter
from utraced.api.session import List as Sessions

KILLS = int(os.environ.get("UTRACED_KILLS", "20"))
WORD = struct.Struct("<Q")

Tick = Callable[[], None]


def trace_calls(client: Client, pid: int, tick: Tick) -> None:
    """Be told all calls, of which none may be missing."""
    number = client.call(engine.Attach(pid=pid, events=())).engine
    only = CallFilter(set=("getppid",))
    client.call(engine.SetSyscalls(engine=number, entry=only, exit=only))
    client.call(engine.SetEvents(engine=number, events=("syscall_entry", "syscall_exit")))
    model = Calls()
    first: set[int] = set()
    for event in client.events():
        # Of the call that a thread was in, only the return may be told.
        if event.tid in first or isinstance(event, events.SyscallEntry):
            model.told(event)
        first.add(event.tid)
        tick()


def hold_signals(client: Client, pid: int, tick: Tick) -> None:
    """Hold at each signal, of which none may be missing, and let it go on."""
    number = client.call(engine.Attach(pid=pid, events={"signal": "hold"})).engine
    model = Signals()
    for event in client.events():
        model.told(event)
        if isinstance(event, events.Signal):
            model.held.remove(event.tid)
            client.call(thread.Resume(engine=number, tid=event.tid))
            tick()


def stop_and_step(client: Client, pid: int, tick: Tick) -> None:
    """Stop threads, step them, let them go on."""
    random = Random(os.getpid())
    number = client.call(engine.Attach(pid=pid, events=())).engine
    while True:
        tid = None if random.random() < 0.2 else random.choice(threads(pid))
        stopped = client.call(thread.Stop(engine=number, tid=tid)).threads
        assert [each.state for each in stopped] == ["held"] * len(stopped)
        for _ in range(random.randrange(4) if tid is not None else 0):
            client.call(thread.Resume(engine=number, tid=tid, action="step"))
            while not any(isinstance(event, events.Step) for event in client.poll(30)):
                pass
        client.call(thread.Resume(engine=number, tid=tid))
        tick()


ROLES = (trace_calls, hold_signals, stop_and_step)


class Clients:
    """A process for each role; ``progress`` counts what each has done."""

    def __init__(self, address: Path, pid: int) -> None:
        self._address = address
        self._pid = pid
        self._shared = mmap.mmap(-1, WORD.size * len(ROLES))
        self.pids = [self._start(role) for role in range(len(ROLES))]

    def progress(self) -> list[int]:
        return [WORD.unpack_from(self._shared, WORD.size * role)[0] for role in range(len(ROLES))]

    def _start(self, role: int) -> int:
        pid = fork()
        if pid == 0:
            self._live(role)
        return pid

    def _live(self, role: int) -> None:
        """Be a client."""
        count = self.progress()[role]

        def tick() -> None:
            nonlocal count
            count += 1
            WORD.pack_into(self._shared, WORD.size * role, count)

        try:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            sock.connect(str(self._address))
            sock.setblocking(False)
            ROLES[role](Client(sock), self._pid, tick)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)

    def all_go_on(self, *, but: int | None = None) -> None:
        """Check that each does more, but the one that is given."""
        before = self.progress()

        def went_on() -> bool:
            for pid in self.pids:
                assert state(pid) not in {"Z", "X", ""}, f"{self.what(pid)} has ended"
            now = self.progress()
            return all(now[role] > before[role] for role in range(len(ROLES)) if role != but)

        until(went_on, f"all clients go on, after {before}: {self.progress()}")

    def what(self, pid: int) -> str:
        return ROLES[self.pids.index(pid)].__name__

    def kill(self, role: int) -> None:
        os.kill(self.pids[role], signal.SIGKILL)
        os.waitpid(self.pids[role], 0)

    def replace(self, role: int) -> None:
        self.pids[role] = self._start(role)

    def close(self) -> None:
        for role in range(len(ROLES)):
            self.kill(role)


@contextmanager
def clients(address: Path, pid: int) -> Iterator[Clients]:
    """Give a client of each role; they are killed at the end."""
    found = Clients(address, pid)
    try:
        yield found
    finally:
        found.close()


def test_killed_clients_take_nothing_along(programs: Programs, tmp_path: Path) -> None:
    random = Random(KILLS)
    address = tmp_path / "socket"
    with numbered(programs("numbered"), tmp_path) as target, listening(address) as daemon:
        with clients(address, target.pid) as found:
            for _ in range(KILLS):
                found.all_go_on()
                role = random.randrange(len(ROLES))
                found.kill(role)
                found.replace(role)
                found.all_go_on(but=role)
                target.works()
            assert tracer(target.pid) == daemon.pid
        until(lambda: free(target.pid), "nobody is stopped or traced")
        target.works()
        # Signals were held, stepped over and let go: each was handled once.
        assert all(queued - handled in {0, 1} for _, _, queued, handled in target.numbers())
        with daemon.connect() as peer:
            assert [each["engines"] for each in peer.call(Sessions.method)["sessions"]] == [0]
