"""Every method of the contract is carried out."""

from __future__ import annotations

from utraced.api.methods import registry
from utraced.handlers.all import HANDLERS


def test_every_method_has_a_handler_and_every_handler_a_method() -> None:
    assert set(HANDLERS) == set(registry().methods)
