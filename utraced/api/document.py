"""The OpenRPC document of this protocol; loaded when somebody asks for it."""

from __future__ import annotations

from functools import cache
from typing import Any, get_args

from utraced.errors import InvalidParams
from utraced.rpc.openrpc import Contract
from utraced.rpc.openrpc import document as openrpc_document

from .daemon import PROTOCOL
from .events import AnyEvent
from .examples import EVENTS, EXAMPLES
from .layouts import LAYOUTS
from .methods import FAMILIES, is_method

EVENT_FAMILY = "event"
"""The word for the events, beside the families of methods."""

INFO = {
    "title": "utraced",
    "version": f"{PROTOCOL}.0.0",
    "description": (
        "One tracing daemon for all clients of a machine. JSON-RPC 2.0 over a `SOCK_SEQPACKET` socket, one message a "
        "packet, in JSON or MessagePack; parameters by name. Results leave out members that do not apply. Addresses "
        "and other 64-bit values are text, `0x` and hexadecimal digits; `bytes` are base64 in JSON and `bin` in "
        "MessagePack; a file descriptor is its index among those of its packet. `data` of an error is given here as "
        "the schema of what a reply carries there. `x-access`: a session that may only look calls no method that "
        "changes. `x-events`: the `params` of the notification `event`, by their `kind`. `x-layouts`: binary data in "
        "descriptors. A request that waits is ended by the notification `$/cancelRequest` with its `id`."
    ),
    "license": {"name": "MIT"},
}

SERVERS = (
    {
        "name": "system",
        "url": "unix:///run/utraced/utraced.sock",
        "summary": "The system's daemon; UTRACED_SOCKET names another, a user's own is in $XDG_RUNTIME_DIR/utraced.",
    },
)


def contract() -> Contract:
    """Return all that there is to describe."""
    families = {}
    for module in FAMILIES:
        methods = [value for value in vars(module).values() if is_method(value)]
        families[module.__name__.rpartition(".")[2]] = (module.__doc__ or "", methods)
    return Contract(
        info=INFO,
        servers=SERVERS,
        families={name: methods for name, (_, methods) in families.items()},
        docs={name: doc for name, (doc, _) in families.items()},
        examples=EXAMPLES,
        events={_kind(event): event for event in get_args(AnyEvent)},
        event_examples={_kind(type(event)): event for event in EVENTS},
        layouts=LAYOUTS,
    )


def parts() -> tuple[str, ...]:
    """Return the words that name a part of the document."""
    return (EVENT_FAMILY, *sorted(contract().families))


@cache
def document(family: str | None = None) -> dict[str, Any]:
    """Return the document, whole or of one family; it is shared, so do not change it.

    Raises InvalidParams where there is no such family.
    """
    whole = contract()
    if family is None:
        return openrpc_document(whole, whole.families, events=True)
    if family == EVENT_FAMILY:
        return openrpc_document(whole, (), events=True)
    if family not in whole.families:
        raise InvalidParams(
            f"there is no family {family!r}", member="family", hint=f"Families are {', '.join(parts())}."
        )
    return openrpc_document(whole, (family,), events=False)


def _kind(event: Any) -> str:
    return str(event.__struct_config__.tag)
