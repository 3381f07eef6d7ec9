from __future__ import annotations

import contextlib
import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from utracectl import command
from utracectl.command import CannotExecute, Change

ROOT = Path(__file__).resolve().parents[2]


def finished(words: list[str]) -> tuple[Change | None, CannotExecute | None]:
    child = command.start(words)
    child.go()
    change = child.wait(block=True)
    return change, child.failure()


@pytest.mark.parametrize(
    ("script", "change"),
    [
        ("exit 0", Change("exited", 0)),
        ("exit 7", Change("exited", 7)),
        ("kill -TERM $$", Change("killed", signal.SIGTERM)),
        ("kill -KILL $$", Change("killed", signal.SIGKILL)),
        ("ulimit -c 0; kill -SEGV $$", Change("killed", signal.SIGSEGV)),
    ],
)
def test_how_it_ends(script: str, change: Change) -> None:
    assert finished(["sh", "-c", script]) == (change, None)


def test_a_closed_gate_never_executes(tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    child = command.start(["touch", str(marker)])
    child.close_gate()
    assert child.wait(block=True) == Change("exited", 125)
    assert child.failure() is None
    assert not marker.exists()


def test_it_does_not_execute_before_it_may(tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    child = command.start(["touch", str(marker)])
    assert child.wait(block=False) is None
    assert Path(f"/proc/{child.pid}/exe").resolve() == Path(sys.executable).resolve()
    assert not marker.exists()
    child.go()
    assert child.wait(block=True) == Change("exited", 0)
    assert marker.exists()
    assert child.failure() is None


def test_it_ends_when_we_are_killed_before_the_gate_opens() -> None:
    program = (
        "from utracectl import command; import os\n"
        "print(command.start(['true']).pid, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, cwd=ROOT, timeout=60, check=False, text=True
    )
    # The pipe of stdout ends only when the child has ended too.
    assert done.returncode == -signal.SIGKILL
    assert not Path(f"/proc/{int(done.stdout)}/fd").exists() or not os.listdir(f"/proc/{int(done.stdout)}/fd")


def test_stopped_and_continued() -> None:
    child = command.start(["sh", "-c", "kill -STOP $$; exit 3"])
    child.go()
    assert child.wait(block=True) == Change("stopped", signal.SIGSTOP)
    os.kill(child.pid, signal.SIGCONT)
    assert child.wait(block=True) == Change("continued", signal.SIGCONT)
    assert child.wait(block=True) == Change("exited", 3)
    assert child.failure() is None


def test_an_execve_that_fails(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/nowhere/interpreter\n")
    script.chmod(0o755)
    change, failure = finished([str(script)])
    assert change == Change("exited", 127)
    assert failure is not None
    assert (failure.status, str(failure)) == (
        127, f"{script}: not found, or its interpreter is not: check its #! line",
    )  # fmt: skip
    script.write_text("no program\n")
    change, failure = finished([str(script)])
    assert change == Change("exited", 126)
    assert str(failure) == (
        f"{script}: cannot be executed: Exec format error: a script without a #! line runs as: sh FILE"
    )


def test_signals_are_a_shell_s() -> None:
    read, write = os.pipe()
    child = command.start(["sh", "-c", f"grep -E '^Sig(Ign|Blk)' /proc/self/status >/proc/{os.getpid()}/fd/{write}"])
    child.go()
    assert child.wait(block=True) == Change("exited", 0)
    os.close(write)
    with os.fdopen(read) as file:
        masks = dict(line.split() for line in file)
    assert child.failure() is None
    assert not int(masks["SigIgn:"], 16) & 1 << signal.SIGPIPE - 1
    assert not int(masks["SigIgn:"], 16) & 1 << signal.SIGXFSZ - 1
    assert int(masks["SigBlk:"], 16) == 0


def test_it_gets_the_environment_that_we_were_given() -> None:
    program = (
        "import os; from utracectl import command; os.environ['ADDED'] = '1'\n"
        "child = command.start(['env']); child.go(); child.wait(block=True)"
    )
    given = {"PATH": os.environ["PATH"], "A": "b=c", "B": "\udcff", "EMPTY": "", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, env=given, timeout=60, check=True, cwd="/"
    )
    # In the C locale, which an environment without LANG means, Python sets LC_CTYPE for itself.
    assert sorted(done.stdout.splitlines()) == sorted(os.fsencode(f"{name}={value}") for name, value in given.items())


def test_no_descriptor_of_ours_reaches_it() -> None:
    def inheritable() -> set[str]:
        fds = [int(name) for name in os.listdir("/proc/self/fd")]
        return {str(fd) for fd in fds if os.path.exists(f"/proc/self/fd/{fd}") and os.get_inheritable(fd)}

    read, write = os.pipe()
    child = command.start(["sh", "-c", f"ls /proc/self/fd >/proc/{os.getpid()}/fd/{write}"])
    child.go()
    assert child.wait(block=True) == Change("exited", 0)
    os.close(write)
    with os.fdopen(read) as file:
        # What ls has besides is its own, of the directory that it reads.
        assert set(file.read().split()) - {"3"} == inheritable() - {"3"}
    assert child.failure() is None


class TestFindProgram:
    def test_first_of_the_path_that_can_be_executed(self, tmp_path: Path) -> None:
        for folder, mode in (("a", 0o644), ("b", 0o755), ("c", 0o755)):
            (tmp_path / folder).mkdir()
            (tmp_path / folder / "tool").write_text("")
            (tmp_path / folder / "tool").chmod(mode)
        search = ":".join(str(tmp_path / folder) for folder in "abc")
        assert command.find_program("tool", search) == str(tmp_path / "b" / "tool")

    def test_not_executable_anywhere(self, tmp_path: Path) -> None:
        (tmp_path / "tool").write_text("")
        with pytest.raises(CannotExecute, match="chmod") as caught:
            command.find_program("tool", f"/nowhere:{tmp_path}")
        assert caught.value.status == 126

    def test_a_folder_is_no_program(self, tmp_path: Path) -> None:
        (tmp_path / "tool").mkdir()
        with pytest.raises(CannotExecute, match="directory"):
            command.find_program("tool", str(tmp_path))

    def test_nowhere(self) -> None:
        with pytest.raises(CannotExecute, match="command not found") as caught:
            command.find_program("no-such-tool", "/usr/bin")
        assert caught.value.status == 127

    def test_an_empty_part_of_the_path_is_the_current_directory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "tool").touch(0o755)
        assert command.find_program("tool", "/nowhere:") == "./tool"

    def test_a_slash_means_that_very_file(self) -> None:
        assert command.find_program("/bin/sh", "/nowhere") == "/bin/sh"

    @pytest.mark.parametrize("name", ["", "nul\0", "/nul\0"])
    def test_no_name_at_all(self, name: str) -> None:
        with pytest.raises(CannotExecute) as caught:
            command.find_program(name, "/usr/bin")
        assert caught.value.status == 127


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL, signal.SIGABRT, signal.SIGPIPE])
def test_end_by(number: int) -> None:
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            command.end_by(number)
        os._exit(1)
    _, status = os.waitpid(pid, 0)
    assert os.WTERMSIG(status) == number
    assert not os.WCOREDUMP(status)


def test_errors_of_execve_have_words() -> None:
    for number in (errno.ENOEXEC, errno.E2BIG, errno.EACCES, errno.ELOOP, errno.ENOMEM, errno.EPERM):
        failure = command.exec_failure("tool", number)
        assert failure.status == 126
        assert str(failure).startswith(f"tool: cannot be executed: {os.strerror(number)}")
    assert stat.S_ISREG(os.stat(command.find_program("sh")).st_mode)
