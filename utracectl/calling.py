"""Calling a method by name, with parameters from the command line."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import sys
from collections.abc import Sequence
from typing import Any, BinaryIO

from utracectl.client import connect
from utracectl.exit_codes import ERROR, OK
from utracectl.messages import Failure, WrongUsage, say
from utracectl.showing import print_json


class NotShown(Failure):
    """The call succeeded, but what came with its result went nowhere."""

    status = ERROR


def call(
    method: str, parameters: Sequence[str], *, compact: bool, output: str | None = None, host: str | None = None
) -> int:
    """Call ``method`` and print the result as JSON, indented or on one line.

    ``output`` names a file for the contents of the descriptor that comes with the result.  Raises ``Failure``.
    """
    with contextlib.ExitStack() as stack:
        params, fds = read_parameters(parameters)
        for fd in fds:
            stack.callback(os.close, fd)
        target = None if output is None else stack.enter_context(_made(output))
        client = stack.enter_context(connect(json=True, host=host, notice=say))
        result, descriptors = client.call_raw_with_descriptors(method, params, fds)
        received = descriptors.unclaimed()
        for fd in received:
            stack.callback(os.close, fd)
        print_json(result, indent=None if compact else 2)
        sys.stdout.flush()
        _keep(received, target)
    return OK


def _keep(received: Sequence[int], target: BinaryIO | None) -> None:
    """Write the contents of the one descriptor that was received to ``target``; raises ``Failure``."""
    if not received and target is None:
        return
    if target is None:
        raise NotShown("the result came with a file descriptor: name a file for its contents with -o FILE")
    if len(received) != 1:
        count = f"{len(received)} file descriptors" if received else "no file descriptor"
        raise NotShown(f"the result came with {count}: nothing is written to {target.name}")
    mode = os.fstat(received[0]).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
        raise NotShown(f"the result came with a descriptor that is no file: nothing is written to {target.name}")
    try:
        with open(received[0], "rb", closefd=False) as source:
            if source.seekable():
                source.seek(0)
            shutil.copyfileobj(source, target, 1 << 20)
            target.flush()
    except OSError as error:
        raise Failure(f"cannot write to {target.name} ({error.strerror}): its contents are not complete") from error


def _made(path: str) -> BinaryIO:
    """Make or empty the file at ``path``, before anything is asked for; raises ``Failure``."""
    try:
        return open(path, "wb", buffering=0)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise Failure(f"cannot write to {path} ({why}): name a file that you may write with -o") from error


def read_parameters(words: Sequence[str]) -> tuple[dict[str, Any], list[int]]:
    """Return the parameters of ``NAME=VALUE`` words and the descriptors opened for them.

    Raises ``WrongUsage``.
    """
    params: dict[str, Any] = {}
    fds: list[int] = []
    try:
        for word in words:
            name, equals, text = word.partition("=")
            if not equals or not name:
                raise WrongUsage(f"{word!r}: a parameter is written NAME=VALUE")
            if name in params:
                raise WrongUsage(f"{name} is given twice")
            if text.startswith("@"):
                params[name] = len(fds)
                fds.append(_open(text[1:]))
            else:
                params[name] = _value(text)
    except WrongUsage:
        for fd in fds:
            os.close(fd)
        raise
    return params, fds


def _value(text: str) -> Any:
    """Return the JSON value that ``text`` is, else the text itself."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _open(path: str) -> int:
    """Return a descriptor of the file, made where there is none; only for reading where it cannot be written."""
    try:
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY, 0o666)
        except PermissionError:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise WrongUsage(f"@{path}: {why}") from error
