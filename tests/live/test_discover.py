"""The daemon describes itself over its socket, and what it describes is what it does."""

from __future__ import annotations

import pytest

from tests.children import ended
from utracectl.client import Client
from utraced.api import engine, rpc
from utraced.api.document import document
from utraced.api.methods import registry
from utraced.errors import InvalidParams, MethodNotFound, UtracedError


def test_the_whole_document_comes_in_one_packet(client: Client) -> None:
    assert client.call(rpc.Discover()) == document()


def test_one_family(client: Client) -> None:
    assert client.call(rpc.Discover(family="event"))["x-events"] == document()["x-events"]
    assert client.call(rpc.Discover(family="thread")) == document("thread")
    with pytest.raises(InvalidParams):
        client.call(rpc.Discover(family="threads"))


def test_every_method_it_lists_is_answered(client: Client) -> None:
    for method in client.call(rpc.Discover())["methods"]:
        with pytest.raises(InvalidParams) as caught:
            client.call_raw(method["name"], {"no such member": 1})
        assert caught.value.data["member"] == "no such member"
    with pytest.raises(MethodNotFound):
        client.call_raw("engine.nothing", {})


def test_errors_carry_what_it_says(client: Client) -> None:
    described = client.call(rpc.Discover())["components"]["errors"]
    with pytest.raises(UtracedError) as caught:
        client.call(engine.Attach(pid=ended()))
    error = caught.value
    assert described[error.kind]["code"] == error.code
    assert error.wire_data().keys() <= described[error.kind]["data"]["properties"].keys()
    assert type(error) in registry().methods["engine.attach"].errors
