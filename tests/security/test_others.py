"""Who is told what of whose processes: every method that names one is asked about them all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.broker.system import System
from tests.children import as_user, libc, needs_root
from tests.live.machine import status
from tests.security.asking import Answer, ask, calls, naming, targeting
from tests.security.others import MARK, Other, other, plain
from tests.worker.daemon import Peer

pytestmark = needs_root

ADA, BOB, GROUP = 3101, 3102, 3199
OPEN = {"daemon.check", "process.info", "thread.signal"}
"""What is answered about others: what everybody may know and do."""
PERMISSION_DENIED = -32001


@pytest.fixture(scope="module")
def others(set_uid: Path, with_capability: Path) -> Iterator[dict[str, Other]]:
    """Programs by why they are not ADA's to trace."""
    program = plain(set_uid)
    with ExitStack() as stack:
        yield {
            reason: stack.enter_context(other(*how))
            for reason, how in {
                "another's": (program, BOB, BOB),
                "root's": (program, 0, 0),
                "group": (program, ADA, GROUP),
                "hidden": (program, ADA, ADA, "hidden"),
                "capability": (with_capability, ADA, ADA),
                "set-uid": (set_uid, ADA, ADA),
            }.items()
        }


REASONS = {
    "another's": "not_owner",
    "root's": "not_owner",
    "group": "group_differs",
    "hidden": "not_dumpable",
    "capability": "capabilities",
    "set-uid": "not_owner",
}


@pytest.fixture(scope="module")
def own(set_uid: Path) -> Iterator[Other]:
    """A program that is ADA's."""
    with other(plain(set_uid), ADA, ADA) as found:
        yield found


def answers(found: System, target: Other, *, by: str = "pid") -> list[tuple[str, Answer]]:
    """Return what ADA is answered by every method that a process is all that it wants."""

    def all_of_them() -> list[tuple[str, Answer]]:
        told = []
        for kind in targeting():
            for members in calls(kind, address=hex(target.mark), size=len(MARK), tid=target.pid):
                with Peer(found.address) as peer:
                    told.append((kind.method, _asked(peer, kind.method, members, target.pid, by)))
        return told

    return as_user(all_of_them, ADA)


def _asked(peer: Peer, method: str, members: dict[str, Any], pid: int, by: str) -> Answer:
    if by == "pid":
        return ask(peer, method, {**members, "pid": pid})
    if "fd" in members:
        members = {**members, "fd": 1}
    pidfd = os.pidfd_open(pid)
    return ask(peer, method, {**members, "pidfd": 0}, [pidfd])


@pytest.mark.parametrize("by", ["pid", "pidfd"])
@pytest.mark.parametrize("reason", REASONS)
def test_of_others_nothing_is_told_but_why(reason: str, by: str, others: dict[str, Other], daemon: System) -> None:
    target = others[reason]
    secrets = target.secrets()
    for method, answer in answers(daemon, target, by=by):
        assert [secret for secret in secrets if secret in answer.told] == [], (method, answer)
        if method not in OPEN:
            assert answer.error.get("code") == PERMISSION_DENIED, (method, answer)
            assert answer.error["data"]["reason"] == REASONS[reason], (method, answer)
    assert status(target.pid)["TracerPid"] == "0"


def test_of_ones_own_all_is_told(own: Other, daemon: System) -> None:
    secrets = own.secrets()
    given = answers(daemon, own)
    assert [(method, answer.error) for method, answer in given if answer.error] == []
    for method in ("memory.read", "process.info", "process.maps"):
        assert any(secret in answer.told for name, answer in given if name == method for secret in secrets), method


@pytest.mark.parametrize("reason", REASONS)
def test_info_is_what_everybody_reads_in_proc(reason: str, others: dict[str, Other], daemon: System) -> None:
    pid = others[reason].pid
    info = daemon.call_as(ADA, "process.info", pid=pid)
    fields, stat, arguments = as_user(lambda: _public(pid), ADA)
    memory = {name: value for name, value in info.pop("memory").items() if value is not None}
    assert set(memory.values()) <= {
        int(text.split()[0]) * 1024 for name, text in fields.items() if name[:2] in {"Vm", "Rs"}
    }
    assert info.pop("withheld")["reason"] == REASONS[reason]
    ids = ("real", "effective", "saved", "file_system")
    assert info.pop("users") == dict(zip(ids, map(int, fields["Uid"].split()), strict=True))
    assert info.pop("groups") == dict(zip(ids, map(int, fields["Gid"].split()), strict=True))
    # Every member that is told is one of these: one that is added needs its line here.
    assert info == {
        "pid": pid,
        "parent": int(fields["PPid"]),
        "start_time": int(stat[19]),
        "name": fields["Name"],
        "state": "sleeping",
        "argv": arguments,
        "supplementary_groups": [int(group) for group in fields["Groups"].split()],
        "process_group": int(stat[2]),
        "process_session": int(stat[3]),
        "threads": int(fields["Threads"]),
        "seccomp": int(fields["Seccomp"]),
    }


def _public(pid: int) -> tuple[dict[str, str], list[str], list[str]]:
    """Return what this user reads of a process."""
    for name in ("exe", "cwd", "root", "ns/user"):
        with pytest.raises(PermissionError):
            os.readlink(f"/proc/{pid}/{name}")
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    arguments = Path(f"/proc/{pid}/cmdline").read_text().removesuffix("\0").split("\0")
    return status(pid), stat, arguments


def test_the_list_has_ones_own_alone(own: Other, others: dict[str, Other], daemon: System) -> None:
    foreign = {target.pid for target in others.values()}
    for root in ({}, {"root": os.getpid()}, *({"root": pid} for pid in foreign)):
        listed = {found["pid"] for found in daemon.call_as(ADA, "process.list", **root)["processes"]}
        assert not listed & foreign
        assert (own.pid in listed) == ("root" not in root or root["root"] == os.getpid())


@pytest.mark.parametrize("reason", REASONS)
def test_a_signal_reaches_whom_the_user_himself_may_send_it(
    reason: str, others: dict[str, Other], daemon: System
) -> None:
    pid = others[reason].pid

    def send() -> tuple[bool, bool]:
        himself = libc().tgkill(pid, pid, 0) == 0
        with Peer(daemon.address) as peer:
            answer = ask(peer, "thread.signal", {"pid": pid, "tid": pid, "signal": "SIGUSR1"})
        assert not answer.error or answer.error["code"] == PERMISSION_DENIED
        return himself, not answer.error

    himself, by_daemon = as_user(send, ADA)
    assert himself == by_daemon == (reason not in {"another's", "root's"})


def test_a_thread_of_others_is_none_of_ones_own_engine(own: Other, others: dict[str, Other], daemon: System) -> None:
    kinds = [kind for kind in naming() if kind not in targeting()]
    # What names a thread without its process names it within an engine.
    assert [kind.method for kind in kinds if "engine" not in kind.__struct_fields__] == []
    strangers = [target.pid for target in others.values()]

    def all_of_them() -> list[tuple[str, Answer]]:
        told = []
        with Peer(daemon.address) as peer:
            engine = peer.call("engine.attach", pid=own.pid, hold=True)["engine"]
            for kind in kinds:
                for members in calls(kind, engine=engine):
                    told += [(kind.method, ask(peer, kind.method, {**members, "tid": tid})) for tid in strangers]
        return told

    given = as_user(all_of_them, ADA)
    assert given
    assert [(method, answer) for method, answer in given if not answer.error] == []


def test_a_thread_of_others_is_none_of_ones_own_process(own: Other, others: dict[str, Other], daemon: System) -> None:
    strangers = [target.pid for target in others.values()]
    kinds = [kind for kind in targeting() if "tid" in kind.__struct_fields__]

    def all_of_them() -> list[tuple[str, Answer]]:
        with Peer(daemon.address) as peer:
            return [
                (kind.method, ask(peer, kind.method, {**members, "pid": own.pid, "tid": tid}))
                for kind in kinds
                for members in calls(kind)
                for tid in strangers
            ]

    assert [(method, answer) for method, answer in as_user(all_of_them, ADA) if not answer.error] == []


def test_an_index_names_only_what_is_in_the_packet(own: Other, daemon: System) -> None:
    """Neither the worker's own descriptors nor those of an earlier packet."""

    def all_of_them() -> list[tuple[str, Answer]]:
        with Peer(daemon.address) as peer:
            pidfd = os.pidfd_open(own.pid)
            assert not ask(peer, "process.info", {"pidfd": 0}, [pidfd]).error
            return [
                (
                    kind.method,
                    ask(peer, kind.method, {**members, "pidfd": index, **({"fd": 15} if "fd" in members else {})}),
                )
                for kind in targeting()
                for members in calls(kind)
                for index in (0, 3, 4, 15)
            ]

    for method, answer in as_user(all_of_them, ADA):
        assert answer.error.get("code") == -32602, (method, answer)


def test_sessions_of_others_are_not_listed(daemon: System) -> None:
    with Peer(daemon.address) as root:
        assert root.call("daemon.hello")["peer"]["uid"] == 0
        listed = daemon.call_as(ADA, "session.list")["sessions"]
    assert {entry["peer"]["uid"] for entry in listed} == {ADA}
