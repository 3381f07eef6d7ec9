from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.children import NOBODY, as_user, needs_root
from utraced.linux.listening import LONGEST, CannotListen, Inherited, Listener


def refusal(path: object) -> str:
    """Return the one line that says why there can be no socket at ``path``."""
    with pytest.raises(CannotListen) as caught:
        Listener(str(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def connects(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        try:
            sock.connect(str(path))
        except OSError:
            return False
        return True


def stale(path: Path, kind: int = socket.SOCK_SEQPACKET) -> None:
    with socket.socket(socket.AF_UNIX, kind) as sock:
        sock.bind(str(path))


def test_the_socket_is_private_and_goes_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    before = os.umask(0)
    listener = Listener(str(path))
    assert os.umask(before) == 0
    assert path.stat().st_mode & 0o7777 == 0o600
    assert listener.name == str(path)
    assert connects(path)
    listener.close()
    assert not path.exists()


def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    stale(path)
    listener = Listener(str(path))
    assert connects(path)
    listener.close()


def test_a_second_one_is_refused_and_the_first_unharmed(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    first = Listener(str(path))
    said = refusal(path)
    assert f"listens at {path} already (pid {os.getpid()})" in said
    assert "stop that one" in said
    assert connects(path)
    first.close()


def test_who_listens_with_a_full_backlog_listens(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.bind(str(path))
        sock.listen(0)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
            client.connect(str(path))
            assert "already" in refusal(path)


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_living_socket_of_another_kind_is_left_alone(tmp_path: Path, kind: int) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX, kind) as sock:
        sock.bind(str(path))
        assert "already" in refusal(path)
    assert path.exists()


def _link(path: Path) -> None:
    path.symlink_to(path.parent / "elsewhere")


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (_link, "symbolic link"),
        (lambda path: path.mkdir(), "folder"),
        (lambda path: path.write_text("precious"), "regular file"),
        (os.mkfifo, "special file"),
    ],
    ids=["link", "folder", "file", "fifo"],
)
def test_what_is_no_socket_is_left_alone(tmp_path: Path, make: Callable[[Path], object], kind: str) -> None:
    path = tmp_path / "there"
    make(path)
    said = refusal(path)
    assert f"{path} is a {kind}" in said
    assert "choose another" in said
    assert path.is_symlink() or path.exists()


def test_a_link_to_a_stale_socket_is_no_socket(tmp_path: Path) -> None:
    stale(tmp_path / "target")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    assert "symbolic link" in refusal(tmp_path / "link")
    assert (tmp_path / "target").exists()


@pytest.mark.parametrize("path", ["", "/tmp/", "/", ".", ".."])
def test_a_path_without_a_name_is_refused(path: str) -> None:
    assert "names a folder" in refusal(path)


def test_the_longest_path_works_and_one_byte_more_is_refused(tmp_path: Path) -> None:
    room = LONGEST - len(os.fsencode(tmp_path)) - 1
    path = tmp_path / ("ü" * (room // 2) + "x" * (room % 2))
    listener = Listener(str(path))
    assert connects(path)
    listener.close()
    said = refusal(f"{path}x")
    assert "has 108 bytes" in said
    assert "shorter" in said


def test_a_missing_folder_is_refused_with_the_way_to_make_it(tmp_path: Path) -> None:
    assert f"mkdir -m 700 {tmp_path / 'missing'}" in refusal(tmp_path / "missing" / "socket")


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "cannot be used: Not a directory" in refusal(tmp_path / "file" / "socket")


@pytest.mark.parametrize("mode", [0o707, 0o777, 0o702])
@pytest.mark.parametrize("inner", [False, True], ids=["itself", "above"])
def test_a_folder_where_others_may_write_is_refused(tmp_path: Path, mode: int, inner: bool) -> None:
    open_to_all = tmp_path / "open"
    open_to_all.mkdir()
    open_to_all.chmod(mode)
    folder = open_to_all / "inner" if inner else open_to_all
    folder.mkdir(exist_ok=True)
    said = refusal(folder / "socket")
    assert f"in the folder {open_to_all} " in said
    assert "chmod go-w" in said


def test_a_sticky_folder_is_good_enough(tmp_path: Path) -> None:
    (tmp_path / "sticky").mkdir()
    (tmp_path / "sticky").chmod(0o1777)
    Listener(str(tmp_path / "sticky" / "socket")).close()


@needs_root
def test_the_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    os.chown(tmp_path / "theirs", NOBODY, NOBODY)
    assert f"belongs to uid {NOBODY}" in refusal(tmp_path / "theirs" / "socket")


@needs_root
def test_a_folder_that_we_may_not_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(0o700)

    def attempt() -> str:
        try:
            Listener(str(tmp_path / "closed" / "socket"))
        except CannotListen as error:
            return str(error)
        return ""

    assert "Permission denied" in as_user(attempt)


def test_a_link_to_a_folder_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    listener = Listener(str(tmp_path / "link" / "socket"))
    assert (tmp_path / "real" / "socket").exists()
    listener.close()
    assert not (tmp_path / "real" / "socket").exists()


def test_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    listener = Listener("socket")
    monkeypatch.chdir("/")
    assert connects(tmp_path / "socket")
    listener.close()
    assert not (tmp_path / "socket").exists()


def test_what_has_taken_its_place_is_left(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    listener = Listener(str(path))
    path.rename(tmp_path / "moved")
    path.write_text("another's")
    listener.close()
    assert path.read_text() == "another's"


def test_what_is_gone_already_does_not_matter(tmp_path: Path) -> None:
    listener = Listener(str(tmp_path / "socket"))
    (tmp_path / "socket").unlink()
    listener.close()


def test_two_that_start_at_the_same_time_do_not_meet(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    assert "just starting" in refusal(tmp_path / "socket")
    os.close(folder)
    Listener(str(tmp_path / "socket")).close()


def test_refusals_leave_no_descriptor(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    (tmp_path / "file").touch()
    refusal(tmp_path / "file")
    assert os.listdir("/proc/self/fd") == before


def test_a_socket_passed_on_is_used_and_its_file_left(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.bind(str(tmp_path / "socket"))
        sock.listen()
        inherited = Inherited(os.dup(sock.fileno()), "front")
        assert inherited.name == "front"
        inherited.close()
    assert (tmp_path / "socket").exists()


@pytest.mark.parametrize("family", [socket.AF_UNIX, socket.AF_INET])
def test_a_socket_of_another_kind_is_refused(family: int) -> None:
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.bind("" if family == socket.AF_UNIX else ("127.0.0.1", 0))
        sock.listen()
        with pytest.raises(CannotListen, match="ListenSequentialPacket="):
            Inherited(os.dup(sock.fileno()), "wrong")


def test_a_connection_is_no_listening_socket() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, pytest.raises(CannotListen, match="Accept=no"):
        Inherited(os.dup(ours.fileno()), "connected")


def test_a_file_is_no_socket() -> None:
    with pytest.raises(CannotListen, match="no socket"):
        Inherited(os.open(os.devnull, os.O_RDONLY), "file")
