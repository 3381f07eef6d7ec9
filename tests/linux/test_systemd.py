from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from tests.children import isolated
from utraced.linux.systemd import Notifier, Passed, passed

HERE = {"PATH": "/bin"}


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"LISTEN_FDS": "1"},
        {"LISTEN_PID": "1", "LISTEN_FDS": "1"},
        {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "0"},
    ],
)
def test_nothing_is_for_us(variables: dict[str, str]) -> None:
    environment = {**HERE, **variables}
    assert passed(environment) == []
    assert environment == HERE


@pytest.mark.parametrize(
    ("names", "expected"),
    [("a:b", ["a", "b"]), ("a", ["a", "unknown"]), ("", ["unknown", "unknown"]), ("a:b:c", ["a", "b"])],
)
def test_descriptors_and_their_names(names: str, expected: list[str]) -> None:
    def work() -> tuple[list[Passed], list[bool], dict[str, str]]:
        for fd in (3, 4):
            os.dup2(0, fd, inheritable=True)
        environment = {**HERE, "LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2", "LISTEN_PIDFDID": "1"}
        if names:
            environment["LISTEN_FDNAMES"] = names
        found = passed(environment)
        return found, [os.get_inheritable(entry.fd) for entry in found], environment

    found, inheritable, environment = isolated(work)
    assert [(entry[0], entry[1]) for entry in found] == list(zip([3, 4], expected, strict=True))
    assert inheritable == [False, False]
    assert environment == HERE


@pytest.mark.parametrize(("pid", "count"), [("me", "1"), (str(os.getpid()), "many"), (str(os.getpid()), "100000")])
def test_nonsense_is_a_value_error(pid: str, count: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - int's own words, or ours
        passed({"LISTEN_PID": pid, "LISTEN_FDS": count})


@pytest.mark.parametrize("abstract", [False, True])
def test_word_goes_to_the_manager_s_socket(tmp_path: Path, abstract: bool) -> None:
    name = f"@utraced-test-notify-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name[1:] if abstract else name)
        environment = {**HERE, "NOTIFY_SOCKET": name}
        notifier = Notifier(environment)
        notifier.tell(READY=1, STATUS="Listening")
        assert manager.recv(100) == b"READY=1\nSTATUS=Listening"
    assert environment == HERE


@pytest.mark.parametrize("address", [None, "", "relative", "vsock:2:1234", "/nowhere/notify", "@utraced-test-nobody"])
def test_a_manager_that_is_not_there_is_no_concern(address: str | None) -> None:
    Notifier({} if address is None else {"NOTIFY_SOCKET": address}).tell(READY=1)


def test_a_manager_that_does_not_read_holds_nobody_up(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        for _ in range(2000):
            notifier.tell(STATUS="x" * 1000)
