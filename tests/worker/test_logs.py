from __future__ import annotations

import fcntl
import logging
import os

from tests.children import isolated
from utraced.worker.logs import start_log


def said(room: bool) -> bytes:
    """Return what a reader finds in a pipe of one page after an error with its traceback was logged."""

    def say() -> bytes:
        reading, writing = os.pipe()
        if not room:
            fcntl.fcntl(reading, fcntl.F_SETPIPE_SZ, 4096)
        os.dup2(writing, 2)
        logging.getLogger().handlers.clear()
        start_log()
        if not room:
            os.write(writing, b"." * 4096)
        try:
            raise RuntimeError("a bug")
        except RuntimeError:
            logging.getLogger("utraced").exception("session %d ended", 3)
        os.set_blocking(reading, False)
        return os.read(reading, 8192)

    return isolated(say)


def test_every_line_says_whose_it_is() -> None:
    lines = said(room=True).decode().splitlines()
    assert lines[0] == "utraced: session 3 ended"
    assert lines[-1] == "utraced: RuntimeError: a bug"
    assert all(line.startswith("utraced: ") for line in lines)


def test_a_full_pipe_is_not_waited_for() -> None:
    assert said(room=False) == b"." * 4096
