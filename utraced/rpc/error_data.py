"""What ``error.data`` carries of each kind of error (PROTOCOL.md §2), besides its ``kind`` and ``hint``.

The classes in ``errors`` take these by name; here they have their types, for the description of the protocol.
"""

from __future__ import annotations

from utraced import errors
from utraced.errors import DeniedReason, UtracedError
from utraced.model import HexText, Holder, Status, Value


class ErrorData(Value, frozen=True):
    """What all errors carry.

    ``kind``: the same for ever.  ``hint``: one sentence that tells a person what to do; may be empty.
    """

    kind: str
    hint: str


class InvalidParamsData(ErrorData, frozen=True):
    """Where the parameters do not fit.

    ``path``: from ``$``, the parameters themselves.  ``member``: the one that is unknown, missing or wrong.
    """

    path: str | None = None
    member: str | None = None


class InternalErrorData(ErrorData, frozen=True):
    """Where the bug is told.  ``reference``: the word that finds it in the daemon's log."""

    reference: str | None = None


class OtherTracer(Value, frozen=True):
    """Who traces the process by ptrace.

    ``pid``: its pid.  ``comm``: its name, empty where it is hidden.  ``socket``: where it can be reached, if it is a
    utraced.
    """

    pid: int
    comm: str
    socket: str | None = None


class PermissionDeniedData(ErrorData, frozen=True):
    """Why the kernel, or the daemon for it, said no.

    ``reason``: the daemon's best reading.  ``tracer``: of ``traced_by_other``.  ``capability``: of
    ``missing_capability``, its name.  ``missing``: of ``capabilities``, those that the tracer lacks, as a mask.
    ``confined``: of a connection that is not served, by what the client's process is confined, in plain words.
    """

    reason: DeniedReason
    tracer: OtherTracer | None = None
    capability: str | None = None
    missing: HexText | None = None
    confined: tuple[str, ...] | None = None


class NoSuchProcessData(ErrorData, frozen=True):
    """Which process or thread is missing, where that is not plain.  ``pid``: a process.  ``tid``: a thread."""

    pid: int | None = None
    tid: int | None = None


class NotHeldData(ErrorData, frozen=True):
    """Which thread is not held.  ``tid``: absent where it is all of them."""

    tid: int | None = None


class GoneData(ErrorData, frozen=True):
    """How it ended.  ``status``: of its process, where known."""

    status: Status | None = None


class ContendedData(ErrorData, frozen=True):
    """Who holds it.  ``holder``: the session of the other engine."""

    holder: Holder


class BadAddressData(ErrorData, frozen=True):
    """Where memory cannot be accessed.

    ``address``: the first byte that cannot be.  ``done``: the bytes before it that were transferred.
    """

    address: HexText
    done: int | None = None


class UnsupportedData(ErrorData, frozen=True):
    """What does not work here.  ``feature``: its name."""

    feature: str | None = None


class LimitExceededData(ErrorData, frozen=True):
    """Which limit it is.  ``limit``: its name.  ``value``: where it stands."""

    limit: str
    value: int | None = None


DATA: dict[type[UtracedError], type[ErrorData]] = {
    errors.InvalidParams: InvalidParamsData,
    errors.InternalError: InternalErrorData,
    errors.PermissionDenied: PermissionDeniedData,
    errors.NoSuchProcess: NoSuchProcessData,
    errors.NotHeld: NotHeldData,
    errors.Gone: GoneData,
    errors.Contended: ContendedData,
    errors.BadAddress: BadAddressData,
    errors.Unsupported: UnsupportedData,
    errors.LimitExceeded: LimitExceededData,
}
"""Errors that are not here carry nothing of their own."""


def data_of(error: type[UtracedError]) -> type[ErrorData]:
    """Return the type of an error's data."""
    return DATA.get(error, ErrorData)
