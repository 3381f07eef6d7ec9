"""The log of a process that must not wait for whoever reads it: a full pipe would stop all that it serves."""

from __future__ import annotations

import logging

from utraced.linux.saying import Log


class Unwaiting(logging.Handler):
    """Writes what stderr takes at once, line by line."""

    def __init__(self) -> None:
        super().__init__()
        self._log = Log()

    def emit(self, record: logging.LogRecord) -> None:
        """See ``logging.Handler``."""
        for line in self.format(record).splitlines():
            self._log.info("%s", line)


def start_log() -> None:
    """Have this process's log written so."""
    logging.basicConfig(format="%(message)s", level=logging.INFO, handlers=[Unwaiting()])
