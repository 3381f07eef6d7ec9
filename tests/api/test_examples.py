"""Examples are of the types that they are examples of."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest

from utraced.api.events import AnyEvent, Event
from utraced.api.examples import EVENTS, EXAMPLES
from utraced.api.methods import registry
from utraced.model import decode_hook, encode_json
from utraced.rpc.encoding import JSON, MESSAGEPACK, Encoding
from utraced.rpc.openrpc import Example


def strict(kind: Any) -> Any:
    """Return a result's type that takes no members it does not know."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return msgspec.defstruct(kind.__name__, [], bases=(kind,), forbid_unknown_fields=True, frozen=True)
    return kind


@pytest.mark.parametrize("method", sorted(registry().methods))
def test_every_method_has_an_example(method: str) -> None:
    assert [each for each in EXAMPLES if each.call.method == method]


@pytest.mark.parametrize("encoding", [JSON, MESSAGEPACK], ids=lambda encoding: encoding.name)
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: f"{example.call.method}: {example.name}")
def test_examples_decode_as_what_they_show(example: Example, encoding: Encoding) -> None:
    method = type(example.call)
    assert registry().methods[method.method] is method
    assert encoding.decode(encoding.encode(example.call), method) == example.call
    assert encoding.decode(encoding.encode(example.result), method.result) == example.result


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: f"{example.call.method}: {example.name}")
def test_results_have_no_members_beyond_their_type(example: Example) -> None:
    kind = strict(type(example.call).result)
    msgspec.json.decode(encode_json(example.result), type=kind, dec_hook=decode_hook)


def test_names_of_examples_differ() -> None:
    names = [(each.call.method, each.name) for each in EXAMPLES]
    assert len(set(names)) == len(names)


def test_every_kind_of_event_has_one_example() -> None:
    assert [type(event) for event in EVENTS] == list(get_args(AnyEvent))


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_events_decode_as_what_they_show(event: Event) -> None:
    assert msgspec.json.decode(encode_json(event), type=AnyEvent) == event
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(event), type=AnyEvent) == event
