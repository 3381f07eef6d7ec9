"""The file that the configuration stands in."""

from __future__ import annotations

import errno
import os
import pwd
import stat

from msgspec import structs

from utraced.configuration import PLACE, BadConfiguration, Configuration, Limits, parse
from utraced.linux.saying import log

LARGEST = 262_144
"""Bytes."""


def read_configuration(named: str | None = None) -> Configuration:
    """Return what the file says that somebody ``named``; else the one at the usual place, or the defaults without it.

    Raises BadConfiguration, also where others than root and this user may write it, or it cannot be read.
    """
    path = PLACE if named is None else named
    try:
        # A FIFO would else be waited for.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except (OSError, ValueError) as error:
        if named is None and isinstance(error, FileNotFoundError):
            return Configuration()
        raise BadConfiguration(f"{path}: {_why(error)}") from error
    try:
        _check(path, os.fstat(fd))
        with open(fd, "rb", closefd=False) as file:
            text = file.read(LARGEST + 1).decode()
    except OSError as error:
        raise BadConfiguration(f"{path}: {_why(error)}") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise BadConfiguration(f"{path}: line {line}: this is not UTF-8, as TOML has to be") from error
    finally:
        os.close(fd)
    return parse(text, place=path)


def limits_of(configuration: Configuration, uid: int) -> Limits:
    """Return the limits of a user; asks for his name only where the file says something of users."""
    if not configuration.users:
        return configuration.limits
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = None
    return configuration.limits_of(uid, name)


def by_number(configuration: Configuration) -> Configuration:
    """Return the configuration with each user's name replaced by his number, so that nobody need be asked later.

    What is said of a number goes before what is said of its name.  A name that nobody has is logged, and has no effect.
    """
    numbered: dict[str, Limits] = {}
    for name, limits in configuration.users.items():
        if name.isdecimal():
            numbered[name] = limits
            continue
        try:
            number = str(pwd.getpwnam(name).pw_uid)
        except KeyError:
            log.error("limits.user.%s: there is no such user now", ascii(name)[1:-1])
            continue
        if number not in configuration.users:
            numbered[number] = limits
    return structs.replace(configuration, users=numbered)


def _check(path: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise BadConfiguration(f"{path}: this is no regular file")
    if status.st_size > LARGEST:
        raise BadConfiguration(f"{path}: it has {status.st_size} bytes, at most {LARGEST} are allowed")
    if status.st_uid not in {0, os.geteuid()}:
        raise BadConfiguration(f"{path}: it belongs to uid {status.st_uid}, who could change it: chown root it")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise BadConfiguration(f"{path}: others than its owner may write it: chmod go-w it")


def _why(error: OSError | ValueError) -> str:
    if not isinstance(error, OSError):  # a zero byte in the path
        return "there can be no such file"
    more = ": let this user read it" if error.errno == errno.EACCES else ""
    return f"it cannot be read, {os.strerror(error.errno or 0)}{more}"
