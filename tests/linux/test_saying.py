from __future__ import annotations

import fcntl
import os

from tests.children import isolated
from utraced.linux.saying import LONGEST, STDERR, Log


def said(*, room: bool = True) -> tuple[bytes, bytes]:
    """Return what reaches a reader of stderr that reads late, or in time, and what reaches it afterwards."""

    def say() -> tuple[bytes, bytes]:
        reading, writing = os.pipe()
        if not room:
            fcntl.fcntl(reading, fcntl.F_SETPIPE_SZ, 4096)
        os.dup2(writing, STDERR)
        log = Log()
        if not room:
            os.write(writing, b"." * 4096)
        log.info("pid %d listens at %s", 7, "/run/x\nutraced: y")
        log.error("for %s", "\ud800" + "z" * 3000)
        first = os.read(reading, 8192)
        log.info("100% of it")
        return first, os.read(reading, 8192)

    return isolated(say)


def test_lines_for_people() -> None:
    first, then = said()
    assert first.startswith(b"utraced: pid 7 listens at /run/x utraced: y\nutraced: for \\ud800zzz")
    assert first.count(b"\n") == 2
    assert len(first) < LONGEST + 100
    assert then == b"utraced: 100% of it\n"


def test_it_does_not_wait_for_who_does_not_read() -> None:
    first, then = said(room=False)
    assert first == b"." * 4096
    assert then == b"utraced: 2 lines are missing here\nutraced: 100% of it\n"


def test_nobody_reads_any_more() -> None:
    def say() -> bool:
        reading, writing = os.pipe()
        os.dup2(writing, STDERR)
        os.close(reading)
        Log().error("nobody hears this")
        return True

    assert isolated(say)
