"""What a packet says: requests, responses and notifications, as values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import UNSET, Struct, UnsetType, field

from utraced.errors import InvalidParams, InvalidRequest, ParseError, UtracedError
from utraced.rpc.encoding import Encoding
from utraced.rpc.method import Method
from utraced.rpc.packet import Descriptors, Packet

if TYPE_CHECKING:
    from utraced.rpc.batch import Batch

Id = str | int | float | None
"""Ids that are equal in Python are one id: 1 and 1.0 are the same number."""


class Request(Struct, frozen=True, eq=False, kw_only=True):
    """A request to carry out, or a notification, which is carried out and never answered.

    ``params`` is decoded; ``descriptors`` are those of the whole packet, which a batch shares.  ``raw_id`` is the id as
    it came, to be sent back so.
    """

    id: Id | UnsetType
    method: str
    params: Method[Any]
    descriptors: Descriptors
    encoding: Encoding
    raw_id: bytes = b""
    batch: Batch | None = None
    slot: int = 0

    @property
    def is_notification(self) -> bool:
        """Whether nobody waits for an answer."""
        return self.id is UNSET


class Response(Struct, frozen=True, eq=False, kw_only=True):
    """The answer to a request of ours: ``result``, still encoded, or the ``error`` as it was raised at the other end.

    An ``id`` of None is the other end's complaint of a packet of ours of which it could make out no id.
    """

    id: int | None
    encoding: Encoding
    descriptors: Descriptors
    result: bytes = b""
    error: UtracedError | None = None
    kind: Any = Any

    def value(self) -> Any:
        """Return the result as its method's type; raise the error where there is one.

        Raises ``InvalidRequest`` where the result is not what the method declares: a daemon of another making.
        """
        if self.error is not None:
            raise self.error
        try:
            return self.encoding.decode(self.result, self.kind)
        except (InvalidParams, ParseError) as error:
            raise InvalidRequest(
                f"the result does not fit its method: {error.message}",
                hint="The daemon's version differs from the client's: compare daemon.hello with utracectl --version.",
            ) from error


class Notification(Struct, frozen=True, eq=False, kw_only=True):
    """A notification of a method that is not in our registry: to a client, its events; ``params`` are still encoded."""

    method: str
    params: bytes
    encoding: Encoding

    def value(self, kind: Any = Any) -> Any:
        """Return the parameters as ``kind``; raises as ``Encoding.decode``."""
        return self.encoding.decode(self.params, kind)


class Received(Struct, eq=False, kw_only=True):
    """What one packet led to.

    Start ``requests`` in their order, then cancel those of ``cancelled`` that still wait, and send ``replies``.
    ``fds.unclaimed()`` is to be closed when the last of ``requests`` is done and ``responses`` are delivered.
    """

    fds: Descriptors
    requests: list[Request] = field(default_factory=list)
    cancelled: list[Request] = field(default_factory=list)
    replies: list[Packet] = field(default_factory=list)
    responses: list[Response] = field(default_factory=list)
    notifications: list[Notification] = field(default_factory=list)
