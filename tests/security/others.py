"""Processes that are not to be told of, each with secrets where a process can have them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen
from typing import NamedTuple

from tests.broker.system import folder
from tests.live.machine import PATIENCE

ENVIRONMENT = "secret-of-the-environment"
DESCRIPTOR = "secret-of-a-descriptor"
PLACE = "secret-of-a-place"
MARK = b"only for the privileged"


class Other(NamedTuple):
    """A running program; ``euid`` is as whom it runs, ``mark`` the address of what stands in its memory."""

    pid: int
    euid: int
    mark: int
    program: Path

    def secrets(self) -> list[bytes]:
        """Return what nobody may tell who may not trace it: names, contents, and where what is in its memory."""
        words = [
            ENVIRONMENT.encode(),
            DESCRIPTOR.encode(),
            PLACE.encode(),
            MARK,
            bytes(self.program.parent.name, "ascii"),
        ]
        with open(f"/proc/{self.pid}/maps", "rb") as file:
            starts = {line.partition(b"-")[0].lstrip(b"0") for line in file}
        packed = {int(start, 16).to_bytes(8, "little") for start in starts}
        return [*words, *starts, *packed]


@contextmanager
def other(program: Path, uid: int, gid: int, *words: str) -> Iterator[Other]:
    """Give a program that this user has started."""
    with folder() as made:
        place = made / PLACE
        place.mkdir(mode=0o755)
        held = os.open(place / DESCRIPTOR, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            process: Popen[bytes] = Popen(
                ["a-program", *words],
                executable=program,
                cwd=place,
                env={"NAME": ENVIRONMENT},
                stdin=PIPE,
                stdout=PIPE,
                pass_fds=(held,),
                user=uid,
                group=gid,
                extra_groups=[],
            )
        finally:
            os.close(held)
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            euid, mark = map(int, process.stdout.readline().split())
            yield Other(process.pid, euid, mark, program)
        finally:
            process.stdin.close()
            try:
                process.wait(PATIENCE)
            finally:
                process.kill()
                process.stdout.close()


def plain(program: Path) -> Path:
    """Return the copy of a privileged program that has no privileges."""
    copy = program.parent / "plain"
    if not copy.exists():
        copy.write_bytes(program.read_bytes())
        copy.chmod(0o755)
    return copy
