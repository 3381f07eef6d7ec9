"""Replies: one by one, or those of a batch together in one packet (PROTOCOL.md §2)."""

from __future__ import annotations

from functools import cache
from typing import Any, get_type_hints

import msgspec
from msgspec import Struct

from utraced.errors import InternalError, LimitExceeded, UtracedError
from utraced.model import Index
from utraced.rpc.encoding import Encoding, shown
from utraced.rpc.packet import Packet

MAX_FDS = 16
"""Descriptors in a packet; ``model.Index`` counts below it."""

SLACK = 5 + MAX_FDS
"""Bytes of a packet of replies besides them and their commas: the array's head, indices that grow by a digit."""

WAY_OUT = "Ask for less at a time, by cursor and limit, or pass a file descriptor for the data."


class Reply(Struct, frozen=True, eq=False):
    """The reply to one request: ``body`` is the whole response; ``value`` and ``fds`` are kept where fds go with it."""

    raw_id: bytes
    body: bytes
    value: object = None
    fds: tuple[int, ...] = ()


class Batch:
    """The replies of one batch that a packet will hold; ``open`` says how many are not there yet."""

    __slots__ = ("encoding", "max_packet", "open", "replies")

    def __init__(self, encoding: Encoding, max_packet: int) -> None:
        self.encoding = encoding
        self.max_packet = max_packet
        self.open = 0
        self.replies: list[Reply | None] = []

    def reserve(self) -> int:
        """Keep a place for a reply to come, in the order of the requests."""
        self.replies.append(None)
        self.open += 1
        return len(self.replies) - 1

    def add(self, reply: Reply) -> None:
        """Append a reply that is there already."""
        self.replies.append(reply)

    def fill(self, slot: int, reply: Reply) -> None:
        """Put a reply in its place."""
        self.replies[slot] = reply
        self.open -= 1

    def fds(self) -> list[int]:
        """Return the descriptors of all replies so far."""
        return [fd for reply in self.replies if reply for fd in reply.fds]

    def packet(self) -> tuple[Packet, list[int]]:
        """Return the packet of all replies, and the descriptors that it leaves behind, to be closed.

        Where the replies do not fit together, the largest give way to ``limit_exceeded``, each under its id; where the
        errors do not fit either (ids may be long), one error of id null stands for the last of them.
        """
        replies = [reply for reply in self.replies if reply]
        left: list[int] = []
        self._refuse_fds(replies, left)
        room = self.max_packet - SLACK
        size = sum(len(reply.body) + 1 for reply in replies)
        error = error_body(self.encoding, too_large_error(self.max_packet))
        by_size = sorted(range(len(replies)), key=lambda position: len(replies[position].body))
        while by_size and size > room:
            position = by_size.pop()
            large = replies[position]
            refusal = self.encoding.response(large.raw_id, "error", error)
            if len(refusal) < len(large.body):
                left += large.fds
                replies[position] = Reply(large.raw_id, refusal)
                size += len(refusal) - len(large.body)
        if size > room:
            null = self.encoding.null
            last = Reply(null, self.encoding.response(null, "error", error))
            while replies and size + len(last.body) > room:
                dropped = replies.pop()
                left += dropped.fds
                size -= len(dropped.body) + 1
            replies.append(last)
        fds = tuple(fd for reply in replies for fd in reply.fds)
        return Packet(self.encoding.join(self._bodies(replies)), fds), left

    def _refuse_fds(self, replies: list[Reply], left: list[int]) -> None:
        """Put ``limit_exceeded`` in the place of replies whose descriptors a packet does not hold."""
        count = 0
        for position, reply in enumerate(replies):
            if count + len(reply.fds) <= MAX_FDS:
                count += len(reply.fds)
                continue
            left += reply.fds
            replies[position] = error_reply(self.encoding, reply.raw_id, too_many_fds_error())

    def _bodies(self, replies: list[Reply]) -> list[bytes]:
        """Return the replies, with the descriptors' indices counted over the whole packet."""
        bodies = []
        base = 0
        for reply in replies:
            moved = reply.fds and base
            bodies.append(
                result_body(self.encoding, reply.raw_id, renumbered(reply.value, base)) if moved else reply.body
            )
            base += len(reply.fds)
        return bodies


def result_body(encoding: Encoding, raw_id: bytes, value: object) -> bytes:
    """Return the response of a result; raises ``InternalError`` where it cannot be encoded."""
    return encoding.response(raw_id, "result", encoding.encode(value))


def error_reply(encoding: Encoding, raw_id: bytes, error: UtracedError) -> Reply:
    """Return the response of an error, which always succeeds."""
    return Reply(raw_id, encoding.response(raw_id, "error", error_body(encoding, error)))


def error_body(encoding: Encoding, error: UtracedError) -> bytes:
    """Return an error as the member of a response."""
    members = {"code": error.code or InternalError.code, "message": error.message, "data": error.wire_data()}
    try:
        return encoding.encode(members)
    except InternalError:
        # A path or an argument of a target got into the text as os.fsdecode gave it: say it without what is no UTF-8.
        data = {"kind": error.kind, "hint": _plain(error.hint)}
        return encoding.encode({**members, "message": _plain(error.message), "data": data})


def too_large_error(max_packet: int) -> LimitExceeded:
    """Return the error for a reply above the size of a packet, in bytes."""
    return LimitExceeded("the reply does not fit a packet", limit="max_packet", value=max_packet, hint=WAY_OUT)


def too_many_fds_error() -> LimitExceeded:
    """Return the error for more descriptors than go with a packet."""
    return LimitExceeded(
        f"a packet holds {MAX_FDS} file descriptors",
        limit="max_fds",
        value=MAX_FDS,
        hint="Send or ask for the others in packets of their own.",
    )


def fitting(encoding: Encoding, reply: Reply, max_packet: int) -> Reply:
    """Return the reply, or the error that says it is too large: under its id, or, where that does not fit, id null."""
    if len(reply.body) <= max_packet:
        return reply
    error = too_large_error(max_packet)
    refusal = error_reply(encoding, reply.raw_id, error)
    return refusal if len(refusal.body) <= max_packet else error_reply(encoding, encoding.null, error)


def renumbered(value: object, base: int) -> object:
    """Return a result whose members of type ``model.Index`` count from ``base``."""
    if not isinstance(value, Struct):
        return value
    indices = {name: getattr(value, name) for name in _indices(type(value))}
    moved = {name: index + base for name, index in indices.items() if index is not None}
    return msgspec.structs.replace(value, **moved)


@cache
def _indices(kind: type[Struct]) -> tuple[str, ...]:
    hints: dict[str, Any] = get_type_hints(kind, include_extras=True)
    return tuple(name for name, hint in hints.items() if hint == Index or Index in getattr(hint, "__args__", ()))


def _plain(text: str) -> str:
    return shown(text).encode("utf-8", "backslashreplace").decode()
