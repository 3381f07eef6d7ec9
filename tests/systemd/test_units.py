"""The units are what systemd understands, what the README says of them, and keep nothing from the workers."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.systemd.units import INSTALLED, ROOT, SYSTEM, USER, analyze, copied, needs_analyze, settings, units

README = (ROOT / "README.md").read_text()
ALL = units(SYSTEM) + units(USER)
HIDING = {
    "BindPaths", "BindReadOnlyPaths", "ExecPaths", "ExtensionDirectories", "ExtensionImages", "InaccessiblePaths",
    "MountAPIVFS", "MountImages", "NoExecPaths", "PrivateDevices", "PrivateIPC", "PrivateMounts", "PrivateNetwork",
    "PrivateTmp", "PrivateUsers", "ProcSubset", "ProtectControlGroups", "ProtectHome", "ProtectHostname",
    "ProtectKernelLogs", "ProtectKernelModules", "ProtectKernelTunables", "ProtectProc", "ProtectSystem",
    "ReadOnlyPaths", "ReadWritePaths", "RootDirectory", "RootImage", "RuntimeDirectory", "StateDirectory",
    "CacheDirectory", "LogsDirectory", "TemporaryFileSystem",
}  # fmt: skip
"""What makes a namespace of mounts or of something else that a worker looks at (systemd.exec(5)), or folders."""


@needs_analyze
def test_systemd_understands_the_system_s_units(tmp_path: Path) -> None:
    done = analyze("verify", *copied(SYSTEM, tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_analyze
def test_systemd_understands_the_user_s_units(tmp_path: Path) -> None:
    found = copied(USER, tmp_path)
    done = analyze("--user", "verify", *found, XDG_RUNTIME_DIR=str(tmp_path), HOME=str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_analyze
def test_a_unit_with_a_mistake_is_found(tmp_path: Path) -> None:
    """The checks above can fail."""
    broken = tmp_path / "utraced.service"
    broken.write_text((SYSTEM / "utraced.service").read_text() + "[Service]\nKilMode=process\n")
    done = analyze("verify", broken)
    assert "KilMode" in done.stderr
    assert INSTALLED in done.stderr


def judged() -> None:
    """Each version of systemd has its own weights and points: the README tells those of one."""
    version = analyze("--version").stdout.split()[1]
    if f"(systemd {version})" not in README:
        pytest.skip(f"systemd {version} is not the one that the README tells the exposure by")


@needs_analyze
@pytest.mark.parametrize("name", ["utraced.service", "utraced-as@.service"])
def test_the_readme_tells_the_exposure(tmp_path: Path, name: str) -> None:
    judged()
    copied(SYSTEM, tmp_path)
    done = analyze("security", "--offline=true", tmp_path / name)
    score = re.search(r"Overall exposure level for .*: (\d+\.\d)", done.stdout)
    assert score, done.stdout + done.stderr
    assert f"`{name}`: {score[1]}" in README


@needs_analyze
def test_the_readme_has_a_reason_for_each_point(tmp_path: Path) -> None:
    judged()
    copied(SYSTEM, tmp_path)
    done = analyze("security", "--offline=true", tmp_path / "utraced.service")
    points = re.findall(r"^[^\w]*([A-Z]\w+)[=:].*[0-9]\.[0-9]$", done.stdout, re.MULTILINE)
    assert len(points) > 10
    section = README.partition("### How far it is shut in")[2].partition("\n### ")[0]
    assert [point for point in points if f"`{point}=`" not in section] == []


def test_workers_see_the_files_that_their_users_see() -> None:
    for path in (SYSTEM / "utraced.service", USER / "utraced.service"):
        assert HIDING & settings(path).keys() == set()


def test_what_users_start_through_their_daemon_inherits_nothing() -> None:
    assert settings(USER / "utraced.service").keys() == {
        "Description", "Requires", "After", "Type", "ExecStart", "KillMode", "Restart", "Also",
    }  # fmt: skip


@pytest.mark.parametrize("path", [path for path in ALL if path.suffix == ".socket"], ids=lambda path: path.name)
def test_each_socket_takes_packets_and_one_service_has_all_connections(path: Path) -> None:
    found = settings(path)
    assert len(found["ListenSequentialPacket"]) == 1
    assert "Accept" not in found
    assert found["SocketMode"] == (["0666"] if path == SYSTEM / "utraced.socket" else ["0600"])


@pytest.mark.parametrize("path", [path for path in ALL if path.suffix == ".service"], ids=lambda path: path.name)
def test_each_service_tells_when_it_is_ready_and_is_started_anew(path: Path) -> None:
    found = settings(path)
    assert found["Type"] == ["notify"]
    assert found["Restart"] == ["on-failure"]
    assert found["ExecStart"][0].split()[0] == INSTALLED


def test_workers_are_not_killed_before_they_have_let_go() -> None:
    for path in (SYSTEM / "utraced.service", USER / "utraced.service"):
        assert settings(path)["KillMode"] == ["process"]


def shell(heading: str) -> list[list[str]]:
    """Return the words of the commands that the README gives under a heading."""
    section = README.partition(f"### {heading}\n")[2].partition("\n### ")[0]
    blocks = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    return [shlex.split(line, comments=True) for block in blocks for line in block.splitlines() if line.strip()]


def globbed(word: str) -> set[str]:
    return {str(path.relative_to(ROOT)) for path in ROOT.glob(word)}


def test_the_installation_takes_each_unit_and_the_uninstallation_removes_it() -> None:
    commands = shell("Install for everybody on a machine")
    copies = [words for words in commands if words[1:2] == ["cp"]]
    installed = {
        f"{words[-1].rstrip('/')}/{Path(name).name}"
        for words in copies
        for word in words[2:-1]
        for name in globbed(word)
    }
    assert installed == {f"/etc/systemd/system/{path.name}" for path in units(SYSTEM)} | {
        f"/etc/systemd/user/{path.name}" for path in units(USER)
    }
    patterns = [word for words in commands if words[1:2] == ["rm"] for word in words[2:] if not word.startswith("-")]
    assert {path for path in installed if not any(Path(path).match(pattern) for pattern in patterns)} == set()
    assert "/opt/utraced" in patterns
    assert f"{Path(INSTALLED).parent}/pip" in {word for words in commands for word in words}
