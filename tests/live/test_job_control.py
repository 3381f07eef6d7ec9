"""Terminals and job control: shells under trace, and traced commands as jobs of a shell."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen, run

import pytest

from tests.live.machine import UTRACECTL, children, state, until
from tests.live.terminal import END, INTERRUPT, SUSPEND, Terminal, terminal

BASH = ("bash", "--norc", "--noprofile", "--noediting", "-i")
ENVIRONMENT = {"PATH": f"{Path(sys.executable).parent}:{os.defpath}", "PS1": "<$?>", "TERM": "dumb", "LC_ALL": "C"}
TRACE = f"{sys.executable} -m utracectl trace"

pytestmark = pytest.mark.skipif(
    not shutil.which("bash") or not shutil.which("setsid"), reason="bash or setsid is missing: install them"
)


@pytest.fixture(params=["traced", "untraced"])
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Terminal]:
    """A shell at its first prompt, once under trace and once not: what is typed must show the same."""
    tracer = [*UTRACECTL, "trace", "-f", "-o", str(tmp_path / "out")] if request.param == "traced" else []
    with terminal([*tracer, *BASH], ENVIRONMENT) as shown:
        shown.expect("<0>")
        yield shown
        shown.type("exit 3\n")
        assert shown.process.wait(30) == 3
    if tracer:
        assert "+++ exited with 3 +++" in (tmp_path / "out").read_text()


def test_a_job_is_suspended_listed_and_brought_back(shell: Terminal) -> None:
    shell.type("cat\n")
    shell.type("one\n")
    shell.expect("one\r\none")
    shell.type(SUSPEND)
    assert "Stopped" in shell.expect("<148>")
    shell.type("jobs\n")
    assert "Stopped" in shell.expect("<0>")
    shell.type("fg\n")
    shell.expect("cat")
    shell.type("two\n")
    shell.expect("two\r\ntwo")
    shell.type(END)
    shell.expect("<0>")


def test_a_job_goes_on_in_the_background(shell: Terminal) -> None:
    shell.type("sh -c 'kill -STOP $$; echo went-$((1+1))'\n")
    assert "Stopped" in shell.expect("<147>")
    shell.type("bg; wait\n")
    shell.expect("went-2")
    shell.expect("<0>")


def test_the_keyboard_interrupts_a_job(shell: Terminal) -> None:
    shell.type("sh -c 'echo up-$((1+1)); read line'\n")
    shell.expect("up-2")
    shell.type(INTERRUPT)
    shell.expect("<130>")
    shell.type("sh -c 'trap \"exit 5\" INT; echo up-$((1+2)); read line'\n")
    shell.expect("up-3")
    shell.type(INTERRUPT)
    shell.expect("<5>")


def test_a_background_job_that_reads_is_stopped(shell: Terminal) -> None:
    shell.type("cat & \n")
    shell.expect("<0>")
    shell.type('while test -z "$(jobs -s)"; do :; done; jobs; echo seen-$((1+1))\n')
    assert "Stopped" in shell.expect("seen-2")
    shell.expect("<0>")
    shell.type("fg\n")
    shell.expect("cat\r\n")
    shell.type("one\n")
    shell.expect("one\r\none")
    shell.type(END)
    shell.expect("<0>")


def test_a_job_is_stopped_and_continued_by_signals(shell: Terminal) -> None:
    shell.type("sleep 1000 & \n")
    shell.expect("<0>")
    for stop in ("STOP", "TSTP"):
        shell.type(f'kill -{stop} %1; while test -z "$(jobs -s)"; do :; done; echo stopped-$((1+1))\n')
        shell.expect("stopped-2")
        shell.expect("<0>")
        shell.type('kill -CONT %1; while test -z "$(jobs -r)"; do :; done; echo running-$((1+1))\n')
        shell.expect("running-2")
        shell.expect("<0>")
    shell.type("kill %1; wait %1\n")
    shell.expect("<143>")


def test_a_traced_command_is_a_job_like_any(tmp_path: Path) -> None:
    output = tmp_path / "out"
    with terminal(BASH, ENVIRONMENT) as shell:
        shell.expect("<0>")
        shell.type(f"{TRACE} -o {output} -- cat\n")
        shell.type("one\n")
        shell.expect("one\r\none")
        shell.type(SUSPEND)
        assert "Stopped" in shell.expect("<14")
        shell.expect(">")
        shell.type("jobs\n")
        assert "Stopped" in shell.expect("<0>")
        shell.type("fg\n")
        shell.expect("-- cat\r\n")
        shell.type("two\n")
        shell.expect("two\r\ntwo")
        shell.type(INTERRUPT)
        shell.expect("<130>")
        shell.type(f"{TRACE} -o {output} -- sh -c 'trap \"exit 5\" INT; echo up-$((1+1)); read line'\n")
        shell.expect("up-2")
        shell.type(INTERRUPT)
        shell.expect("<5>")
        shell.type(f"{TRACE} -o {output} -- sh -c 'kill -TERM $$'\n")
        shell.expect("<143>")
        shell.type("exit 3\n")
        assert shell.process.wait(30) == 3
    assert "+++ killed by SIGTERM +++" in output.read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT, signal.SIGHUP])
def test_the_end_of_a_command_by_a_signal_is_ours_too(number: signal.Signals, tmp_path: Path) -> None:
    output = tmp_path / "out"
    words: list[str | Path] = [*UTRACECTL, "trace", "-o", output, "--"]
    words += ["sh", "-c", f"kill -{number.value} $$; exit 1"]
    done = run(words, stdin=DEVNULL, check=False, timeout=60)
    assert done.returncode == -number
    assert output.read_text().endswith(f"+++ killed by {number.name} +++\n")


def test_a_command_stopped_from_outside_is_told_and_goes_on(tmp_path: Path) -> None:
    output = tmp_path / "out"
    words = [*UTRACECTL, "trace", "-o", str(output), "--", "sh", "-c", "echo up; read line; exit 6"]
    with Popen(words, stdin=PIPE, stdout=PIPE) as utracectl:
        assert utracectl.stdin is not None
        assert utracectl.stdout is not None
        assert utracectl.stdout.readline() == b"up\n"
        (command,) = [pid for pid in children(utracectl.pid) if os.readlink(f"/proc/{pid}/exe").endswith("sh")]
        # The stops of terminals do nothing in an orphaned process group, as ours may be; the tests at a terminal have
        # them.
        for times in (1, 2, 3):
            os.kill(command, signal.SIGSTOP)
            until(lambda: output.read_text().count("stopped by SIGSTOP") == times, "told")  # noqa: B023 - called at once
            assert state(command) in {"t", "T"}
            os.kill(command, signal.SIGCONT)
            until(lambda: state(command) == "S", "going on")
        utracectl.stdin.close()
        assert utracectl.wait(30) == 6
    text = output.read_text()
    assert text.count("--- SIGCONT") == 3
    assert text.count("--- stopped by") == 3
