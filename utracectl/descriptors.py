"""Which messages need file descriptors: where none can pass, those are answered by an error that says so."""

from __future__ import annotations

from functools import cache
from typing import Any, get_args

import msgspec
from msgspec import Raw, Struct

from utracectl.lines import no_descriptors
from utraced.api.methods import registry
from utraced.errors import UtracedError
from utraced.model import Index
from utraced.rpc.batch import error_reply
from utraced.rpc.encoding import JSON
from utraced.rpc.envelope import read


def asks_for_descriptors(method: str | None, params: bytes) -> bool:
    """Return whether the parameters of a request, in JSON, name a descriptor of its packet."""
    kind = registry_methods().get(method or "")
    if kind is None:
        return False
    return _names_any(params, _indices(kind))


def with_errors(packet: bytes) -> bytes:
    """Return a packet of replies, in JSON, with errors for the results that name descriptors of it."""
    if JSON.shape(packet) != "array":
        return _refused(packet)
    replies: list[Raw] = JSON.decode(packet, list[Raw])
    names = _result_indices()
    return JSON.join(
        [_refused(reply) if _names_any(read(JSON, reply).result, names) else bytes(reply) for reply in replies]
    )


@cache
def registry_methods() -> dict[str, Any]:
    """Return the methods by name."""
    return dict(registry().methods)


@cache
def _indices(kind: Any) -> frozenset[str]:
    """Return the members of a struct that are indices of descriptors, as they are named on the wire."""
    if not (isinstance(kind, type) and issubclass(kind, Struct)):
        return frozenset()
    fields = msgspec.structs.fields(kind)
    return frozenset(each.encode_name for each in fields if each.type == Index or Index in get_args(each.type))


@cache
def _result_indices() -> frozenset[str]:
    """Return the names that indices of descriptors have in results."""
    return frozenset().union(*(_indices(kind.result) for kind in registry_methods().values()))


def _names_any(data: bytes, names: frozenset[str]) -> bool:
    """Return whether an object has one of the members, and it is not null."""
    try:
        members: dict[str, Raw] = JSON.decode(data or JSON.no_members, dict[str, Raw])
    except UtracedError:
        return False
    return any(bytes(members.get(name, JSON.null)) != JSON.null for name in names)


def _refused(reply: bytes | Raw) -> bytes:
    """Return the error in the place of a result."""
    return error_reply(JSON, read(JSON, reply).raw_id, no_descriptors()).body
