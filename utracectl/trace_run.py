"""A run of ``utracectl trace`` over its connection: traces, the command, signals, output."""

from __future__ import annotations

import argparse
import os
import select
import signal
from time import monotonic_ns

from msgspec import Raw

from utracectl import VERSION
from utracectl.client import Client, ConnectionEnded
from utracectl.command import Change, Command, end_by
from utracectl.command import start as start_command
from utracectl.exit_codes import ERROR, OK
from utracectl.messages import error_text, say
from utracectl.output import Output
from utracectl.printer import JsonPrinter, Printer, TextPrinter
from utracectl.signals import ENDING, FORWARDED, Signals, shell_has_job_control
from utraced.api.daemon import Hello
from utraced.api.engine import Attach, CallFilter, Detach
from utraced.api.trace import Start, Stop
from utraced.errors import Gone, NoSuchProcess, UtracedError

LASTING_NS = 5_000_000
"""Nanoseconds after which the line of a call begins that has not returned."""
MUCH = 8 << 20
"""Bytes of events that take about a second to write."""
Calls = CallFilter | tuple[str | int, ...] | str


class Run:
    """The traces of one run, by id, and the command, if there is one.

    Call ``start`` and ``attach``, then ``follow``, then ``exit_status``.
    """

    def __init__(self, client: Client, output: Output, options: argparse.Namespace, calls: Calls | None) -> None:
        self._client = client
        self._output = output
        self._options = options
        self._calls = calls
        self._command: Command | None = None
        self._traces: dict[int, int] = {}
        self._own_trace = 0
        self._refused = False
        # As strace: silent where the text goes to a file and nothing was attached to.
        self._quiet = bool(options.quiet) or options.json or (options.output is not None and not options.attach)
        self._text: TextPrinter | None = None if options.json else self._text_printer()
        self._printer: Printer = self._text or JsonPrinter(output.write)
        self._tracer = client.call(Hello(client=f"utracectl {VERSION}")).tracer_pid
        self._signals = Signals()

    def start(self, words: list[str]) -> None:
        """Start the command and its trace; raises ``CannotExecute``, and ``UtracedError`` where it cannot be traced."""
        self._command = command = start_command(words, self._tracer)
        self._signals.with_command()
        try:
            self._own_trace = self._trace(command.pid, from_exec=True)
        except (UtracedError, ConnectionEnded):
            command.close_gate()
            command.wait(block=True)
            raise
        self._printer.traced(command.pid, [command.pid])
        command.go()

    def attach(self, pids: list[int]) -> None:
        """Trace running processes; one that cannot be traced is told of, and the others go on."""
        for pid in pids:
            host = self._options.host
            tids = thread_ids(pid) if host is None else [pid]
            try:
                self._trace(pid, from_exec=False)
                if host is not None and not self._options.json:
                    tids = remote_thread_ids(self._client, pid)
            except UtracedError as error:
                say(error_text(error))
                self._refused = True
                continue
            self._printer.traced(pid, tids)
            threads = f" with {len(tids)} threads" if len(tids) > 1 else ""
            self._notice(f"Process {pid} attached{threads}")

    def follow(self) -> None:
        """Write the traces until all have ended, then wait for the command."""
        poll = select.poll()
        poll.register(self._client, select.POLLIN)
        poll.register(self._signals, select.POLLIN)
        socket = self._client.fileno()
        try:
            # What came while requests waited for their answers: the socket says nothing of it any more.
            self._take()
            while self._traces:
                text = self._text
                waiting = text is not None and text.waiting
                for fd, _ in poll.poll(LASTING_NS // 1_000_000 if waiting else None):
                    if fd == socket:
                        self._take()
                    else:
                        self._act_on_signals()
                if waiting and text is not None:
                    text.overdue(monotonic_ns() - LASTING_NS)
                    text.flush()
                if self._output.failed:
                    self._let_go(list(self._traces))
        except ConnectionEnded as error:
            self._traces.clear()
            self._printer.finish()
            self._refused = True
            what = "the command runs on" if self._command else "what was traced runs on"
            say(f"{error}: the trace is incomplete, {what} untraced")
        self._printer.finish()
        self._await_command()

    def exit_status(self) -> int:
        """Return what to exit with; where a signal ended the command, end by it."""
        command = self._command
        if command is None or command.change is None:
            return ERROR if self._refused else OK
        failure = command.failure()
        if failure is not None:
            raise failure
        if command.change.what == "killed":
            end_by(command.change.value)
        return command.change.value

    def _text_printer(self) -> TextPrinter:
        """Return the printer that the options ask for."""
        options = self._options
        many = options.follow_forks or len(options.attach) > 1 or bool(options.attach and options.command)
        return TextPrinter(
            self._client.decode,
            self._output.write,
            self._notice,
            limit=options.string_limit,
            always_pid=options.output is not None and many,
            follow=options.follow_forks,
            show_exits=options.quiet < 2,
        )

    def _trace(self, pid: int, *, from_exec: bool) -> int:
        """Start the trace of a process and return its id."""
        options = self._options
        # What the kernel writes is decoded here, while the daemon does other things.  Over ssh it would be more to
        # carry, and of another machine's time.
        raw = self._text is not None and options.host is None
        start = Start(
            pid=pid,
            from_exec=from_exec,
            follow=options.follow_forks,
            syscalls=self._calls,  # type: ignore[arg-type]
            strings=options.string_limit,
            failed_only=options.failed_only,
            path_prefix=options.path_prefix,
            backend=options.backend,
            overflow="block",
            deliver="raw" if raw and options.backend in {"auto", "kernel", "perf"} else "events",
            entries=not options.json,
        )
        started = self._client.call(start)
        self._traces[started.trace] = pid
        if started.deliver == "raw" and self._text is not None:
            # Of no use to all other traces.
            from utracectl.decoding import RecordsDecoder

            self._text.decode(RecordsDecoder(start, started))
        if options.backend not in {"auto", started.backend}:
            self._notice(f"the backend is {started.backend}" + (f": {started.reason}" if started.reason else ""))
        elif started.backend == "seccomp" and not options.quiet and not options.json:
            say(f"the backend is seccomp: {started.reason}")
        return started.trace

    def _take(self) -> None:
        """Write what has come."""
        self._write(self._client.raw_events(0))

    def _write(self, events: list[Raw]) -> None:
        """Write events."""
        take = self._printer.take
        for raw in events:
            ended = take(raw)
            if ended is not None:
                self._traces.pop(ended, None)
        self._printer.flush()

    def _let_go(self, traces: list[int]) -> None:
        """End traces; the rest of their events is written."""
        self._printer.detaching = True
        for number in traces:
            pid = self._traces.get(number)
            try:
                self._client.call(Stop(trace=number))
            except Gone:
                pid = None
            rest = self._client.raw_events(0)
            if pid is not None and sum(memoryview(raw).nbytes for raw in rest) > MUCH:
                self._notice(f"Process {pid} detached; what it did is still being written, until Ctrl-C")
                pid = None
            self._write(rest)
            self._traces.pop(number, None)
            if pid is not None:
                self._notice(f"Process {pid} detached")
        self._printer.detaching = False

    def _act_on_signals(self) -> None:
        """Do what the signals that came ask for."""
        taken = self._signals.taken()
        command = self._command
        if signal.SIGCHLD in taken and command is not None:
            while (change := command.wait(block=False)) is not None:
                self._command_changed(change)
        if command is not None and command.change is None:
            for number in sorted(taken & FORWARDED):
                os.kill(command.pid, number)
            taken -= FORWARDED
        if taken & ENDING:
            alone = command is None or command.change is not None
            if alone:
                # Who asks once more does not want the rest of what is recorded, which can take long to write.
                self._signals.end_by_the_next()
            self._let_go([number for number in list(self._traces) if alone or number != self._own_trace])

    def _command_changed(self, change: Change) -> None:
        """Stop when the command has stopped, so that the shell sees its job stop; and go on together with it."""
        if change.what != "stopped" or not shell_has_job_control() or self._command is None:
            return
        os.kill(os.getpid(), signal.SIGSTOP)
        # We go on: by fg or bg, which continue the whole group, or by a SIGCONT to us alone.
        following = self._command.wait(block=False)
        if following is None:
            os.kill(self._command.pid, signal.SIGCONT)
        elif following.what == "stopped":
            self._command_changed(following)

    def _await_command(self) -> None:
        """Wait until the command has ended."""
        if self._command is None:
            return
        poll = select.poll()
        poll.register(self._signals, select.POLLIN)
        self._command.close_gate()
        while True:
            self._act_on_signals()
            while self._command.change is None and (change := self._command.wait(block=False)) is not None:
                self._command_changed(change)
            if self._command.change is not None:
                return
            poll.poll()

    def _notice(self, text: str) -> None:
        """Say something of the trace that is not in it."""
        if not self._quiet:
            say(text)


def thread_ids(pid: int) -> list[int]:
    """Return the threads of a process; only itself where they cannot be listed."""
    try:
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return [pid]


def remote_thread_ids(client: Client, pid: int) -> list[int]:
    """Return the threads of a process that a trace of ours has just been attached to, as the daemon knows them."""
    try:
        attached = client.call(Attach(pid=pid, events=()))
        client.call(Detach(engine=attached.engine))
    except (NoSuchProcess, Gone):
        return [pid]
    return [thread.tid for thread in attached.threads]
