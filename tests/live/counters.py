"""Programs that count what they do in shared memory: whether they work on can be seen from outside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from struct import unpack
from typing import Any

from tests.live.machine import free, running, state, threads, tracer, until


class Counting:
    """A program that counts, and its counters."""

    def __init__(self, pid: int, path: Path, count: int) -> None:
        self.pid = pid
        self._path = path
        self._count = count

    def counters(self, only: int | None = None) -> tuple[int, ...]:
        """Return the counters, or the first ``only`` of them."""
        values: tuple[int, ...] = unpack(f"{self._count}Q", self._path.read_bytes())
        return values[:only]

    def works(self, only: int | None = None) -> None:
        """Check that every counter (or the first ``only``) moves."""
        before = self.counters(only)
        until(
            lambda: all(now > then for now, then in zip(self.counters(only), before, strict=True)),
            f"every counter of {self.pid} moves",
        )

    def is_free(self, only: int | None = None) -> None:
        """Check that no thread is traced or stopped, and that all work on."""
        until(lambda: free(self.pid), f"{self.pid} is free: {describe(self.pid)}")
        self.works(only)


def describe(pid: int) -> str:
    """Return the state and tracer of each thread."""
    return " ".join(f"{tid}:{state(pid, tid)}{tracer(pid, tid)}" for tid in threads(pid))


@contextmanager
def counting(program: Path, folder: Path, count: int, how: str = "", **options: Any) -> Iterator[Counting]:
    """Give a running busy.c of so many threads; ``options`` are for ``Popen``."""
    path = folder / f"counters{how}"
    with running([program, path, str(count), how], **options) as process:
        found = Counting(process.pid, path, count)
        try:
            yield found
        finally:
            process.kill()
            process.wait()
            path.unlink()
