"""A listening SOCK_SEQPACKET socket at a path, or none (unix(7))."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
from typing import Protocol

from utraced.linux.credentials import peer

LONGEST = 107
"""Bytes of a path: ``sun_path`` has 108, and the kernel's own clients end it with a zero."""
BACKLOG = 4096
"""The kernel takes at most net.core.somaxconn."""
PRIVATE = 0o600
FOR_ALL = 0o666


class CannotListen(Exception):
    """Why there can be no socket there, and what to do: one line."""


class Listening(Protocol):
    """A listening socket; ``name`` tells it in messages."""

    name: str
    socket: socket.socket

    def close(self) -> None:
        """Stop listening."""
        ...


class Listener:
    """A listening socket and its file; ``name`` tells it in messages."""

    def __init__(self, path: str, mode: int = PRIVATE) -> None:
        """Make the socket at ``path``, of ``mode``; a socket that nobody answers at is replaced.

        Raises CannotListen.
        """
        self.name = path
        folder, self._file = os.path.split(path)
        if len(os.fsencode(path)) > LONGEST:
            size = len(os.fsencode(path))
            raise CannotListen(f"the path has {size} bytes, a socket's has at most {LONGEST}: choose a shorter one")
        if self._file in {"", ".", ".."}:
            raise CannotListen(f"{path or 'the empty path'} names a folder: name a file in it")
        self._folder = _open_folder(folder or ".")
        try:
            self.socket = self._listen(path, mode)
            status = os.stat(self._file, dir_fd=self._folder, follow_symlinks=False)
            self._identity = (status.st_dev, status.st_ino)
        except BaseException:
            os.close(self._folder)
            raise

    def _listen(self, path: str, mode: int) -> socket.socket:
        # Who replaces a stale socket must not meet another who does: the lock is on the folder and leaves no file.
        try:
            fcntl.flock(self._folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise CannotListen(f"another daemon is just starting at {path}: use that one, or try again") from error
        try:
            self._make_room(path)
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            mask = os.umask(0o777 & ~mode)
            try:
                sock.bind(path)
                sock.listen(BACKLOG)
            except OSError as error:
                sock.close()
                raise CannotListen(f"cannot make a socket at {path}: {error.strerror}") from error
            finally:
                os.umask(mask)
        finally:
            fcntl.flock(self._folder, fcntl.LOCK_UN)
        return sock

    def _make_room(self, path: str) -> None:
        """Remove a stale socket; refuse whatever else stands there."""
        try:
            mode = os.stat(self._file, dir_fd=self._folder, follow_symlinks=False).st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(mode):
            raise CannotListen(f"{path} is a {_kind(mode)}: remove it, or choose another path")
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
            sock.setblocking(False)
            try:
                sock.connect(path)
                there = f" (pid {peer(sock).pid})"
            except OSError as error:
                if error.errno == errno.ECONNREFUSED:
                    self._unlink(path)
                    return
                there = "" if error.errno in {errno.EAGAIN, errno.EPROTOTYPE} else f" ({error.strerror})"
        raise CannotListen(f"somebody listens at {path} already{there}: use or stop that one, or choose another path")

    def _unlink(self, path: str) -> None:
        try:
            os.unlink(self._file, dir_fd=self._folder)
        except OSError as error:
            raise CannotListen(f"cannot replace the stale socket {path}: {error.strerror}: remove it") from error

    def close(self) -> None:
        """Stop listening, and remove the file if it is still ours."""
        with contextlib.suppress(OSError):
            status = os.stat(self._file, dir_fd=self._folder, follow_symlinks=False)
            if (status.st_dev, status.st_ino) == self._identity:
                os.unlink(self._file, dir_fd=self._folder)
        self.socket.close()
        os.close(self._folder)


class Inherited:
    """A listening socket that a service manager passed on; its file is not ours."""

    def __init__(self, fd: int, name: str) -> None:
        """Take the descriptor; raises CannotListen where it is no listening SOCK_SEQPACKET socket."""
        self.name = name
        wanted = "ListenSequentialPacket= and Accept=no are needed"
        try:
            self.socket = socket.socket(fileno=fd)
        except OSError as error:
            raise CannotListen(f"the descriptor {name} is no socket: {wanted}") from error
        listens = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        if self.socket.family != socket.AF_UNIX or self.socket.type != socket.SOCK_SEQPACKET or not listens:
            self.socket.close()
            raise CannotListen(f"the socket {name} is of another kind: {wanted}")

    def close(self) -> None:
        """Let go of our copy."""
        self.socket.close()


def place(listener: Listening) -> str:
    """Return the path at which clients connect to a socket, or its name where it has none."""
    address = listener.socket.getsockname()
    return address if isinstance(address, str) and address else listener.name


def _open_folder(folder: str) -> int:
    """Return the folder, open, after a look whether others may replace what is in it; raises CannotListen."""
    real = os.path.realpath(folder)
    try:
        fd = os.open(real, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise CannotListen(f"the folder {folder} does not exist: make it with mkdir -m 700 {folder}") from error
    except OSError as error:
        raise CannotListen(f"the folder {folder} cannot be used: {error.strerror}: choose another path") from error
    try:
        above = real
        while True:
            _check_folder(above)
            if above == "/":
                return fd
            above = os.path.dirname(above)
    except BaseException:
        os.close(fd)
        raise


def _check_folder(folder: str) -> None:
    status = os.stat(folder)
    ours = {0, os.geteuid()}
    if status.st_uid not in ours:
        raise CannotListen(
            f"the folder {folder} belongs to uid {status.st_uid}, who could replace the socket: choose a path of yours"
        )
    # In a sticky folder such as /tmp nobody but the owner removes a file.
    if status.st_mode & stat.S_ISVTX:
        return
    theirs = stat.S_IWOTH if status.st_gid in {0, os.getegid()} else stat.S_IWOTH | stat.S_IWGRP
    if status.st_mode & theirs:
        raise CannotListen(
            f"others may write in the folder {folder} and replace the socket: chmod go-w it, or choose another path"
        )


def _kind(mode: int) -> str:
    kinds = {stat.S_IFLNK: "symbolic link", stat.S_IFDIR: "folder", stat.S_IFREG: "regular file"}
    return kinds.get(stat.S_IFMT(mode), "special file")
