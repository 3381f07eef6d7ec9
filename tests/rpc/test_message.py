"""Requests, responses and notifications as values."""

from __future__ import annotations

import pytest
from msgspec import UNSET, Raw

from utraced.api.daemon import Hello
from utraced.errors import Gone, InvalidRequest
from utraced.model import Status
from utraced.rpc.encoding import JSON
from utraced.rpc.message import Notification, Request, Response
from utraced.rpc.packet import Descriptors


def response(result: bytes, kind: object = Status) -> Response:
    return Response(id=1, encoding=JSON, descriptors=Descriptors(), result=Raw(result), kind=kind)


def test_a_request_without_an_id_is_a_notification() -> None:
    for identity, expected in ((UNSET, True), (None, False), (0, False), ("", False)):
        request = Request(id=identity, method="daemon.hello", params=Hello(), descriptors=Descriptors(), encoding=JSON)
        assert request.is_notification is expected


def test_a_response_is_the_result_of_its_method() -> None:
    assert response(b'{"code":7}').value() == Status(code=7)


def test_a_response_raises_its_error() -> None:
    failed = Response(id=1, encoding=JSON, descriptors=Descriptors(), error=Gone("it has ended"))
    with pytest.raises(Gone, match="it has ended"):
        failed.value()


@pytest.mark.parametrize("result", [b'{"code":"seven"}', b"[", b"null"])
def test_a_result_that_does_not_fit_is_the_other_end_s_fault(result: bytes) -> None:
    with pytest.raises(InvalidRequest, match="does not fit"):
        response(result).value()


def test_a_notification_is_decoded_as_asked() -> None:
    told = Notification(method="event", params=Raw(b'{"code":3}'), encoding=JSON)
    assert told.value() == {"code": 3}
    assert told.value(Status) == Status(code=3)
