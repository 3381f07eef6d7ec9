from __future__ import annotations

import json

import pytest

from utracectl.descriptors import asks_for_descriptors, with_errors


@pytest.mark.parametrize(
    ("method", "params", "asks"),
    [
        ("memory.read", b'{"pid": 1, "fd": 0}', True),
        ("memory.read", b'{"pidfd": 0}', True),
        ("memory.read", b'{"pid": 1, "fd": null}', False),
        ("memory.read", b'{"pid": 1}', False),
        ("memory.read", b"", False),
        ("memory.read", b"[0]", False),
        ("memory.read", b"{nonsense", False),
        ("daemon.hello", b'{"client": "fd"}', False),
        ("later.method", b'{"fd": 0}', False),
        (None, b'{"fd": 0}', False),
    ],
)
def test_requests(method: str | None, params: bytes, asks: bool) -> None:
    assert asks_for_descriptors(method, params) is asks


def test_a_reply() -> None:
    reply = b'{"jsonrpc":"2.0","id":"x","result":{"anything":0}}'
    answer = json.loads(with_errors(reply))
    assert answer["id"] == "x"
    assert answer["error"]["data"]["kind"] == "unsupported"
    assert "result" not in answer


def test_of_a_batch_only_what_cannot_pass_is_refused() -> None:
    mapped = {"jsonrpc": "2.0", "id": 1, "result": {"fd": 0, "size": 5}}
    other = {"jsonrpc": "2.0", "id": 2, "result": {"engines": []}}
    error = {"jsonrpc": "2.0", "id": 3, "error": {"code": -32601, "message": "no"}}
    answers = json.loads(with_errors(json.dumps([mapped, other, error]).encode()))
    assert answers[1:] == [other, error]
    assert answers[0]["error"]["data"]["feature"] == "descriptors"
