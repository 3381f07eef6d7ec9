from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.children import fork, isolated, needs_root
from tests.live.machine import until
from utraced.linux.capabilities import CAP_SYS_PTRACE
from utraced.linux.identity import Identity, assume, identity

WANTED = ("Uid", "Gid", "Groups", "NoNewPrivs", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")


def told(pid: int | str = "self") -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
    return {
        name: " ".join(value.split()) for name, _, value in (line.partition(":") for line in lines) if name in WANTED
    }


@needs_root
def test_a_user_has_nothing_else() -> None:
    def change() -> tuple[dict[str, str], str]:
        assume(Identity(3001, 3002, (3003, 3004)))
        return told(), os.readlink("/proc/self/cwd")

    found, _ = isolated(change)
    none = f"{0:016x}"
    assert found == {
        "Uid": "3001 3001 3001 3001",
        "Gid": "3002 3002 3002 3002",
        "Groups": "3003 3004",
        "NoNewPrivs": "1",
        **dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"), none),
    }


def test_who_may_the_same_is_the_same() -> None:
    assert identity(1, 2, [9, 2, 3, 9]) == identity(1, 2, (3, 9)) == Identity(1, 2, (3, 9), 0)


@needs_root
@pytest.mark.parametrize(("uid", "gid"), [(2**32 - 1, 3001), (3001, 2**32 - 1)])
def test_nobody_can_be_minus_one(uid: int, gid: int) -> None:
    with pytest.raises(AssertionError, match="PermissionError"):
        isolated(lambda: assume(Identity(uid, gid)))


@needs_root
def test_root_has_what_it_is_given() -> None:
    def change() -> dict[str, str]:
        assume(Identity(0, 0, (), CAP_SYS_PTRACE))
        return told()

    found = isolated(change)
    assert found["Uid"] == "0 0 0 0"
    assert found["CapPrm"] == found["CapEff"] == found["CapBnd"] == f"{CAP_SYS_PTRACE:016x}"


@needs_root
@pytest.mark.parametrize("call", [lambda: os.setresuid(0, 0, 0), lambda: os.setgroups([0]), lambda: os.setgid(0)])
def test_there_is_no_way_back(call: object) -> None:
    def change() -> None:
        assume(Identity(3001, 3001))
        call()  # type: ignore[operator]

    with pytest.raises(AssertionError, match="PermissionError"):
        isolated(change)


@needs_root
@pytest.mark.parametrize("capabilities", [0, CAP_SYS_PTRACE])
def test_its_own_user_cannot_look_into_it(capabilities: int) -> None:
    who = Identity(0 if capabilities else 3001, 3001, (), capabilities)
    pid = fork()
    if pid == 0:
        try:
            assume(who)
            signal.pause()
        finally:
            os._exit(1)
    try:
        until(lambda: told(pid).get("NoNewPrivs") == "1", "a changed process")

        def look() -> str:
            os.setgroups([])
            os.setresgid(3001, 3001, 3001)
            os.setresuid(3001, 3001, 3001)
            return Path(f"/proc/{pid}/environ").read_bytes().decode()

        # As no_new_privs comes before it, for the one thing that follows.
        until(lambda: os.stat(f"/proc/{pid}/stat").st_uid == 0, "a process that is not dumpable")
        with pytest.raises(AssertionError, match="PermissionError"):
            isolated(look)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
