from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from tests.broker.system import folder, running, system
from tests.children import as_user, isolated, needs_root
from tests.live.machine import status, until, wait_end
from tests.worker.daemon import activated
from utraced.broker import serve
from utraced.broker.serve import serve_as, serve_system, start_template
from utraced.configuration import Configuration
from utraced.linux.listening import CannotListen
from utraced.linux.systemd import Notifier


def failure() -> str:
    """Return why a broker does not start."""
    try:
        serve_system([], "/nowhere/socket", Notifier({}), Configuration())
    except CannotListen as error:
        return str(error)
    return ""


@needs_root
def test_it_has_to_be_root() -> None:
    assert "needs root" in as_user(failure)


@needs_root
def test_the_kernel_has_to_say_who_connects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "usable", lambda: False)
    assert "Linux 6.5" in failure()


@needs_root
def test_a_folder_that_is_not_there() -> None:
    assert "/nowhere does not exist" in failure()


def test_handing_on_needs_a_socket() -> None:
    with pytest.raises(CannotListen, match="utraced-as@USER"):
        serve_as("nobody", [], Notifier({}))


@needs_root
def test_everybody_may_connect_at_its_socket() -> None:
    with system() as found:
        assert os.stat(found.address).st_mode & 0o777 == 0o666
        assert status(found.pid)["Name"] == "utraced-broker"


@needs_root
def test_sockets_of_a_service_manager_and_a_word_to_it() -> None:
    with folder() as made:
        told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        told.bind(str(made / "notify"))
        told.settimeout(30)
        path = made / "utraced.sock"
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock, told:
            sock.bind(str(path))
            sock.listen()
            os.environ["NOTIFY_SOCKET"] = str(made / "notify")
            try:
                with activated({"utraced.socket": sock}, "--system") as daemon:
                    assert told.recv(1000) == f"READY=1\nSTATUS=Listening at {path}".encode()
                    with daemon.connect() as peer:
                        assert peer.call("daemon.hello")["target_user"] == "root"
                    assert (made / "as.sock").exists()
                    assert daemon.stop() == 0
                    assert told.recv(1000).startswith(b"STOPPING=1")
            finally:
                del os.environ["NOTIFY_SOCKET"]
        # The socket is the service manager's, the other was ours.
        assert path.exists()
        assert not (made / "as.sock").exists()


@needs_root
def test_a_second_one_at_the_same_place() -> None:
    with system() as found:
        command = [sys.executable, "-m", "utraced", "--system", "--socket", found.address]
        with pytest.raises(AssertionError, match="somebody listens"), running(command, found.address, found.folder):
            pass
        assert found.call("daemon.hello")


def test_the_template_ends_with_its_channel() -> None:
    def start() -> tuple[bool, int]:
        channel = start_template()
        ours = os.getpid()
        children = Path(f"/proc/{ours}/task/{ours}/children")
        pid = int(children.read_text().split()[0])
        until(lambda: status(pid).get("Name") == "utraced-templat", "the template")
        running = os.waitpid(pid, os.WNOHANG)[0] == 0
        channel.close()
        wait_end(pid)
        return running, os.waitpid(pid, 0)[1]

    assert isolated(start) == (True, 0)
