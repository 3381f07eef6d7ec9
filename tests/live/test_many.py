"""Many processes: short-lived by the thousand, killed all at once, and flooding beside each other."""

from __future__ import annotations

import os
import signal
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from subprocess import DEVNULL, PIPE, run

from tests.live.conftest import Programs
from tests.live.counters import counting
from tests.live.listening import Listener
from tests.live.machine import UTRACECTL, descendants, running, state, until
from utracectl.client import Client
from utraced.api import engine, events, trace
from utraced.model import Status

COUNT = 1500
DEPTH = 7
PROCESSES = 2 ** (DEPTH + 1) - 1


def test_thousands_of_short_lived_processes_are_all_told(programs: Programs, client: Client) -> None:
    heard = Listener(client)
    with running([programs("burst"), str(COUNT)], stdin=PIPE) as target:
        client.call(engine.Attach(pid=target.pid, follow=True, events=("clone", "death", "exec", "vfork_done")))
        assert target.stdin is not None
        target.stdin.close()
        while heard.hear(events.Detached).pid != target.pid:
            pass
        assert target.wait(30) == 7
    kinds = Counter(heard.kinds())
    assert kinds["Clone"] == kinds["VforkDone"] == kinds["Exec"] == COUNT
    assert kinds["Death"] == kinds["Detached"] == COUNT + 1
    codes = Counter(each.status.code for each in heard.seen if isinstance(each, events.Death) and each.status)
    assert codes == Counter([index % 7 for index in range(COUNT)]) + Counter([7])
    assert client.call(engine.List()).engines == ()


def test_a_traced_shell_loop_keeps_its_status(programs: Programs, tmp_path: Path) -> None:
    output = tmp_path / "out"
    words: list[str | Path] = [*UTRACECTL, "trace", "-f", "-o", output, "-e", "trace=execve", "--"]
    words += [programs("burst"), "300"]
    done = run(words, stdin=DEVNULL, stdout=DEVNULL, check=False, timeout=60)
    assert done.returncode == 7
    lines = output.read_text().splitlines()
    assert sum("execve(" in line or "execve resumed" in line for line in lines) >= 301
    assert sum("+++ exited with" in line for line in lines) == 301


def test_a_tree_of_processes_killed_at_once(programs: Programs, client: Client) -> None:
    heard = Listener(client)
    with running([programs("tree"), str(DEPTH)], stdin=PIPE, bufsize=0) as target:
        client.call(engine.Attach(pid=target.pid, follow=True, events=("clone", "death")))
        assert target.stdin is not None
        assert target.stdout is not None
        target.stdin.close()
        born = b""
        while len(born) < PROCESSES:
            born += target.stdout.read(PROCESSES)
        everybody = [target.pid, *descendants(target.pid)]
        assert len(everybody) == PROCESSES
        os.killpg(target.pid, signal.SIGKILL)
        alive = set(everybody)
        while alive:
            death = heard.hear(events.Death)
            assert death.last
            assert death.status == Status(signal="SIGKILL", core_dumped=False)
            alive.remove(death.pid)
        assert target.wait(30) == -signal.SIGKILL
        until(lambda: all(state(pid) in {"Z", ""} for pid in everybody), "all are dead")
    while Counter(heard.kinds())["Detached"] < PROCESSES:
        heard.hear(events.Detached)
    assert client.call(engine.List()).engines == ()


def test_a_tree_killed_while_it_grows_leaves_nothing(programs: Programs, client: Client) -> None:
    for wanted in (1, 10, 60, 120):
        heard = Listener(client)
        with running([programs("tree"), str(DEPTH)], stdin=PIPE, bufsize=0) as target:
            client.call(engine.Attach(pid=target.pid, follow=True, events=("clone", "death")))
            assert target.stdin is not None
            target.stdin.close()
            for _ in range(wanted):
                heard.hear(events.Clone)
            os.killpg(target.pid, signal.SIGKILL)
            while (death := heard.hear(events.Death)).pid != target.pid:
                assert death.last
            target.wait(30)
        until(lambda: client.call(engine.List()).engines == (), "no engine is left")


def test_flooding_tracees_are_served_alike(programs: Programs, tmp_path: Path, client: Client) -> None:
    with ExitStack() as stack:
        targets = []
        for index in range(8):
            folder = tmp_path / str(index)
            folder.mkdir()
            targets.append(stack.enter_context(counting(programs("busy"), folder, 1)))
        for target in targets:
            client.call(trace.Start(pid=target.pid, syscalls=("getppid",), overflow="block"))
        served: Counter[int] = Counter()
        # What came while they were attached one by one does not count.
        client.poll()
        starts: dict[int, int] = {target.pid: target.counters()[0] for target in targets}
        while served.total() < 160_000:
            served.update(event.pid for event in client.poll(30) if isinstance(event, events.Syscall))
        moved = {target.pid: target.counters()[0] - starts[target.pid] for target in targets}
        assert len(served) == 8
        mean = sum(moved.values()) / len(moved)
        assert all(0.7 * mean <= count <= 1.3 * mean for count in moved.values()), str(moved)
