"""The protocol's description of itself."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from utraced.errors import Cancelled, TimedOut
from utraced.rpc.method import Method


class Discover(Method[dict[str, Any]], frozen=True):
    """Return the OpenRPC document that describes this protocol: methods, types, errors, events, binary layouts.

    ``family``: only the methods whose names begin with this word (``"engine"``), or, with ``"event"``, only the
    events; absent, everything.
    """

    method = "rpc.discover"
    errors = (Cancelled, TimedOut)

    family: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
