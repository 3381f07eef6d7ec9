"""A system's daemon for all who attack it, and programs with privileges."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest

from tests.broker.system import System, folder, system
from tests.live.conftest import Programs

_REVISION_2 = 0x0200_0000
_EFFECTIVE = 1
CAP_NET_RAW = 1 << 13


@pytest.fixture(scope="package")
def daemon() -> Iterator[System]:
    """One broker for the tests that leave it alive."""
    with system() as found:
        yield found


@pytest.fixture(scope="package")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Programs:
    """Compile programs once."""
    return Programs(tmp_path_factory.mktemp("programs"))


@pytest.fixture(scope="package")
def set_uid(programs: Programs) -> Iterator[Path]:
    """Give a program that is root whoever starts it."""
    with privileged(programs("privileged"), "set-uid") as path:
        yield path


@pytest.fixture(scope="package")
def with_capability(programs: Programs) -> Iterator[Path]:
    """Give a program that has CAP_NET_RAW whoever starts it."""
    with privileged(programs("privileged"), "capability") as path:
        yield path


@contextmanager
def privileged(source: Path, kind: Literal["set-uid", "set-gid", "capability"], group: int = 0) -> Iterator[Path]:
    """Give a copy of a program, root's and this group's, which has privileges whoever starts it."""
    with folder() as made:
        path = made / "privileged"
        path.write_bytes(source.read_bytes())
        os.chown(path, 0, group)
        path.chmod({"set-uid": 0o4755, "set-gid": 0o2755, "capability": 0o755}[kind])
        if kind == "capability":
            _give_capability(path)
        if os.statvfs(made).f_flag & os.ST_NOSUID:
            pytest.skip("set-uid programs are only programs in /tmp here (nosuid)")
        yield path


def _give_capability(path: Path) -> None:
    """Do as setcap(8) does (struct vfs_cap_data in linux/include/uapi/linux/capability.h)."""
    data = struct.pack("<5I", _REVISION_2 | _EFFECTIVE, CAP_NET_RAW, 0, 0, 0)
    try:
        os.setxattr(path, "security.capability", data)
    except OSError as error:
        pytest.skip(f"no file capabilities in /tmp here: {error.strerror}")
