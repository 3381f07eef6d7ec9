"""The daemon's configuration: the text of a TOML file in, a value or one line that says what is wrong out.

    BadConfiguration    ``FILE: line N: KEY: what is wrong, and what is allowed``

An absent file means the defaults, and so does every absent key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, NamedTuple

import msgspec
import msgspec.inspect
from msgspec import Meta

from utraced.model import Value

Path = tuple[str, ...]

PLACE = "/etc/utraced.toml"
"""Where the system's daemon looks for it."""
LARGEST_UID = 2**32 - 2
"""2**32 - 1 is "no user" (chown(2))."""
SHOWN = 60
"""Characters of a key in a message."""

_POSITION = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")
_BARE = re.compile(r"[A-Za-z0-9_-]+")


class BadConfiguration(Exception):
    """What is wrong with the configuration, in one line."""


class Limits(Value, frozen=True, forbid_unknown_fields=True):
    """What one user may ask for.

    ``sessions``: connections at the same time.  ``workers``: processes that trace for him; each set of his groups
    needs one.  ``tracees``: threads that one worker traces.  ``queue_bytes``: events that wait for a client before
    observations are lost and threads wait.  ``stall_seconds``: after that time without reading what waits for it a
    client is disconnected; None, which no file can say, is never.
    """

    sessions: Annotated[int, Meta(ge=1, le=100_000)] = 2000
    workers: Annotated[int, Meta(ge=1, le=1000)] = 16
    tracees: Annotated[int, Meta(ge=1, le=4_194_304)] = 16_384
    queue_bytes: Annotated[int, Meta(ge=262_144, le=67_108_864)] = 1_048_576
    stall_seconds: Annotated[int, Meta(ge=1, le=86_400)] | None = 30


class Idle(Value, frozen=True, forbid_unknown_fields=True):
    """When what is not used ends, in seconds.  ``worker``: one without sessions."""

    worker: Annotated[int, Meta(ge=1, le=86_400)] = 60


class Broker(Value, frozen=True, forbid_unknown_fields=True):
    """Whom the broker lets in.  ``foreign_pid_namespaces``: also processes of containers."""

    foreign_pid_namespaces: bool = False


class Configuration(Value, frozen=True):
    """All of it.  ``limits`` are everybody's but those of ``users``, by name or by number as text."""

    limits: Limits = Limits()
    users: Mapping[str, Limits] = msgspec.field(default_factory=dict)
    idle: Idle = Idle()
    broker: Broker = Broker()

    def limits_of(self, uid: int, name: str | None) -> Limits:
        """Return a user's limits; what is said of his number goes before what is said of his name."""
        found = self.users.get(str(uid))
        if found is None and name is not None:
            found = self.users.get(name)
        return self.limits if found is None else found


_SECTIONS: Mapping[str, type[Value]] = {"limits": Limits, "idle": Idle, "broker": Broker}


class _Problem(NamedTuple):
    path: Path
    text: str


def parse(text: str, *, place: str = PLACE) -> Configuration:
    """Return the configuration that ``text`` says; raises BadConfiguration, which names ``place`` and the line."""
    import tomllib  # every start would pay for it, and few read a file

    text = text.replace("\r\n", "\n")  # as tomllib does
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadConfiguration(f"{place}: {_syntax(error, text)}") from None
    problems = list(_problems(document))
    if problems:
        from utraced.toml_lines import lines_of_keys

        lines = lines_of_keys(text)
        line, problem = min(((lines[problem.path], problem) for problem in problems), key=lambda found: found[0])
        raise BadConfiguration(f"{place}: line {line}: {_shown(problem.path)}: {problem.text}")
    limits = document.get("limits", {})
    own = limits.pop("user", {})
    return Configuration(
        limits=Limits(**limits),
        users={name: Limits(**{**limits, **overrides}) for name, overrides in own.items()},
        idle=Idle(**document.get("idle", {})),
        broker=Broker(**document.get("broker", {})),
    )


def _problems(document: Mapping[str, Any]) -> Iterator[_Problem]:
    """Yield what is wrong with a document."""
    for name, table in document.items():
        if name not in _SECTIONS:
            yield _Problem((name,), _unknown(name, _SECTIONS))
        elif type(table) is not dict:
            yield _Problem((name,), _not_allowed(table, "a table"))
        elif name == "limits":
            yield from _table(("limits",), {key: value for key, value in table.items() if key != "user"}, ("user",))
            yield from _users(table.get("user", {}))
        else:
            yield from _table((name,), table)


def _users(users: Any) -> Iterator[_Problem]:
    path: Path = ("limits", "user")
    if type(users) is not dict:
        yield _Problem(path, _not_allowed(users, "a table for each user"))
        return
    for name, table in users.items():
        if not name or (name.isdecimal() and not _is_uid(name)):
            yield _Problem((*path, name), f"no user: a name or a number from 0 to {LARGEST_UID} is allowed")
        elif type(table) is not dict:
            yield _Problem((*path, name), _not_allowed(table, "a table"))
        else:
            yield from _table((*path, name), table)


def _table(path: Path, table: Mapping[str, Any], more: tuple[str, ...] = ()) -> Iterator[_Problem]:
    """Compare a table with the struct of its section; ``more`` are further keys that it may have."""
    struct = msgspec.inspect.type_info(_SECTIONS[path[0]])
    assert isinstance(struct, msgspec.inspect.StructType)
    fields = {field.name: field.type for field in struct.fields}
    for key, value in table.items():
        if key not in fields:
            yield _Problem((*path, key), _unknown(key, [*fields, *more]))
        elif (allowed := _refused(value, fields[key])) is not None:
            yield _Problem((*path, key), _not_allowed(value, allowed))


def _refused(value: Any, kind: msgspec.inspect.Type) -> str | None:
    """Return what is allowed where ``value`` is not."""
    if isinstance(kind, msgspec.inspect.UnionType):
        kind = kind.types[0]  # no TOML says None
    if isinstance(kind, msgspec.inspect.BoolType):
        return None if type(value) is bool else "true or false"
    assert isinstance(kind, msgspec.inspect.IntType)
    least, most = kind.ge or 0, kind.le or 0
    return None if type(value) is int and least <= value <= most else f"a whole number from {least} to {most}"


def _not_allowed(value: Any, allowed: str) -> str:
    kinds = {dict: "a table", list: "an array", str: "a text", bool: "true or false", float: "a number with a fraction"}
    given = str(value) if type(value) is int and abs(value) < 10**18 else kinds.get(type(value), "this value")
    return f"{given} is not allowed, {allowed} is"


def _unknown(key: str, known: Mapping[str, Any] | list[str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(key[:SHOWN], known, 1)
    return f"unknown key, did you mean {near[0]}?" if near else f"unknown key, allowed are {', '.join(known)}"


def _is_uid(digits: str) -> bool:
    """Tell whether digits are a uid, written in the one way that we look for."""
    return len(digits) <= len(str(LARGEST_UID)) and str(int(digits)) == digits and int(digits) <= LARGEST_UID


def _syntax(error: ValueError | RecursionError, text: str) -> str:
    """Return the line and what tomllib says of it."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    said = str(error)
    position = _POSITION.search(said)
    if position is None:  # int's own word (sys.set_int_max_str_digits)
        return "a number has too many digits"
    lines = text.split("\n")
    line = int(position[1] or len(lines))
    # tomllib does not say of what it speaks.
    there = lines[line - 1].partition("=")[0].strip() if line <= len(lines) else ""
    what = f" ({_printable(there)})" if there else ""
    return f"line {line}: {_printable(said[: position.start()], 3 * SHOWN)}{what}"


def _shown(path: Path) -> str:
    """Return a key as a file names it."""
    return ".".join(_printable(word) if _BARE.fullmatch(word) else f'"{_printable(word)}"' for word in path)


def _printable(text: str, most: int = SHOWN) -> str:
    """Return text of a file for a terminal and a journal: in one line, without what controls them."""
    shown = "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text[:most])
    return shown + "…" * (len(text) > most)
