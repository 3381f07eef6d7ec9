"""Where a trace is written: stderr, stdout, or a file."""

from __future__ import annotations

import os
import select

from utracectl.messages import Failure, say


class Output:
    """Writes to a descriptor until that fails; a failure is told once and kept in ``failed``.

    ``what`` it is of which a failure is the end.
    """

    def __init__(self, fd: int, name: str, *, what: str = "trace") -> None:
        self.failed = False
        self._what = what
        self._fd = fd
        self._name = name

    def write(self, data: str | bytes) -> None:
        """Write all of ``data``, text as UTF-8."""
        rest = memoryview(data.encode("utf-8", "backslashreplace") if isinstance(data, str) else data)
        while rest and not self.failed:
            try:
                rest = rest[os.write(self._fd, rest) :]
            except BlockingIOError:
                # Somebody who shares the terminal or pipe with us made it non-blocking.
                poll = select.poll()
                poll.register(self._fd, select.POLLOUT)
                poll.poll()
            except BrokenPipeError:
                # Whoever read it has seen enough.
                self.failed = True
            except OSError as error:
                self.failed = True
                say(f"cannot write to {self._name} ({error.strerror}): the {self._what} ends here")


def open_output(path: str) -> Output:
    """Make or empty the file at ``path``; raises ``Failure``."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOCTTY, 0o666)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise Failure(f"cannot write to {path} ({why}): name a file that you may write with -o") from error
    return Output(fd, path)
