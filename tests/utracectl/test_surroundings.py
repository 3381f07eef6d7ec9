from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.children import isolated, libc
from utracectl import VERSION, surroundings
from utracectl.surroundings import around, pids, program, same_mounts, sandbox
from utraced.linux import confinement, container
from utraced.linux.confinement import Confinement, Ids, Namespaces
from utraced.linux.container import FIRST_PID_NAMESPACE, FIRST_USER_NAMESPACE
from utraced.linux.prctl import no_new_privs

MOUNTS = "25 1 8:1 / / rw - ext4 /dev/sda1 rw\n30 25 0:5 / /proc rw - proc proc rw\n"
CLONE_NEWNS, CLONE_NEWUSER = 0x0002_0000, 0x1000_0000


def reader(system: Namespaces | None, own: Namespaces, *, nnp: bool = False) -> Callable[[int], Confinement]:
    """Return what reads this process's confinement and process 1's, None where that may not be seen."""

    def read(pid: int) -> Confinement:
        of = system if pid == 1 else own
        if of is None:
            raise PermissionError(13, "x")
        ids = Ids(0, 0, 0, 0)
        return Confinement(
            users=ids, groups=ids, permitted=0, effective=0, no_new_privs=nnp and pid != 1, seccomp=0, namespaces=of
        )

    return read


def test_which_utracectl_this_is() -> None:
    assert VERSION in program().text
    assert program().verdict == "works"


@pytest.mark.parametrize(
    ("system", "own", "text"),
    [
        (Namespaces(1, 2, 3), Namespaces(1, 2, 3), None),
        (Namespaces(1, 2, 3), Namespaces(1, 9, 3), "it is in another mount namespace"),
        (Namespaces(1, 2, 3), Namespaces(8, 2, 9), "it is in another user namespace, it is in another pid namespace"),
        (None, Namespaces(FIRST_USER_NAMESPACE, 9, FIRST_PID_NAMESPACE), None),
        (None, Namespaces(5, 9, FIRST_PID_NAMESPACE), "it is in another user namespace"),
        (None, Namespaces(FIRST_USER_NAMESPACE, 9, 6), "it is in another pid namespace"),
    ],
)
def test_namespaces_are_compared_with_the_system_s(
    system: Namespaces | None, own: Namespaces, text: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(surroundings, "_mounts", lambda pid: MOUNTS)
    found = sandbox(reader(system, own))
    assert found.verdict == ("works" if text is None else "limited")
    assert text is None or found.text == f"of this process: {text}"
    assert (found.hint is None) == (text is None)


def test_other_mounts_where_namespaces_may_not_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surroundings, "_mounts", lambda pid: "7 1 8:1 / / rw\n" if pid == "1" else MOUNTS)
    own = Namespaces(FIRST_USER_NAMESPACE, 9, FIRST_PID_NAMESPACE)
    assert sandbox(reader(None, own)).text == "of this process: it is in another mount namespace"


@pytest.mark.parametrize(
    ("own", "others", "same"),
    [
        (MOUNTS, MOUNTS, True),
        (MOUNTS.splitlines(keepends=True)[1], MOUNTS, True),
        (MOUNTS, "31 2 8:1 / / rw\n32 31 0:5 / /proc rw\n", False),
        (MOUNTS, "", True),
        ("", "", True),
    ],
    ids=["same", "in a chroot", "others", "hidden", "nothing"],
)
def test_mounts_tell_of_the_namespace(own: str, others: str, same: bool) -> None:
    assert same_mounts(own, others) is same


def test_real_mounts() -> None:
    def ask() -> tuple[bool, bool]:
        before = surroundings._mounts("self")
        assert libc().unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0
        after = surroundings._mounts("self")
        return same_mounts(before, before), same_mounts(before, after)

    assert isolated(ask) == (True, False)
    assert surroundings._mounts("0") == ""


def test_no_new_privs_is_seen() -> None:
    def ask() -> tuple[str, str | None]:
        no_new_privs()
        found = sandbox()
        return found.text, found.hint

    text, hint = isolated(ask)
    assert "no_new_privs is set" in text
    assert hint is not None
    own = confinement.read(os.getpid())
    assert ("no_new_privs" in sandbox().text.partition("no_new_privs,")[0]) is own.no_new_privs


@pytest.mark.parametrize(("signs", "verdict"), [((), "works"), (("a", "b"), "limited")])
def test_containers(monkeypatch: pytest.MonkeyPatch, signs: tuple[str, ...], verdict: str) -> None:
    monkeypatch.setattr(container, "signs", lambda: signs)
    assert around().verdict == verdict
    assert ", ".join(signs) in around().text


def test_whether_pids_mean_the_same() -> None:
    assert pids(os.stat("/proc/self/ns/pid").st_ino).verdict == "works"
    assert pids(1).verdict == "limited"
