"""The types of the errors' data, against what is raised with it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from utraced import errors
from utraced.errors import UtracedError
from utraced.model import Holder, Status, encode_json
from utraced.rpc.error_data import DATA, ErrorData, data_of

ROOT = Path(__file__).resolve().parents[2]
ERRORS = {cls.__name__: cls for cls in UtracedError.__subclasses__()}


def raised() -> Iterator[tuple[str, type[UtracedError], set[str]]]:
    """Give every place where an error is made: where, which, and the names of what it carries."""
    for path in sorted((ROOT / "utraced").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ERRORS:
                names = {keyword.arg for keyword in node.keywords if keyword.arg is not None}
                yield f"{path.relative_to(ROOT)}:{node.lineno}", ERRORS[node.func.id], names


def names_of(data: type[ErrorData], *, required: bool = False) -> set[str]:
    """Return the names of all members, or of those that are always there."""
    return {field.name for field in msgspec.structs.fields(data) if field.required or not required}


def test_what_is_raised_is_declared() -> None:
    undeclared = [
        (where, sorted(names)) for where, error, names in raised() if not names <= names_of(data_of(error)) - {"kind"}
    ]
    assert undeclared == []


def test_what_is_declared_as_always_there_is_always_given() -> None:
    missing = [
        (where, error.__name__)
        for where, error, names in raised()
        if not names_of(data_of(error), required=True) - {"kind", "hint"} <= names
    ]
    assert missing == []


def test_what_is_declared_is_given_somewhere() -> None:
    given: dict[type[UtracedError], set[str]] = {}
    for _, error, names in raised():
        given.setdefault(error, set()).update(names)
    idle = {
        error.__name__: unused
        for error, data in DATA.items()
        if (unused := names_of(data) - {"kind", "hint"} - given.get(error, set()))
    }
    assert idle == {}


@pytest.mark.parametrize(
    "error",
    [
        errors.ParseError("no JSON"),
        errors.InvalidParams("no", path="$.pid", member="pid"),
        errors.InternalError("bug", reference="0badcafe"),
        errors.PermissionDenied("no", reason="traced_by_other", tracer={"pid": 7, "comm": "gdb"}),
        errors.PermissionDenied("no", reason="capabilities", missing="0x80000"),
        errors.NoSuchProcess("gone", pid=7),
        errors.NotHeld("not", tid=7),
        errors.Gone("ended", status=Status(signal="SIGKILL")),
        errors.Contended("held", holder=Holder(session=4)),
        errors.BadAddress("hole", address="0x1000", done=12),
        errors.Unsupported("not here", feature="trace.raw"),
        errors.LimitExceeded("too much", limit="max_read", value=131_072),
    ],
    ids=lambda error: error.kind,
)
def test_data_as_it_is_on_the_wire(error: UtracedError) -> None:
    kind = msgspec.defstruct("Strict", [], bases=(data_of(type(error)),), forbid_unknown_fields=True, frozen=True)
    data = msgspec.json.decode(encode_json(error.wire_data()), type=kind)
    assert isinstance(data, ErrorData)
    assert (data.kind, data.hint) == (error.kind, error.hint)
    assert {name for name in error.data if getattr(data, name) is None} == set()


def test_errors_without_data_of_their_own() -> None:
    assert data_of(errors.TimedOut) is ErrorData
