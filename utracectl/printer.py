"""A trace's events as strace's lines, or as they are.

Seen from strace 6.1: a call is one line; where something of another thread comes before it has returned, its line ends
in ``<unfinished ...>`` and a second line, ``<... NAME resumed>``, has the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Protocol

from msgspec import DecodeError, Raw, Struct
from msgspec.json import Decoder

from utracectl.messages import terminal_text
from utracectl.told_calls import call_of
from utraced.api.events import (
    AnyEvent,
    Clone,
    Death,
    Detached,
    Event,
    Exec,
    JobControl,
    Lost,
    Signal,
    Syscall,
    SyscallEntry,
)
from utraced.syscalls.siginfo import signal_text
from utraced.syscalls.text import UNFINISHED, call_text, entry_text, exited_text, resumed_text, return_text

if TYPE_CHECKING:
    from utracectl.decoding import RecordsDecoder

VERSIONS = "this utracectl and its daemon are of two versions"
ERESTART_RESTARTBLOCK = 516
"""linux/errno.h: the call goes on as restart_syscall."""
DETACHED = " <detached ...>"


class Printer(Protocol):
    """Makes output of the events of traces."""

    detaching: bool

    def traced(self, pid: int, tids: Iterable[int]) -> None:
        """Count threads of a process as traced from now on."""

    def take(self, raw: Raw) -> int | None:
        """Take in one event as it came; returns the id of a trace that ends with it."""

    def flush(self) -> None:
        """Write what has come so far."""

    def finish(self) -> None:
        """Write what is left: no more is to come."""


class _Head(Struct):
    """What of an event must be known to pass it on."""

    kind: str
    trace: int | None = None
    delivered: int | None = None


class JsonPrinter:
    """Writes events as they came, one a line; the connection's packets must be JSON."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self.detaching = False
        self._write = write
        self._lines: list[bytes] = []
        self._decode_head = Decoder(_Head).decode

    def traced(self, pid: int, tids: Iterable[int]) -> None:
        """See ``Printer.traced``: events say it all."""

    def take(self, raw: Raw) -> int | None:
        """See ``Printer.take``."""
        self._lines.append(bytes(raw))
        try:
            head = self._decode_head(raw)
        except DecodeError:
            return None
        return head.trace if head.kind == "detached" and head.delivered is not None else None

    def flush(self) -> None:
        """See ``Printer.flush``."""
        if self._lines:
            lines = [*self._lines, b""]
            self._lines.clear()
            self._write(b"\n".join(lines))

    def finish(self) -> None:
        """See ``Printer.finish``."""
        self.flush()


class TextPrinter:
    """Writes strace's text.

    ``decode`` makes an event of what came.  ``write`` takes text of whole lines, or the beginning of one that a later
    ``write`` ends.  ``notice`` takes what is not of the trace, as ``Process 5 attached``.  ``limit`` is strace's -s.
    ``always_pid``: every line begins with the thread's id (strace's -f -o FILE), else only those written while more
    than one thread is traced.  ``show_exits``: lines of how threads ended are shown.  ``follow``:
    new processes are traced too.
    """

    def __init__(  # noqa: PLR0913 - the options of the text
        self,
        decode: Callable[[Raw], AnyEvent | None],
        write: Callable[[str], None],
        notice: Callable[[str], None],
        *,
        limit: int = 32,
        always_pid: bool = False,
        follow: bool = False,
        show_exits: bool = True,
    ) -> None:
        self.detaching = False
        self._decode = decode
        self._write = write
        self._notice = notice
        self._limit = limit
        self._always_pid = always_pid
        self._follow = follow
        self._show_exits = show_exits
        self._threads: dict[int, int] = {}
        self._decoders: dict[int | None, RecordsDecoder] = {}
        self._prefix = always_pid
        self._parts: list[str] = []
        # Of calls that were shown at entry: the thread whose line is still open, its length, and all such threads.
        self._open_tid = 0
        self._open_length = 0
        self._entered: set[int] = set()
        self._restarting: dict[int, str] = {}
        self._show: dict[type, Callable[..., None]] = {
            Syscall: self._syscall,
            SyscallEntry: self._syscall_entry,
            Signal: self._signal,
            JobControl: self._job_control,
            Clone: self._clone,
            Exec: self._exec,
            Death: self._death,
            Lost: self._lost,
            Detached: self._detached,
        }

    def traced(self, pid: int, tids: Iterable[int]) -> None:
        """See ``Printer.traced``."""
        self._threads.update(dict.fromkeys(tids, pid))
        self._count()

    def decode(self, decoder: RecordsDecoder) -> None:
        """Have a trace's records decoded from now on."""
        self._decoders[decoder.trace] = decoder

    @property
    def waiting(self) -> bool:
        """Whether there are calls that ``overdue`` may show."""
        return any(decoder.waiting for decoder in self._decoders.values())

    def overdue(self, before_ns: int) -> None:
        """Begin the lines of calls that have lasted since ``before_ns``."""
        for decoder in self._decoders.values():
            for entry in decoder.overdue(before_ns):
                self._show_safely(entry)

    def take(self, raw: Raw) -> int | None:
        """See ``Printer.take``."""
        event = self._decode(raw)
        if event is None:
            return None
        decoder = self._decoders.get(event.trace) if self._decoders else None
        if decoder is None:
            self._show_safely(event)
        else:
            for one in decoder.take(event):
                self._show_safely(one)
            if decoder.damaged:
                decoder.damaged = False
                self._say(f"records of trace {event.trace} cannot be read: {VERSIONS}")
        if type(event) is not Detached or event.delivered is None:
            return None
        self._decoders.pop(event.trace, None)
        return event.trace

    def _show_safely(self, event: Event) -> None:
        try:
            self.show(event)
        except (KeyError, ValueError, IndexError):
            # What types alone do not rule out: an architecture, a number or a position of which we know nothing.
            self._say(f"an event of {event.pid} could not be shown: {VERSIONS}")

    def show(self, event: Event) -> None:
        """Take in one event; those that strace has no line for are passed over."""
        show = self._show.get(type(event))
        if show is not None:
            show(event)

    def flush(self) -> None:
        """See ``Printer.flush``."""
        if self._parts:
            text = "".join(self._parts)
            self._parts.clear()
            self._write(text)

    def finish(self) -> None:
        """End a line that is still open: no more is to come."""
        self._break(DETACHED if self.detaching else UNFINISHED)
        self.flush()

    def _syscall(self, event: Syscall) -> None:
        """Show a call that returned, or never will."""
        tid = event.tid
        call = call_of(event, self._limit)
        interrupted = None
        if self._restarting:
            interrupted = self._restarting.pop(tid, None)
        if tid in self._entered:
            self._entered.discard(tid)
            if event.unfinished and self.detaching:
                if self._open_tid == tid:
                    self._break(DETACHED)
                return
            if self._open_tid == tid:
                self._open_tid = 0
                self._parts.append(return_text(call, column=self._open_length) + "\n")
            else:
                start = self._start(tid)
                self._parts.append(f"{start}{resumed_text(call, column=len(start))}\n")
        elif event.unfinished and self.detaching:
            self._parts.append(f"{self._start(tid)}{entry_text(call, interrupted=interrupted)}{DETACHED}\n")
        else:
            start = self._start(tid)
            self._parts.append(f"{start}{call_text(call, column=len(start), interrupted=interrupted)}\n")
        if call.errno == ERESTART_RESTARTBLOCK:
            self._restarting[tid] = event.name

    def _syscall_entry(self, event: SyscallEntry) -> None:
        """Begin the line of a call that lasts."""
        call = call_of(event, self._limit)
        text = self._start(event.tid) + entry_text(call, interrupted=self._restarting.get(event.tid))
        self._parts.append(text)
        self._entered.add(event.tid)
        self._open_tid = event.tid
        self._open_length = len(text)

    def _signal(self, event: Signal) -> None:
        """Show a signal that is about to be delivered."""
        if event.info:
            text = signal_text(event.info)
        else:
            name = terminal_text(event.signal)
            known = f"{{si_signo={name}, si_code={terminal_text(event.code)}}} " if event.code else ""
            text = f"--- {name} {known}---"
        self._line(event.tid, text)

    def _job_control(self, event: JobControl) -> None:
        """Show that a thread stopped; strace has no line for its going on."""
        if event.state == "stopped":
            self._line(event.tid, f"--- stopped by {terminal_text(event.signal or 'SIGSTOP')} ---")

    def _clone(self, event: Clone) -> None:
        """Count and tell a new thread that is traced, or should have been."""
        if event.untraced is not None:
            self._say(f"Process {event.child_tid} is not traced: the daemon traces as many threads as it may")
        elif event.how == "thread" or self._follow:
            self._threads[event.child_tid] = event.child_pid
            self._count()
            self._say(f"Process {event.child_tid} attached")

    def _exec(self, event: Exec) -> None:
        """Give the thread that called execve its new id."""
        former = event.former_tid
        if former == event.tid:
            return
        if self._open_tid == former:
            self._break(UNFINISHED)
        if former in self._entered:
            self._entered.discard(former)
            self._entered.add(event.tid)
        self._restarting.pop(former, None)
        self._threads.pop(former, None)
        self._threads[event.tid] = event.pid
        self._count()

    def _death(self, event: Death) -> None:
        """Show how a thread ended."""
        tid = event.tid
        status = event.status
        text = None
        if event.successor_tid is not None:
            text = f"+++ superseded by execve in pid {event.successor_tid} +++"
        elif status is not None and status.signal is not None:
            text = f"+++ killed by {terminal_text(status.signal)} {'(core dumped) ' if status.core_dumped else ''}+++"
        elif status is not None and status.code is not None:
            text = exited_text(status.code)
        else:
            text = "+++ ended, it is not known how +++"
        if event.successor_tid is not None:
            # The thread that called execve goes on under this one's id: from now on the two are one.
            self._threads.pop(event.successor_tid, None)
            self._count()
        if text is not None and self._show_exits:
            self._line(tid, text)
        if event.successor_tid is None:
            self._threads.pop(tid, None)
            self._count()
        self._entered.discard(tid)
        self._restarting.pop(tid, None)

    def _lost(self, event: Lost) -> None:
        """Tell how many events are missing here."""
        self._say(f"{event.count} events are missing here: they came faster than they could be written")

    def _detached(self, event: Detached) -> None:
        """Say why a process, or all of a trace, is not traced any more, where that was nobody's wish."""
        if event.trace is None:
            return  # an engine that was only there to ask something: the trace goes on
        reason = {
            "exec_denied": "it executes a program that may not be traced",
            "policy": "it runs with other rights than yours, as a set-uid program does",
            "daemon_stopping": "the daemon is stopping",
        }.get(event.reason)
        if reason is not None:
            self._say(f"Process {event.pid} detached: {reason}" if event.pid else f"detached: {reason}")
        for tid in [tid for tid, pid in self._threads.items() if pid == event.pid]:
            del self._threads[tid]
            self._entered.discard(tid)
            self._restarting.pop(tid, None)
        self._count()

    def _line(self, tid: int, text: str) -> None:
        """Add a whole line that is no call."""
        self._parts.append(f"{self._start(tid, calls=False)}{text}\n")

    def _start(self, tid: int, *, calls: bool = True) -> str:
        """Return what a line of ``tid`` begins with, having ended a line that is open."""
        if self._open_tid:
            self._break(UNFINISHED)
        if not self._prefix:
            return ""
        return f"{tid:<5} " if self._always_pid else f"[pid {tid:5}] "

    def _break(self, ending: str) -> None:
        """End the line that is open, if any."""
        if self._open_tid:
            self._parts.append(f"{ending}\n")
            self._open_tid = 0

    def _count(self) -> None:
        """Decide whether lines need to say whose they are."""
        self._prefix = self._always_pid or len(self._threads) > 1

    def _say(self, text: str) -> None:
        """Give a notice, in its place between the lines."""
        self._break(UNFINISHED)
        self.flush()
        self._notice(text)
