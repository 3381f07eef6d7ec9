"""What daemon.hello takes and tells."""

from __future__ import annotations

import msgspec
import pytest

from utraced.api.daemon import Check, Checked, Feature, Finding, Hello
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


def test_a_process_may_be_named() -> None:
    assert params(Check).pid is None
    assert params(Check, pid=5, start_time=7).start_time == 7
    assert params(Check, pidfd=1).pidfd == 1
    with pytest.raises(msgspec.ValidationError):
        params(Check, pid=0)


def test_a_finding_says_what_there_is_to_say() -> None:
    finding = Finding(subject="yama", verdict="works", text="it is not there")
    told = b'{"subject":"yama","verdict":"works","text":"it is not there"}'
    assert encode_json(finding) == told
    assert encode_json(Checked(findings=(), conclusion=finding)) == b'{"findings":[],"conclusion":' + told + b"}"
