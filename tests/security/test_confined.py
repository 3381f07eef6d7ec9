"""A process that may less than its user: what it can do to a program of that user, itself and through the daemon."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from tests.broker.system import System, connected
from tests.broker.test_admission import CLONE_NEWUSER, filter_calls, unshare
from tests.children import become, child, isolated, libc, needs_root, own_program
from tests.live.machine import tracer
from tests.security.asking import ask, calls, targeting
from tests.worker.daemon import Peer
from utraced.linux.capabilities import drop_bounding, set_capabilities
from utraced.linux.prctl import no_new_privs

pytestmark = needs_root

ADA = 3151
CREATE_RULESET, RESTRICT_SELF = 444, 446
ACCESS_FS = 0x1FFF
"""Every access of the first version (landlock(7))."""
PTRACE_SEIZE = 0x4206


def landlock() -> None:
    """Forbid every file; with that goes that processes outside may be traced (Documentation/security/landlock.rst)."""
    handled = ctypes.c_uint64(ACCESS_FS)
    ruleset = libc().syscall(CREATE_RULESET, ctypes.byref(handled), ctypes.sizeof(handled), 0)
    if ruleset < 0:
        pytest.skip("this kernel has no Landlock")
    no_new_privs()
    if libc().syscall(RESTRICT_SELF, ruleset, 0) < 0:
        raise OSError("landlock_restrict_self")


def user_namespace() -> None:
    """Be root in a namespace of one's own."""
    uid, gid = os.getuid(), os.getgid()
    unshare(CLONE_NEWUSER)
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
    assert os.getuid() == 0


def sandbox(prepare: Callable[[], object]) -> Callable[[], None]:
    def enter() -> None:
        own_program(ADA)
        prepare()

    return enter


def filtered() -> None:
    no_new_privs()
    filter_calls()


def bare_root() -> None:
    drop_bounding(0)
    set_capabilities(0)


CONFINED = {
    "Landlock": (sandbox(landlock), "no_new_privs"),
    "seccomp": (sandbox(filtered), "seccomp"),
    "NoNewPrivs": (sandbox(no_new_privs), "no_new_privs"),
    "root of a user namespace": (sandbox(user_namespace), "another user namespace"),
}


def by_the_daemon(found: System, pid: int) -> list[dict[str, Any]]:
    """Return the errors that every method answers about a process, each asked on a connection of its own."""
    errors = []
    for kind in targeting():
        for members in calls(kind):
            members.pop("fd", None)
            with Peer(found.address) as peer:
                errors.append(ask(peer, kind.method, {**members, "pid": pid}).error)
    return errors


@pytest.mark.parametrize("how", CONFINED)
def test_it_is_told_why_and_gets_nothing(how: str, daemon: System) -> None:
    prepare, why = CONFINED[how]
    with child(lambda: own_program(ADA)) as sibling:

        def attack() -> list[dict[str, Any]]:
            prepare()
            return by_the_daemon(daemon, sibling)

        errors = isolated(attack)
        assert errors
        for error in errors:
            assert error["data"].get("reason") == "policy", error
            assert any(why in reason for reason in error["data"]["confined"])
        assert tracer(sibling) == 0


def test_landlock_is_worth_something() -> None:
    """By itself it cannot trace what it could have traced before: so the daemon must not do that for it."""
    with child(lambda: own_program(ADA)) as sibling:

        def seize(prepare: Callable[[], object]) -> Callable[[], int]:
            def call() -> int:
                own_program(ADA)
                prepare()
                return int(libc().ptrace(PTRACE_SEIZE, sibling, 0, 0))

            return call

        assert isolated(seize(lambda: None)) == 0
        assert isolated(seize(landlock)) == -1


def test_it_cannot_get_round_by_a_child_or_an_exec(daemon: System) -> None:
    """What confines is handed down: to a child, to another program, to one whose parent is gone."""
    script = (
        "import os, socket, sys\n"
        "if os.fork(): os.wait(); sys.exit()\n"
        "os.setsid()\n"
        "s = socket.socket(1, 5); s.connect(sys.argv[1])\n"
        's.send(b\'{"jsonrpc":"2.0","id":1,"method":"daemon.hello"}\'); print(s.recv(100000).decode())\n'
    )

    def run() -> str:
        become(ADA)
        no_new_privs()
        command = ["/usr/bin/python3", "-c", script, daemon.address]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout

    assert "no_new_privs is set" in isolated(run)


@pytest.mark.parametrize("number", [0, 1])
def test_root_without_capabilities_gets_what_it_had(number: int, daemon: System) -> None:
    """Of user 0's processes, and of others', it may trace as little as by itself."""
    prepare = (lambda: own_program(ADA), lambda: None)[number]
    with child(prepare) as target:

        def attack() -> tuple[int, dict[str, Any]]:
            bare_root()
            with Peer(daemon.address) as peer:
                error = ask(peer, "engine.attach", {"pid": target}).error
            return int(libc().ptrace(PTRACE_SEIZE, target, 0, 0)), error

        himself, error = isolated(attack)
        assert himself == -1
        assert error["code"] == -32001
        assert tracer(target) == 0


def test_a_descriptor_that_a_confined_process_is_given_is_anothers(daemon: System) -> None:
    """A connection is of who made it; who is confined before it connects has none to pass."""

    def attack() -> bytes:
        become(ADA)
        sock = connected(daemon.address)
        no_new_privs()
        sock.send(b'{"jsonrpc":"2.0","id":1,"method":"daemon.hello"}')
        return sock.recv(1 << 17)

    # It was not confined when it connected, or was found to be since: never anything else.
    answer = isolated(attack)
    assert b"no_new_privs" in answer or b'"target_user":"%d"' % ADA in answer
