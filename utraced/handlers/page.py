"""Pages of long lists: as many members as fit a packet."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from utraced.handlers.limits import MAX_PACKET
from utraced.model import Value, encode_json

PAGE_SIZE = MAX_PACKET * 3 // 4
"""Bytes of members in a reply; the rest of the packet is for what is around them."""

Member = TypeVar("Member", bound=Value)


def fitting(members: Iterable[Member], limit: int | None) -> tuple[tuple[Member, ...], Member | None]:
    """Return the first members that fit, at most ``limit``, and the first that did not, None where all did.

    Measured as JSON, which is never shorter than MessagePack.  The first member is always taken.
    """
    page: list[Member] = []
    size = 0
    for member in members:
        size += len(encode_json(member)) + 1
        if page and (size > PAGE_SIZE or len(page) == limit):
            return tuple(page), member
        page.append(member)
    return tuple(page), None
