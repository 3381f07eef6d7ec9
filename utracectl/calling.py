"""Calling a method by name, with parameters from the command line."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from typing import Any

from utracectl.client import connect
from utracectl.exit_codes import OK
from utracectl.messages import WrongUsage
from utracectl.showing import print_json


def call(method: str, parameters: Sequence[str], *, compact: bool) -> int:
    """Call ``method`` and print the result as JSON, indented or on one line."""
    with contextlib.ExitStack() as stack:
        params, fds = read_parameters(parameters)
        for fd in fds:
            stack.callback(os.close, fd)
        client = stack.enter_context(connect(json=True))
        print_json(client.call_raw(method, params, fds), indent=None if compact else 2)
    return OK


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
