"""The requests of one session: carried out, or waited for, and answered."""

from __future__ import annotations

import inspect
import logging
import secrets
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import anyio
import anyio.abc
from msgspec import Struct

from utraced.errors import Cancelled, InternalError, LimitExceeded, MethodNotFound, PermissionDenied, UtracedError
from utraced.handlers import aside
from utraced.handlers.all import HANDLERS
from utraced.handlers.context import Context, Waits, WithDescriptors
from utraced.handlers.limits import MAX_WAITING
from utraced.handlers.session import Session
from utraced.linux.closing import close_aside
from utraced.rpc.batch import Batch
from utraced.rpc.connection import Connection
from utraced.rpc.message import Request

from .turns import Account, Turns

log = logging.getLogger("utraced")

WAITING_NS = 400_000
"""Nanoseconds that a request costs besides which is waited for in a task of its own."""


class Answers:
    """Carries out requests, and queues their answers with ``session``.

    Requests that wait are tasks in ``tasks``; ``waiting`` are those, each with the scope that cancels it.  What they
    cost is the client's ``account``.
    """

    __slots__ = (
        "_account",
        "_connection",
        "_created",
        "_over",
        "_session",
        "_tasks",
        "_turns",
        "_waits",
        "waiting",
    )

    def __init__(  # noqa: PLR0913 - what requests depend on
        self,
        session: Session,
        connection: Connection,
        waits: Waits,
        turns: Turns,
        account: Account,
        *,
        tasks: anyio.abc.TaskGroup,
    ) -> None:
        self._session = session
        self._connection = connection
        self._waits = waits
        self._turns = turns
        self._account = account
        self._tasks = tasks
        self._over = False
        self._created: dict[Batch, int] | None = None
        self.waiting: dict[Request, anyio.CancelScope] = {}

    def start(self, request: Request, answered: Callable[[Exception | None], None]) -> None:
        """Start a request; one that need not wait is finished here, before the next is started.

        ``answered`` is called when one that had to wait has its answer, or the end of the session cancelled it; with
        the error, a bug of ours, where it could not be answered.
        """
        session, kind = self._session, type(request.params)
        creates, tracer = kind.creates, session.tracer
        session.creating += creates
        try:
            if len(self.waiting) >= MAX_WAITING:
                raise _too_many_waiting()
            handler = HANDLERS.get(request.method)
            if handler is None:
                raise MethodNotFound(f"{request.method} is not carried out here")
            if session.access == "observe" and kind.access == "changes":
                raise _may_only_look(request.method)
            result = handler(request.params, Context(session, tracer, request.descriptors, self._waits))
        except Exception as error:  # whatever a handler raises is told to the client, our bugs as internal_error
            self._finish(request, error, creates=creates)
            return
        finally:
            if tracer.core.actions:
                tracer.perform()
        if not isinstance(result, Struct) and inspect.isawaitable(result):
            self._turns.spend(self._account, WAITING_NS)
            self.waiting[request] = anyio.CancelScope()
            self._tasks.start_soon(self._wait, request, result, answered)
        else:
            self._finish(request, result, creates=creates)

    def cancel(self, request: Request) -> None:
        """Cancel a request that waits."""
        scope = self.waiting.get(request)
        if scope is not None:
            scope.cancel()

    def cancel_all(self) -> None:
        """Cancel all that wait: the session is over, and they are not answered any more."""
        self._over = True
        for scope in self.waiting.values():
            scope.cancel()

    async def _wait(
        self, request: Request, result: Awaitable[Any], answered: Callable[[Exception | None], None]
    ) -> None:
        """Wait for a request's result and answer it."""
        turns, account = self._turns, self._account
        account.share = account.share or aside.Share(partial(turns.spend, account), partial(turns.resting, account))
        aside.share.set(account.share)
        outcome: Any = Cancelled("the request was cancelled")
        bug: Exception | None = None
        try:
            with self.waiting[request]:
                try:
                    outcome = await result
                except Exception as error:  # as in start
                    outcome = error
            self._session.tracer.perform()
            if not self._over:
                self._finish(request, outcome, creates=type(request.params).creates)
            elif isinstance(outcome, WithDescriptors):
                close_aside(outcome.fds)
        except Exception as error:
            bug = error
        finally:
            del self.waiting[request]
            answered(bug)

    def _finish(self, request: Request, outcome: Any, *, creates: bool) -> None:
        """Queue the answer to a request."""
        session, connection = self._session, self._connection
        if isinstance(outcome, UtracedError):
            session.trail.failed(outcome, method=request.method, pid=getattr(request.params, "pid", None))
            packets = connection.error(request, outcome)
        elif isinstance(outcome, Exception):
            packets = connection.error(request, _bug(request, outcome))
        else:
            value, fds = outcome if isinstance(outcome, WithDescriptors) else (outcome, ())
            try:
                packets = connection.result(request, value, fds)
            except InternalError as error:
                close_aside(fds)
                packets = connection.error(request, _bug(request, error))
        if unsent := connection.take_unsent():
            close_aside(unsent)
        session.reply(packets, follows=type(request.params).follows)
        if request.batch is None or request.is_notification:
            session.creating -= creates
        else:
            # Its reply goes when the last of the batch is there.
            self._created = self._created or {}
            created = self._created.pop(request.batch, 0) + creates
            if packets:
                session.creating -= created
            else:
                self._created[request.batch] = created


def _bug(request: Request, error: Exception) -> InternalError:
    """Log a bug of ours and return what the client is told."""
    reference = secrets.token_hex(4)
    log.error("internal error %s in %s", reference, request.method, exc_info=error)
    return InternalError(f"{request.method} failed in utraced itself", reference=reference)


def _may_only_look(method: str) -> PermissionDenied:
    return PermissionDenied(
        f"this session may only look, and {method} changes something",
        reason="read_only_session",
        hint="Connect at a socket that is not for observing alone.",
    )


def _too_many_waiting() -> LimitExceeded:
    return LimitExceeded(
        f"{MAX_WAITING} requests of this session wait for their answer",
        limit="max_waiting",
        value=MAX_WAITING,
        hint="Wait for answers, or cancel requests with $/cancelRequest.",
    )
