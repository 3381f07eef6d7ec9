"""The program that is traced: busy threads which wait at a gate until the tracer has them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

SOURCE = Path(__file__).with_name("flood.c")
Mode = Literal["calls", "time", "idle"]


def compile_flood(folder: Path) -> Path:
    """Compile the program into ``folder`` and return it; raises ``FileNotFoundError`` where there is no gcc."""
    program = folder / "flood"
    subprocess.run(["gcc", "-O2", "-pthread", "-o", program, SOURCE], check=True)
    return program


class Flood:
    """A running flood, whose threads wait: ``begin`` lets them go, leaving the context ends them.

    ``amount``: calls of each thread in mode ``calls``, milliseconds in mode ``time``.
    """

    def __init__(self, program: Path, mode: Mode, *, threads: int, amount: int) -> None:
        self._process = subprocess.Popen(
            [program, mode, str(threads), str(amount)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.pid = self._process.pid
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            raise RuntimeError(f"the flooding program ended with status {self._process.wait()}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            self._process.kill()
        self._process.communicate()

    def begin(self) -> None:
        """Let the threads make their calls."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        """End it before its time."""
        self._process.kill()

    def counts(self) -> list[int]:
        """Wait for the end and return how many calls each thread made; mode ``time`` only."""
        assert self._process.stdout is not None
        return [int(line) for line in self._process.stdout]
