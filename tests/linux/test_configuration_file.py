from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.children import NOBODY, as_user, needs_root
from utraced.configuration import BadConfiguration, Configuration, Limits, parse
from utraced.linux import configuration_file
from utraced.linux.configuration_file import LARGEST, by_number, limits_of, read_configuration


def wrong(path: Path | str) -> str:
    with pytest.raises(BadConfiguration) as caught:
        read_configuration(str(path))
    said = str(caught.value)
    assert said.startswith(f"{path}: ")
    assert "\n" not in said
    return said


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "utraced.toml"
    path.write_text("[limits]\nsessions = 7\n")
    path.chmod(0o644)
    return path


def test_a_file(file: Path) -> None:
    assert read_configuration(str(file)).limits.sessions == 7


def test_an_absent_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configuration_file, "PLACE", str(tmp_path / "none"))
    assert read_configuration() == Configuration()
    # One that somebody has named is meant to be there.
    assert "No such file" in wrong(tmp_path / "none")


def test_what_stands_in_it_is_told_with_its_place(file: Path) -> None:
    file.write_text("[idle]\nsession = 1\n")
    assert wrong(file) == f"{file}: line 2: idle.session: unknown key, allowed are worker"


def test_what_is_no_utf_8(file: Path) -> None:
    file.write_bytes(b"[idle]\n# \xff\n")
    assert "line 2: this is not UTF-8" in wrong(file)


@pytest.mark.parametrize("mode", [0o664, 0o646])
def test_others_may_not_write_it(file: Path, mode: int) -> None:
    file.chmod(mode)
    assert "chmod go-w" in wrong(file)


@needs_root
def test_it_is_not_another_user_s(file: Path) -> None:
    os.chown(file, NOBODY, NOBODY)
    assert f"belongs to uid {NOBODY}" in wrong(file)


@needs_root
def test_one_s_own_is_good(file: Path) -> None:
    os.chown(file, NOBODY, NOBODY)
    fd = os.open(file, os.O_RDONLY)  # its folder is closed to him
    assert as_user(lambda: read_configuration(f"/proc/self/fd/{fd}").limits.sessions) == 7
    os.close(fd)


@needs_root
def test_it_must_be_readable(file: Path) -> None:
    file.chmod(0o600)

    def read() -> str:
        try:
            read_configuration(str(file))
        except BadConfiguration as error:
            return str(error)
        return ""

    assert "Permission denied" in as_user(read)


def test_other_things_than_files(tmp_path: Path) -> None:
    assert "no regular file" in wrong(tmp_path)
    os.mkfifo(tmp_path / "fifo")
    assert "no regular file" in wrong(tmp_path / "fifo")
    assert "no regular file" in wrong("/dev/zero")
    assert "Too many levels" in wrong(_loop(tmp_path))
    assert "no such file" in wrong("a\0b")


@pytest.mark.parametrize(
    ("users", "expected"),
    [({}, 1), ({"root": 2}, 2), ({"0": 3}, 3), ({"root": 2, "0": 3}, 3), ({"no such user": 2}, 1)],
)
def test_the_limits_of_a_user(users: dict[str, int], expected: int) -> None:
    configuration = Configuration(
        limits=Limits(sessions=1), users={name: Limits(sessions=most) for name, most in users.items()}
    )
    assert limits_of(configuration, 0).sessions == expected
    assert limits_of(configuration, 54_321).sessions == 1


def _loop(folder: Path) -> Path:
    path = folder / "loop"
    path.symlink_to(path)
    return path


def test_it_is_not_endless(file: Path) -> None:
    file.write_bytes(b"#" * (LARGEST + 1))
    assert str(LARGEST) in wrong(file)


def test_names_become_numbers() -> None:
    configuration = parse("[limits.user.root]\nsessions = 7\n[limits.user.1234]\nsessions = 8\n")
    numbered = by_number(configuration)
    assert {name: limits.sessions for name, limits in numbered.users.items()} == {"0": 7, "1234": 8}
    both = parse("[limits.user.root]\nsessions = 7\n[limits.user.0]\nsessions = 8\n")
    assert by_number(both).limits_of(0, None).sessions == 8


def test_a_name_that_nobody_has(capfd: pytest.CaptureFixture[str]) -> None:
    numbered = by_number(parse("[limits.user.nobody-is-called-this]\nsessions = 7\n"))
    assert numbered.users == {}
    assert "limits.user.nobody-is-called-this: there is no such user" in capfd.readouterr().err
