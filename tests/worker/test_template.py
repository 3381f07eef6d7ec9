from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.children import needs_root
from tests.live.machine import PATIENCE, children, status, until, wait_end
from utraced.api.methods import registry
from utraced.broker.serve import start_template
from utraced.configuration import Limits
from utraced.linux import handing
from utraced.linux.handing import Connection, Order
from utraced.linux.identity import Identity

ADA = 3001


@contextmanager
def template() -> Iterator[tuple[socket.socket, int]]:
    """Give the channel to a template, and its pid."""
    before = set(children(os.getpid()))
    channel = start_template()
    (pid,) = set(children(os.getpid())) - before
    try:
        with channel:
            yield channel, pid
        wait_end(pid)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def ordered(channel: socket.socket, order: Order) -> socket.socket:
    """Return the channel to a worker that is ordered."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        try:
            handing.send(channel, order, [theirs.fileno()])
        except OSError:
            ours.close()
            raise
    return ours


def client(worker: socket.socket) -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(PATIENCE)
    with theirs:
        handing.send(worker, Connection("x", "full"), [theirs.fileno()])
    return ours


def ask(sock: socket.socket, method: str, **params: Any) -> Any:
    sock.send(msgspec.json.encode({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
    return msgspec.json.decode(sock.recv(1 << 18))


@needs_root
def test_a_worker_needs_nothing_of_what_its_user_cannot_read() -> None:
    """Whatever a method loads when it is first called must be there: Python's own folder may be closed to the user."""
    with template() as (channel, _), ordered(channel, Order(Identity(ADA, ADA), Limits(), 60.0)) as worker:
        for name in registry().methods:
            with client(worker) as sock:
                answer = ask(sock, name, **({"pid": os.getpid(), "tid": os.getpid()} if "process." in name else {}))
                error = answer.get("error", {})
                assert error.get("data", {}).get("kind") != "internal_error", (name, error)
        with client(worker) as sock:
            for family in (None, "event", "trace"):
                assert ask(sock, "rpc.discover", **({} if family is None else {"family": family}))["result"]
            assert "did you mean" in str(ask(sock, "daemon.hallo")).lower()


@needs_root
def test_its_workers_are_named_and_apart() -> None:
    with template() as (channel, pid):
        with ordered(channel, Order(Identity(ADA, ADA), Limits(), 60.0)) as worker, client(worker) as sock:
            found = ask(sock, "daemon.hello")["result"]["tracer_pid"]
            assert children(pid) == [found]
            assert status(found)["Name"] == "utraced-worker"
            assert os.getsid(found) == found
        wait_end(found)
        until(lambda: not children(pid), "a worker that is reaped")


def test_an_order_that_cannot_be_carried_out_is_the_end_of_its_channel_alone() -> None:
    if os.geteuid() == 0:
        # No kernel takes that many groups (NGROUPS_MAX).
        wrong = Order(Identity(ADA, ADA, tuple(range(70_000))), Limits(), 60.0)
        with pytest.raises(OSError, match="Message too long"), template() as (channel, _):
            ordered(channel, wrong)
    unknown = Order(Identity(2**32 - 1, 0), Limits(), 60.0)
    with template() as (channel, _):
        with ordered(channel, unknown) as worker:
            assert worker.recv(1) == b""
        with ordered(channel, Order(Identity(os.geteuid(), os.getegid()), Limits(), 60.0)) as worker:
            if os.geteuid() == 0:
                with client(worker) as sock:
                    assert ask(sock, "daemon.hello")["result"]


def test_signals_meant_for_the_broker_do_not_end_it() -> None:
    with template() as (channel, pid):
        until(lambda: int(status(pid).get("SigIgn", "0"), 16) >> (signal.SIGTERM - 1) & 1, "a template that is ready")
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(pid, number)
        with ordered(channel, Order(Identity(os.geteuid(), os.getegid()), Limits(), 60.0)) as worker:
            worker.settimeout(PATIENCE)
            assert status(pid)["State"][0] in "SR"
            until(lambda: children(pid), "a worker")
    assert sys.executable
    assert not Path(f"/proc/{pid}").exists()
