"""The command that is traced: our own child, as it would be the shell's.

It waits at a gate, a pipe, until the tracer has it; then it executes the command with a single execve, with the
caller's environment, terminal, process group and signals.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import signal
import stat
from collections.abc import Callable, Sequence
from typing import NamedTuple, NoReturn

from utracectl.exit_codes import FAILED, NOT_EXECUTABLE, NOT_FOUND
from utracectl.messages import Failure

YAMA = "/proc/sys/kernel/yama/ptrace_scope"
_GO = b"g"
_PYTHON_IGNORES = (signal.SIGPIPE, signal.SIGXFSZ)


class CannotExecute(Failure):
    """The command does not run; ``status`` is what to exit with, the message says why and what to do."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Change(NamedTuple):
    """What became of the command: it ended with ``code`` or by ``signal``, was stopped, or goes on."""

    what: str
    value: int


def find_program(name: str, search: str | None = None) -> str:
    """Return the file that execvp(3) would execute for ``name``.

    ``search`` is a PATH, by default that of the environment.  Raises ``CannotExecute``.
    """
    if "/" in name:
        _check_program(name, name)
        return name
    if not name:
        raise CannotExecute("the command is an empty word: name a program", NOT_FOUND)
    refused = None
    for folder in (os.environ.get("PATH", os.defpath) if search is None else search).split(os.pathsep):
        path = os.path.join(folder or ".", name)
        try:
            _check_program(path, name)
        except CannotExecute as error:
            refused = error if error.status == NOT_EXECUTABLE else refused
        else:
            return path
    if refused is not None:
        raise refused
    raise CannotExecute(f"{name}: command not found: check the spelling, or give its path", NOT_FOUND)


class Command:
    """A command behind its gate: ``start`` makes it, ``go`` opens the gate, ``failure`` tells of its execve."""

    def __init__(self, pid: int, gate: int, report: int, name: str) -> None:
        self.pid = pid
        self.name = name
        self.change: Change | None = None
        self._gate = gate
        self._report = report

    def go(self) -> None:
        """Let the command execute."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._gate, _GO)
        self.close_gate()

    def close_gate(self) -> None:
        """Close the gate: a command that was not let through ends without executing."""
        if self._gate >= 0:
            os.close(self._gate)
            self._gate = -1

    def failure(self) -> CannotExecute | None:
        """Return why the execve failed, None where it did not; ask when the command executes or has ended."""
        if self._report < 0:
            return None
        number = os.read(self._report, 16)
        os.close(self._report)
        self._report = -1
        return exec_failure(self.name, int(number)) if number else None

    def wait(self, *, block: bool) -> Change | None:
        """Return the next change of state: ``exited``, ``killed``, ``stopped`` or ``continued``.

        Without ``block`` None where there is none, and ever again once the command has ended.
        """
        if self.change is not None:
            return self.change if block else None
        flags = os.WEXITED | os.WSTOPPED | os.WCONTINUED | (0 if block else os.WNOHANG)
        found = os.waitid(os.P_PID, self.pid, flags)
        if found is None:
            return None
        what = {os.CLD_EXITED: "exited", os.CLD_STOPPED: "stopped", os.CLD_CONTINUED: "continued"}
        change = Change(what.get(found.si_code, "killed"), found.si_status)
        if change.what in {"exited", "killed"}:
            self.change = change
        return change


def start(arguments: Sequence[str], tracer_pid: int | None = None) -> Command:
    """Fork the command ``arguments`` and keep it at its gate.

    ``tracer_pid`` is told to Yama as the process that may trace the command.  Raises ``CannotExecute`` where there is
    no such program, or no process can be made.
    """
    path = find_program(arguments[0])
    environment = caller_environment()
    allow = _tracer_naming(tracer_pid)
    gate_read, gate_write = os.pipe2(os.O_CLOEXEC)
    report_read, report_write = os.pipe2(os.O_CLOEXEC)
    try:
        pid = os.fork()
    except OSError as error:
        for fd in (gate_read, gate_write, report_read, report_write):
            os.close(fd)
        raise CannotExecute(f"cannot make a process for the command: {error.strerror}", FAILED) from error
    if pid == 0:
        try:
            os.close(gate_write)
            _default_signals()
            if allow is not None:
                allow()
            _pass_gate(gate_read)
            _execute(path, arguments, environment, report_write)
        finally:
            os._exit(FAILED)
    os.close(gate_read)
    os.close(report_write)
    return Command(pid, gate_write, report_read, arguments[0])


def caller_environment() -> dict[bytes, bytes]:
    """Return the environment that we were given.

    ``os.environ`` is not it: in the C locale Python puts LC_CTYPE there (PEP 538).
    """
    try:
        with open("/proc/self/environ", "rb") as file:
            entries = file.read().split(b"\0")
    except OSError:
        return dict(os.environb)
    pairs = [entry.partition(b"=") for entry in entries]
    return {name: value for name, equals, value in pairs if name and equals}


def exec_failure(name: str, number: int) -> CannotExecute:
    """Return the error for an execve that failed with the errno ``number``."""
    if number == errno.ENOENT:
        return CannotExecute(f"{name}: not found, or its interpreter is not: check its #! line", NOT_FOUND)
    advice = {
        errno.ENOEXEC: "a script without a #! line runs as: sh FILE",
        errno.E2BIG: "pass fewer or shorter arguments",
        errno.EACCES: "check its permissions (chmod +x) and those of its folders",
    }.get(number)
    text = f"{name}: cannot be executed: {os.strerror(number)}"
    return CannotExecute(f"{text}: {advice}" if advice else text, NOT_EXECUTABLE)


def end_by(number: int) -> NoReturn:
    """End this process by signal ``number``, as the command ended, without a core dump of its own."""
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if number not in {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    os.kill(os.getpid(), number)
    # A signal that ends nothing by default cannot have ended the command; the shell's status for it all the same.
    os._exit(128 + number)


def _check_program(path: str, name: str) -> None:
    """Raise ``CannotExecute`` where ``path`` is no program that we may execute."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        if error.errno == errno.EACCES:
            raise exec_failure(name, errno.EACCES) from error
        raise CannotExecute(f"{name}: {error.strerror}: check the path", NOT_FOUND) from error
    except ValueError as error:
        raise CannotExecute(f"{name}: {error}", NOT_FOUND) from error
    if stat.S_ISDIR(mode):
        raise CannotExecute(f"{name}: is a directory: name a program in it", NOT_EXECUTABLE)
    if not os.access(path, os.X_OK):
        raise exec_failure(name, errno.EACCES)


def _tracer_naming(tracer_pid: int | None) -> Callable[[], object] | None:
    """Return the call that tells Yama who may trace the caller (prctl(2), PR_SET_PTRACER); None without Yama."""
    if not tracer_pid or not os.path.exists(YAMA):
        return None
    # Loaded before the fork, and only where it is of use.
    from utraced.linux.prctl import set_ptracer

    return lambda: set_ptracer(tracer_pid)


def _default_signals() -> None:
    """Give the child the signals that a shell would have given it: ours are Python's."""
    for number in _PYTHON_IGNORES:
        signal.signal(number, signal.SIG_DFL)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        # execve resets handlers by itself; this is for the time at the gate.
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)


def _pass_gate(gate: int) -> None:
    """Wait until the gate opens; where it closes instead, end."""
    if os.read(gate, 1) != _GO:
        os._exit(FAILED)


def _execute(path: str, arguments: Sequence[str], environment: dict[bytes, bytes], report: int) -> NoReturn:
    """Execute the program, or report the errno and end."""
    try:
        os.execve(path, list(arguments), environment)
    except OSError as error:
        os.write(report, str(error.errno).encode())
        os._exit(exec_failure(path, error.errno or 0).status)
