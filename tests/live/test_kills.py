"""Clients, workers, the attacher and the broker are killed in any order, at any moment, while traces run."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.broker.system import TEMPLATE, System, folder, system
from tests.broker.test_attacher import ADA, own_trace, start
from tests.children import as_user, fork, needs_root, own_program
from tests.kernel.left import left, tracefs
from tests.kernel.recording import needs_bpf
from tests.live.conftest import Programs
from tests.live.counters import Counting, counting
from tests.live.machine import descendants, status, until
from tests.worker.daemon import Peer
from utraced.attacher.starting import NAME

pytestmark = needs_root

KILLS = int(os.environ.get("UTRACED_KILLS", "20"))
AT_ONCE = 20
"""Of one test."""
SEED = int(os.environ.get("UTRACED_SEED", "0")) or random.randrange(1, 1 << 32)
"""Names the order and the moments."""
CLIENTS = 2
MOST_CALLS = 4000
"""That the target makes before the next kill: some hundredths of a second."""
OPTIONS: tuple[dict[str, Any], ...] = (
    {"deliver": "raw", "overflow": "block"},
    {"syscalls": ["getppid", "clone3"]},
    {"overflow": "block", "strings": 100},
    {"syscalls": ["%process"], "entries": True, "stacks": True},
    {"backend": "perf"},
)


def named(name: str) -> list[int]:
    """Return our processes of this name that are alive."""
    found = [pid for pid in descendants(os.getpid()) if status(pid).get("Name") == name]
    return [pid for pid in found if status(pid).get("State", "Z")[0] != "Z"]


def trace_on(address: str, pid: int, number: int, on: Callable[[], object]) -> None:
    """As ADA: have two traces of a process on, and new ones where those have ended, as long as there is a daemon."""
    with suppress(OSError, AssertionError):
        while True:
            with Peer(address) as peer:
                for options in (OPTIONS[number % len(OPTIONS)], OPTIONS[(number + 1) % len(OPTIONS)]):
                    start(peer, pid, follow=True, **options)
                    on()
                for event in peer.events():
                    if event["kind"] == "detached":
                        start(peer, pid, follow=True, **OPTIONS[number % len(OPTIONS)])


@contextmanager
def clients(address: str, pid: int) -> Iterator[list[int]]:
    """Give clients that have traces on."""
    reading, writing = os.pipe()
    found = []
    try:
        for number in range(CLIENTS):
            client = fork()
            if client == 0:
                try:
                    own_program(ADA)
                    trace_on(address, pid, number, lambda: os.write(writing, b"!"))
                finally:
                    os._exit(0)
            found.append(client)
        os.close(writing)
        writing = -1
        for _ in found:
            assert os.read(reading, 1), "a client has ended"
        yield found
    finally:
        for fd in (reading, writing):
            if fd >= 0:
                os.close(fd)
        for client in found:
            os.kill(client, signal.SIGKILL)
            os.waitpid(client, 0)


def a_round(daemon: System, target: Counting, chance: random.Random) -> int:
    """Kill one of each, in any order at any moment, as far as there are any; return how many were."""
    killed = 0
    with clients(daemon.address, target.pid) as found:
        victims: list[Callable[[], list[int]]] = [
            lambda: found[:1],
            lambda: named("utraced-worker"),
            lambda: named(NAME),
            lambda: [daemon.pid],
            lambda: named(TEMPLATE),
        ]
        for victim in chance.sample(victims, len(victims)):
            goal = target.counters()[0] + chance.randrange(MOST_CALLS)
            until(lambda goal=goal: target.counters()[0] >= goal, "the target makes calls")  # type: ignore[misc]
            pids = victim()
            if pids:
                os.kill(chance.choice(pids), signal.SIGKILL)
                killed += 1
    return killed


def others(target: int) -> list[int]:
    """Return the processes of ours but one, of which those are reaped that have ended and become ours."""
    found = [pid for pid in descendants(os.getpid()) if pid != target]
    for pid in found:
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
    return found


@contextmanager
def target(programs: Programs) -> Iterator[Counting]:
    """Give a program of ADA's that makes calls, and threads."""
    with folder() as made:
        copy = made / "busy"
        copy.write_bytes(programs("busy").read_bytes())
        copy.chmod(0o755)
        os.chown(made, ADA, ADA)
        with counting(copy, made, 2, "churn", user=ADA, group=ADA, extra_groups=[]) as found:
            yield found


@pytest.mark.parametrize("seed", range(SEED, SEED + -(-KILLS // AT_ONCE)))
def test_nothing_is_left_and_the_target_works_on(programs: Programs, tmp_path: Path, seed: int) -> None:
    needs_bpf()
    chance = random.Random(seed)
    events = tracefs(tmp_path)
    killed = 0
    with target(programs) as busy:
        while killed < min(KILLS, AT_ONCE):
            with ExitStack() as stack:
                daemon = stack.enter_context(system())
                before = killed
                # The attacher's death alone is nobody's end: what is asked next works.
                assert as_user(lambda: own_trace(daemon.address), ADA) == (True, 1, 1, 0)  # noqa: B023
                killed += a_round(daemon, busy, chance)
                assert killed > before
            until(lambda: not others(busy.pid), "the end of all that were not killed")
            until(lambda: not left(), "nothing of ours in the kernel")
            busy.is_free()
    assert tracefs(tmp_path) == events
