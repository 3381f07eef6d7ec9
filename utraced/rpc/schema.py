"""JSON Schemas of the protocol's types, as msgspec derives them from the types that decode, made fit to be read.

Written so that draft 7, which OpenRPC 1.3 names, and later drafts read them alike.  A member whose absence means null
is optional and never null: that is how we write it, and how it should be written to us.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import NODEFAULT, UNSET, Struct
from msgspec.structs import FieldInfo, fields

from utraced.model import encode_json, schema_hook
from utraced.rpc import docstrings
from utraced.rpc.docstrings import Docs

TEMPLATE = "#/components/schemas/{name}"

Schema = dict[str, Any]

_NULL: Schema = {"type": "null"}


class Schemas:
    """Makes schemas, and gathers those that they refer to in ``components``."""

    def __init__(self) -> None:
        self.components: dict[str, Schema] = {}

    def of(self, kinds: Iterable[Any]) -> tuple[Schema, ...]:
        """Return the schemas of types, structs by reference; raises ValueError where two structs have one name."""
        found, components = msgspec.json.schema_components(kinds, schema_hook=schema_hook, ref_template=TEMPLATE)
        for name, component in components.items():
            schema = _described(_tidy(component))
            if "." in name or self.components.setdefault(name, schema) != schema:
                raise ValueError(f"two structs of the protocol are called {name.rpartition('.')[2]}")
        return tuple(map(_tidy, found))

    def members(self, kind: type[Struct]) -> list[tuple[FieldInfo, Schema, str]]:
        """Return a struct's members, those that it must have first, with their schemas and descriptions."""
        ordered = sorted(fields(kind), key=lambda field: not field.required)
        docs = docs_of(kind)
        schemas = self.of(field.type for field in ordered)
        return [
            (field, *_optional(field, schema, docs.members.get(field.encode_name, "")))
            for field, schema in zip(ordered, schemas, strict=True)
        ]

    def inline(self, kind: type[Struct], *, always: Iterable[str] = ()) -> Schema:
        """Return the schema of a struct itself, not by reference; ``always`` are members that it has though they
        have a default.
        """
        properties: dict[str, Schema] = {}
        config = kind.__struct_config__
        if config.tag is not None:
            properties[str(config.tag_field)] = {"const": config.tag}
        required = list(properties)
        for field, schema, description in self.members(kind):
            name = field.encode_name
            properties[name] = _with_description(schema, description)
            if field.required or name in always:
                required.append(name)
                properties[name].pop("default", None)
        return {"type": "object", "properties": properties, "required": required}


def docs_of(kind: type[Struct]) -> Docs:
    """Return what the docstrings of a struct and of those it is made from tell; its own members' own first."""
    names = set(kind.__struct_encode_fields__)
    found = docstrings.parse(kind.__doc__ or "", names)
    for base in kind.__mro__[1:]:
        if base is not Struct and issubclass(base, Struct):
            own = names & set(base.__struct_encode_fields__)
            for name, told in docstrings.parse(base.__doc__ or "", own).members.items():
                found.members.setdefault(name, told)
    return found


def plain(value: Any) -> Any:
    """Return a value of the protocol as it is in JSON, in plain types."""
    return msgspec.json.decode(encode_json(value))


def _optional(field: FieldInfo, schema: Schema, description: str) -> tuple[Schema, str]:
    """Add a member's default to its schema, or take away the null that its absence means."""
    description = description or schema.get("description", "")
    if field.default is None:
        schema = _without_null(schema)
    elif field.default not in {NODEFAULT, UNSET}:
        schema = {**schema, "default": plain(field.default)}
    return schema, description


def _with_description(schema: Schema, description: str) -> Schema:
    return {**schema, "description": description} if description else schema


def _described(schema: Schema) -> Schema:
    """Spread a struct's docstring over the struct and its members."""
    properties: Mapping[str, Schema] = schema.get("properties", {})
    docs = docstrings.parse(schema.get("description", ""), properties)
    members = {}
    for name, raw in properties.items():
        member = raw
        if raw.get("default", NODEFAULT) is None:
            member = {key: value for key, value in _without_null(raw).items() if key != "default"}
        members[name] = _with_description(member, docs.members.get(name) or _twin(name, properties))
    text = "\n\n".join(part for part in (docs.summary, docs.description) if part)
    return _with_description({**schema, "properties": members}, text)


def _twin(name: str, properties: Mapping[str, Schema]) -> str:
    """Describe the ``…_bytes`` twin of a text (PROTOCOL.md §1)."""
    text = name.removesuffix("_bytes")
    return f"The exact bytes of `{text}`, where the text is not exact." if text != name and text in properties else ""


def _without_null(schema: Schema) -> Schema:
    """Return a schema that no longer admits null."""
    choices = [choice for choice in schema.get("anyOf", ()) if choice != _NULL]
    rest = {key: value for key, value in schema.items() if key != "anyOf"}
    if len(choices) == 1:
        return {**choices[0], **rest}
    return {**rest, "anyOf": choices} if choices else schema


def _tidy(schema: Any) -> Any:
    """Write fixed tuples of one type as all drafts understand them, and leave out empty lists of required members."""
    if isinstance(schema, list | tuple):
        return [_tidy(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: _tidy(value) for key, value in schema.items()}
    items = schema.pop("prefixItems", None)
    if items:
        if any(each != items[0] for each in items):
            raise ValueError("a tuple of several types has no schema that all drafts read alike")
        schema |= {"items": items[0]}
    if schema.get("required") == []:
        del schema["required"]
    return schema
