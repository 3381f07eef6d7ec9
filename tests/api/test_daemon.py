"""What daemon.hello takes and tells."""

from __future__ import annotations

import msgspec
import pytest

from utraced.api.daemon import Feature, Hello
from utraced.model import encode_json

from .declared import params


def test_a_client_may_name_itself() -> None:
    assert params(Hello).client is None
    assert params(Hello, client="a debugger").client == "a debugger"


@pytest.mark.parametrize("client", ["x" * 201, 5])
def test_a_name_is_a_short_text(client: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        params(Hello, client=client)


def test_a_feature_that_works_needs_no_reason() -> None:
    assert encode_json(Feature(available=True)) == b'{"available":true}'
