"""The description of the protocol in OpenRPC 1.3 (https://spec.open-rpc.org), from the types that decode requests.

Beside what OpenRPC has: ``x-access`` of a method, ``looks`` or ``changes``; ``x-events``, one per kind, each with the
schema of its parameters; ``x-layouts``, of binary records.  The ``data`` of an error is the schema of its data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from msgspec import Struct

from utraced.errors import InternalError, InvalidParams, LimitExceeded, PermissionDenied, UtracedError
from utraced.rpc import docstrings
from utraced.rpc.error_data import data_of
from utraced.rpc.layout import Layout
from utraced.rpc.method import Method
from utraced.rpc.schema import Schema, Schemas, docs_of, plain

VERSION = "1.3.2"

ALWAYS: tuple[type[UtracedError], ...] = (InvalidParams, InternalError, LimitExceeded)
"""The errors that every method can give."""

Result = TypeVar("Result")


class Example(Struct, frozen=True):
    """A call, the result that answers it, and what it shows."""

    name: str
    call: Method[Any]
    result: Any


def example(name: str, call: Method[Result], result: Result) -> Example:
    """Return an example whose result is of the method's type."""
    return Example(name, call, result)


class Contract(Struct, frozen=True):
    """All that a description tells.

    ``families`` are the methods by the part of their names before the dot, ``docs`` the docstrings of these families,
    ``events`` and ``event_examples`` the events by kind.
    """

    info: Mapping[str, Any]
    servers: Sequence[Mapping[str, Any]]
    families: Mapping[str, Sequence[type[Method[Any]]]]
    docs: Mapping[str, str]
    examples: Sequence[Example]
    events: Mapping[str, type[Struct]]
    event_examples: Mapping[str, Struct]
    layouts: Sequence[Layout]


def document(contract: Contract, families: Iterable[str], *, events: bool) -> dict[str, Any]:
    """Return the OpenRPC document of these families, with or without the events.

    Raises ValueError where two structs have one name.
    """
    chosen = sorted(families)
    schemas = Schemas()
    methods = [
        _method(method, contract.examples, schemas)
        for family in chosen
        for method in sorted(contract.families[family], key=lambda method: method.method)
    ]
    told = {
        "openrpc": VERSION,
        "info": dict(contract.info),
        "servers": [dict(server) for server in contract.servers],
        "methods": methods,
    }
    if events:
        told["x-events"] = [
            _event(kind, contract.events[kind], contract.event_examples, schemas) for kind in sorted(contract.events)
        ]
    told["x-layouts"] = [plain(layout) for layout in contract.layouts if _family(layout.method) in chosen]
    errors = {cls.kind: _error(cls, schemas) for cls in UtracedError.__subclasses__()}
    told["components"] = {
        "schemas": {name: schemas.components[name] for name in sorted(schemas.components)},
        "errors": errors,
        "tags": {family: _tag(family, contract.docs[family]) for family in chosen},
    }
    return told


def errors_of(method: type[Method[Any]]) -> tuple[type[UtracedError], ...]:
    """Return all errors that a method can give, in order of their codes as the specification of the protocol lists."""
    order = UtracedError.__subclasses__()
    observing = () if method.access == "looks" else (PermissionDenied,)
    return tuple(sorted({*method.errors, *observing, *ALWAYS}, key=order.index))


def _method(method: type[Method[Any]], examples: Sequence[Example], schemas: Schemas) -> dict[str, Any]:
    docs = docs_of(method)
    result = schemas.of([method.result])[0]
    told: dict[str, Any] = {
        "name": method.method,
        "summary": docs.summary,
        "tags": [{"$ref": f"#/components/tags/{_family(method.method)}"}],
        "paramStructure": "by-name",
        "params": [
            _named(field.encode_name, description) | {"required": field.required, "schema": schema}
            for field, schema, description in schemas.members(method)
        ],
        "result": {"name": "result", "schema": result},
        "errors": [{"$ref": f"#/components/errors/{error.kind}"} for error in errors_of(method)],
        "examples": [_example(each) for each in examples if type(each.call) is method],
        "x-access": method.access,
    }
    if docs.description:
        told["description"] = docs.description
    return told


def _example(each: Example) -> dict[str, Any]:
    params = plain(each.call)
    return {
        "name": each.name,
        "params": [
            {"name": name, "value": params[name]} for name in each.call.__struct_encode_fields__ if name in params
        ],
        "result": {"name": "result", "value": plain(each.result)},
    }


def _event(kind: str, event: type[Struct], examples: Mapping[str, Struct], schemas: Schemas) -> dict[str, Any]:
    docs = docs_of(event)
    told: dict[str, Any] = {"name": kind, "summary": docs.summary}
    if docs.description:
        told["description"] = docs.description
    told["schema"] = schemas.inline(event, always=("seq",))
    told["examples"] = [plain(examples[kind])]
    return told


def _error(error: type[UtracedError], schemas: Schemas) -> dict[str, Any]:
    data: Schema = schemas.inline(data_of(error))
    data["properties"]["kind"] = {"const": error.kind}
    message = docstrings.parse(error.__doc__ or "", ()).summary
    return {"code": error.code, "message": message, "data": data}


def _named(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "description": description} if description else {"name": name}


def _tag(family: str, doc: str) -> dict[str, str]:
    return {"name": family, "description": docstrings.parse(doc, ()).summary}


def _family(method: str) -> str:
    return method.partition(".")[0]
