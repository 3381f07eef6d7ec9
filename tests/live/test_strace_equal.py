"""Calls, arguments, results and ends, per process, equal those that strace shows of the same program."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from difflib import unified_diff
from itertools import zip_longest
from pathlib import Path

import pytest

from tests.live.conftest import Programs
from tests.live.machine import UTRACECTL
from tests.live.strace_text import of_processes

FUTEX = (r"^futex\(.*FUTEX_(CMP_REQUEUE|WAIT_BITSET|WAKE)_?", r"^sched_yield")
"""What threads do to wait for each other."""

C_PROGRAMS: dict[str, tuple[str, ...]] = {
    "files": (),
    "stat": (),
    "directories": (),
    "mapping": (),
    "signals": (),
    "fork_wait": (),
    "spawning": (),
    "threads": ("^futex", "^(madvise|munmap)"),
    "exec_thread": FUTEX,
    "exit_threads": FUTEX,
    "polling": (),
    "sockets": (),
    "timers": (),
    "limits": (),
    "failing": (),
    "xattr": (),
    "copying": (),
    "crash": (),
    "int80": (),
    "messages": (),
    "i386_calls": (),
    "i386_scattered": (),
}

COMMANDS = {
    "shell": 'ls / >/dev/null; echo one | cat; (exit 3); x=$(pwd); test -d /tmp && echo "$x" >out; kill -TERM $$',
    "acceptance": "ls / >/dev/null; python3 -c 'import json'; exit 7",
    # The child outlives the shell's first look at it, or the shell would make other calls now and then.
    "background": "sleep 0.3 & wait; exec 3<&0; read line <&3; trap 'echo trapped' USR1; kill -USR1 $$; exit 2",
}


def compare(
    command: Sequence[str | Path],
    folder: Path,
    ignored: Sequence[str] = (),
    *,
    options: Sequence[str] = (),
    calls: str = "all",
    part: Callable[[str], str] = str,
) -> None:
    """Trace the ``calls`` of a command by strace and by utracectl, and compare ``part`` of each line.

    ``options`` are utracectl's alone.
    """
    if shutil.which("strace") is None or shutil.which("setarch") is None:
        pytest.skip("strace or setarch is missing: install them to compare with strace")
    environment = {"PATH": f"{Path(sys.executable).parent}:{os.defpath}", "LC_ALL": "C", "PYTHONHASHSEED": "0"}
    environment |= {"PYTHONDONTWRITEBYTECODE": "1"}
    texts: list[str] = []
    ends: list[int] = []
    for tracer in (["strace"], [*UTRACECTL, "trace", *options]):
        home = folder / "home"
        home.mkdir()
        output = folder / "trace.txt"
        done = subprocess.run(
            ["setarch", "-R", *tracer, "-f", "-e", f"trace={calls}", "-o", output, "--", *command],
            cwd=home,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
            timeout=60,
        )
        ends.append(done.returncode)
        texts.append(output.read_text(errors="backslashreplace"))
        output.unlink()
        shutil.rmtree(home)
    expected, found = ([[part(line) for line in lines] for lines in of_processes(text, ignored)] for text in texts)
    nothing: list[str] = []
    difference = "\n".join(
        line
        for theirs, ours in zip_longest(expected, found, fillvalue=nothing)
        for line in unified_diff(theirs, ours, "strace", "utracectl", n=1, lineterm="")
    )
    assert not difference, difference
    assert ends[0] == ends[1]


@pytest.mark.parametrize("name", C_PROGRAMS)
def test_a_program_reads_as_with_strace(name: str, programs: Programs, tmp_path: Path) -> None:
    compare([programs(name)], tmp_path, C_PROGRAMS[name])


@pytest.mark.parametrize("name", COMMANDS)
def test_a_shell_reads_as_with_strace(name: str, tmp_path: Path) -> None:
    # Where a shell learns of its children's ends, and so returns from its handler, depends on who is quicker.
    compare(["/bin/sh", "-c", COMMANDS[name]], tmp_path, ("^rt_sigreturn",))


def test_python_reads_as_with_strace(tmp_path: Path) -> None:
    compare(["python3", "-c", "import json, socket, subprocess; subprocess.run(['/bin/true'])"], tmp_path)
