"""rpc.discover."""

from __future__ import annotations

from collections.abc import Awaitable
from functools import cache
from typing import Any

from utraced.api import rpc as api
from utraced.errors import LimitExceeded
from utraced.model import encode_json

from .aside import aside
from .context import Context, handles
from .limits import MAX_PACKET

ENVELOPE = 1024
"""Bytes of a packet that are left for what is around the result."""


@handles(api.Discover)
def discover(params: api.Discover, _context: Context) -> Awaitable[dict[str, Any]]:
    """Describe the protocol; the first time that takes 0.1 s, in which others are served."""
    return aside(lambda: _described(params.family))


def _described(family: str | None) -> dict[str, Any]:
    # Loaded when first asked for: most daemons are never.
    from utraced.api.document import document, parts

    size = _size(family)
    if size > MAX_PACKET - ENVELOPE:
        raise LimitExceeded(
            f"the description of {size} bytes does not fit a packet",
            limit="max_packet",
            value=MAX_PACKET,
            hint=f"Ask for one family at a time: {', '.join(parts())}.",
        )
    return document(family)


@cache
def _size(family: str | None) -> int:
    """Return the bytes of a document as JSON, which is never shorter than MessagePack."""
    from utraced.api.document import document

    return len(encode_json(document(family)))
