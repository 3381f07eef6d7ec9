from __future__ import annotations

import os
from typing import Any, cast

from tests.children import child, libc
from utraced.audit import Audit
from utraced.configuration import Limits
from utraced.errors import PermissionDenied
from utraced.handlers.deadlocks import check_deadlock
from utraced.handlers.sessions import Sessions
from utraced.kernel.tracer import Tracer
from utraced.model import Peer

KIN = 4_000_000


def sessions() -> Sessions:
    return Sessions(Tracer(cast(Any, None)), Limits(), Audit(), kin=frozenset({KIN}))


def reason(pid: int, found: Sessions, client: int) -> str | None:
    try:
        check_deadlock(pid, found.add(Peer(pid=client, uid=0, gid=0)))
    except PermissionDenied as error:
        return error.reason
    return None


def test_the_client_and_the_daemon() -> None:
    with child() as client, child() as other:
        assert reason(client, sessions(), client) == "would_deadlock"
        assert reason(os.getpid(), sessions(), client) == "would_deadlock"
        assert reason(KIN, sessions(), client) == "would_deadlock"
        assert reason(other, sessions(), client) is None


def test_a_client_that_is_gone_or_of_another_namespace() -> None:
    with child() as other:
        assert reason(other, sessions(), 0) is None
        assert reason(other, sessions(), 4_194_304) is None


def test_who_traces_the_client_by_ptrace() -> None:
    with child() as client:
        ready, say = os.pipe()
        with child(lambda: (libc().ptrace(0x4206, client, 0, 0), os.write(say, b"!"))[0]) as tracer:  # type: ignore[func-returns-value]
            assert os.read(ready, 1) == b"!"
            assert reason(tracer, sessions(), client) == "would_deadlock"
        os.close(ready)
        os.close(say)
