from __future__ import annotations

import os
import socket
import sys

import pytest

from utraced.linux import starting
from utraced.linux.starting import command, environment, start

SAYING = """
import os, sys
os.write(int(sys.argv[1]), f"{os.readlink('/proc/self/fd/0')} {os.getsid(0)}".encode())
"""


def test_the_command_is_this_program(monkeypatch: pytest.MonkeyPatch) -> None:
    assert command("--template", "5") == [sys.executable, "-P", "-m", "utraced", "--template", "5"]
    monkeypatch.setattr("sys.executable", "")
    with pytest.raises(ValueError, match="does not know its own program"):
        command()


def test_the_package_is_found_and_after_what_the_user_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "ROOT", "/opt/source")
    assert environment({}) == {"PYTHONPATH": "/opt/source"}
    assert environment({"PYTHONPATH": "/mine", "X": "y"}) == {"PYTHONPATH": "/mine:/opt/source", "X": "y"}
    monkeypatch.setattr(starting, "ROOT", "/opt/lib/site-packages")
    assert environment({"PYTHONPATH": "/mine"}) == {"PYTHONPATH": "/mine"}


@pytest.mark.parametrize("apart", [True, False])
def test_it_has_its_channel_and_no_stdin(apart: bool) -> None:
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            pid = start([sys.executable, "-c", SAYING, str(theirs.fileno())], theirs.fileno(), {}, session=apart)
        assert os.waitpid(pid, 0)[1] == 0
        assert ours.recv(1000).decode() == f"{os.devnull} {pid if apart else os.getsid(0)}"
        assert ours.recv(1) == b""


def test_a_program_that_is_not_there() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(FileNotFoundError):
        start(["/nowhere/python"], theirs.fileno(), {})
