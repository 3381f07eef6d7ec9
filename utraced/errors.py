"""Every error a client can be told, as one class each; the same class is raised again on the client's side.

    UtracedError
    ├── ParseError            -32700  not JSON, not MessagePack
    ├── InvalidRequest        -32600  not a request of JSON-RPC 2.0
    ├── MethodNotFound        -32601
    ├── InvalidParams         -32602
    ├── InternalError         -32603  a bug in utraced
    ├── PermissionDenied      -32001
    ├── NoSuchProcess         -32002
    ├── NoSuchObject          -32003  never this session's
    ├── NotHeld               -32004
    ├── Gone                  -32005  has ended
    ├── Contended             -32006
    ├── BadAddress            -32007
    ├── Unsupported           -32008
    ├── LimitExceeded         -32009
    ├── Cancelled             -32010
    └── TimedOut              -32011

On the wire (PROTOCOL.md §2): ``error.data`` holds ``kind``, ``hint`` and what the kind needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

DeniedReason = Literal[
    "not_owner",
    "group_differs",
    "capabilities",
    "not_dumpable",
    "traced_by_other",
    "yama",
    "policy",
    "would_deadlock",
    "read_only_session",
    "missing_capability",
]


class UtracedError(Exception):
    """Base of all errors of the protocol.

    ``message`` says what happened, ``hint`` what a person can do about it, ``data`` what the kind carries besides.
    """

    code: ClassVar[int] = 0
    kind: ClassVar[str] = ""
    default_hint: ClassVar[str] = ""

    def __init__(self, message: str, *, hint: str | None = None, **data: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = self.default_hint if hint is None else hint
        self.data: dict[str, Any] = {key: value for key, value in data.items() if value is not None}

    def wire_data(self) -> dict[str, Any]:
        """Return the object that goes into ``error.data``."""
        return {"kind": self.kind, **self.data, "hint": self.hint}


class ParseError(UtracedError):
    """The packet is neither JSON nor MessagePack."""

    code = -32700
    kind = "parse_error"
    default_hint = "Send one JSON or MessagePack value per packet, in valid UTF-8."


class InvalidRequest(UtracedError):
    """The packet is no JSON-RPC 2.0 request."""

    code = -32600
    kind = "invalid_request"
    default_hint = 'Send {"jsonrpc": "2.0", "id": …, "method": …, "params": {…}}.'


class MethodNotFound(UtracedError):
    """There is no such method."""

    code = -32601
    kind = "method_not_found"
    default_hint = "Call rpc.discover for the methods of this daemon."


class InvalidParams(UtracedError):
    """The parameters do not fit the method; ``path`` and ``member`` say where."""

    code = -32602
    kind = "invalid_params"
    default_hint = "Compare the parameters with the method's description."


class InternalError(UtracedError):
    """A bug in utraced; ``reference`` finds it in the log."""

    code = -32603
    kind = "internal_error"
    default_hint = "This is a bug in utraced: please report it with the log line of this reference."


class PermissionDenied(UtracedError):
    """The kernel, or the daemon for the kernel, said no; ``reason`` is the best reading of why."""

    code = -32001
    kind = "permission_denied"

    def __init__(self, message: str, *, reason: DeniedReason, hint: str | None = None, **data: Any) -> None:
        super().__init__(message, hint=hint, reason=reason, **data)
        self.reason = reason


class NoSuchProcess(UtracedError):
    """There is no such process, or its pid now belongs to another."""

    code = -32002
    kind = "no_such_process"
    default_hint = "The process has ended, or never was: utracectl ps lists those you may trace."


class NoSuchObject(UtracedError):
    """The id was never given to this session."""

    code = -32003
    kind = "no_such_object"
    default_hint = "Use an id that a reply to this very connection gave."


class NotHeld(UtracedError):
    """The thread is not held by this engine."""

    code = -32004
    kind = "not_held"
    default_hint = "Stop the thread with thread.stop of this engine first."


class Gone(UtracedError):
    """The object has ended; ``status`` tells how, where known."""

    code = -32005
    kind = "gone"
    default_hint = "It has ended; attach again where that is possible."


class Contended(UtracedError):
    """Another engine holds what you ask to change; ``holder`` says which."""

    code = -32006
    kind = "contended"
    default_hint = "Wait until the other session has let go, or ask its owner."


class BadAddress(UtracedError):
    """Memory at ``address`` cannot be accessed; ``done`` bytes before it were transferred."""

    code = -32007
    kind = "bad_address"
    default_hint = "process.maps lists what is mapped; partial reads around holes."


class Unsupported(UtracedError):
    """``feature`` does not work here, and the message says why: kernel, architecture, privilege, or not built."""

    code = -32008
    kind = "unsupported"
    default_hint = "daemon.hello lists what works here under features."


class LimitExceeded(UtracedError):
    """``limit`` is at ``value``; the hint names the way out."""

    code = -32009
    kind = "limit_exceeded"


class Cancelled(UtracedError):
    """The request was cancelled by $/cancelRequest."""

    code = -32010
    kind = "cancelled"
    default_hint = "You cancelled this request."


class TimedOut(UtracedError):
    """The request's timeout_ms ran out."""

    code = -32011
    kind = "timed_out"
    default_hint = "Ask again with a longer timeout_ms."


BY_KIND: dict[str, type[UtracedError]] = {cls.kind: cls for cls in UtracedError.__subclasses__()}
BY_CODE: dict[int, type[UtracedError]] = {cls.code: cls for cls in UtracedError.__subclasses__()}


def from_wire(code: int, message: str, data: Mapping[str, Any] | None) -> UtracedError:
    """Return the error that a reply carries, as the class that was raised in the daemon.

    An unknown code or kind, of a newer daemon, becomes a plain ``UtracedError`` with the same message.
    """
    members = dict(data or {})
    cls = BY_KIND.get(str(members.pop("kind", ""))) or BY_CODE.get(code) or UtracedError
    hint = members.pop("hint", None)
    error = cls.__new__(cls)
    UtracedError.__init__(error, message, hint=hint if isinstance(hint, str) else None, **_named(members))
    if isinstance(error, PermissionDenied):
        error.reason = error.data.get("reason", "policy")
    return error


def _named(members: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members that can be passed by name without meeting our own parameters."""
    return {str(key): value for key, value in members.items() if key not in {"message", "hint", "self"}}
