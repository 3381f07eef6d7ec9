"""What a handler may use: its session, the tracing core, and the descriptors of its request's packet."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from utraced.rpc.method import Method
from utraced.rpc.packet import Descriptors

if TYPE_CHECKING:
    from utraced.handlers.session import Session
    from utraced.kernel.tracer import Tracer
    from utraced.tracing.waiting import Waiter

Call = TypeVar("Call", bound=Method[Any])


class Waits(Protocol):
    """How a handler waits for threads to stop."""

    async def over(self, waiter: Waiter, patience: float) -> bool:
        """Wait until ``waiter`` is over, or for ``patience`` seconds; tell whether it is over."""
        ...


class Context:
    """The context of one request.

    ``session`` holds this client's engines and traces, ``tracer`` the processes we trace, ``descriptors`` the fds of
    the packet: take one by its index, once; the transport closes what nobody took.
    """

    __slots__ = ("descriptors", "session", "tracer", "waits")

    def __init__(self, session: Session, tracer: Tracer, descriptors: Descriptors, waits: Waits) -> None:
        self.session = session
        self.tracer = tracer
        self.descriptors = descriptors
        self.waits = waits


class WithDescriptors(NamedTuple):
    """A result with file descriptors for the client: members of ``value`` that are one hold its index in ``fds``.

    The descriptors go with the value; who sends the packet closes them here, sent or not.
    """

    value: Any
    fds: tuple[int, ...]


Handler = Callable[[Any, Context], "Any | Awaitable[Any]"]
"""Takes the parameters and the context.  What it does at once is done in the order of arrival of the requests; where
the reply must wait, it returns an awaitable that only waits."""

HANDLERS: dict[str, Handler] = {}


def handles(method: type[Call]) -> Callable[[Callable[[Call, Context], Any]], Callable[[Call, Context], Any]]:
    """Register a function as the handler of a method."""

    def register(function: Callable[[Call, Context], Any]) -> Callable[[Call, Context], Any]:
        if method.method in HANDLERS:
            raise ValueError(f"{method.method} has two handlers")
        HANDLERS[method.method] = function
        return function

    return register
