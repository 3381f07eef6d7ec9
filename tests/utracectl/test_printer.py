from __future__ import annotations

import itertools
import os
import signal
import struct
from typing import Any

import msgspec
import pytest

from tests.api.test_call_records import record
from utracectl.decoding import RecordsDecoder
from utracectl.printer import JsonPrinter, TextPrinter
from utraced.api import call_records as records
from utraced.api.events import (
    AnyEvent,
    Clone,
    Death,
    Detached,
    Event,
    Exec,
    Exit,
    JobControl,
    Lost,
    Records,
    Signal,
    Syscall,
    SyscallEntry,
    Text,
)
from utraced.api.trace import Start, Started
from utraced.model import Status

NUMBERS = {"read": 0, "write": 1, "close": 3, "getppid": 110, "pause": 34, "exit_group": 231, "execve": 59}
NUMBERS |= {"restart_syscall": 219, "getcwd": 79, "open": 2, "clone": 56}
SIGCHLD = struct.pack("<iii4xiIi4xQQ", signal.SIGCHLD, 0, 1, 77, 0, 3, 0, 0).ljust(128, b"\0")

SIGCHLD_TEXT = "si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=77, si_uid=0, si_status=3, si_utime=0, si_stime=0"


def call(tid: int, name: str, *args: int, result: int | None = 0, **more: Any) -> Syscall:
    return Syscall(**_call(tid, name, args), result=result, start_ns=0, **more)


def entry(tid: int, name: str, *args: int, **more: Any) -> SyscallEntry:
    return SyscallEntry(**_call(tid, name, args), **more)


def _call(tid: int, name: str, args: tuple[int, ...]) -> dict[str, Any]:
    six = tuple(hex(arg & 0xFFFF_FFFF_FFFF_FFFF) for arg in (*args, 0, 0, 0, 0, 0, 0)[:6])
    return {
        "pid": 10, "tid": tid, "trace": 1, "arch": "x86_64", "nr": NUMBERS[name], "name": name, "args": six,
        "pc": "0x1", "sp": "0x2",
    }  # fmt: skip


def death(tid: int, **status: Any) -> Death:
    return Death(pid=10, tid=tid, status=Status(**status), last=True)


def shown(*events: Event, traced: tuple[int, ...] = (10,), detaching: bool = False, **options: Any) -> list[str]:
    """Return what is written, notices marked with ``!``."""
    written: list[str] = []
    printer = TextPrinter(lambda raw: None, written.append, lambda text: written.append(f"!{text}\n"), **options)
    printer.traced(10, traced)
    printer.detaching = detaching
    for event in events:
        printer.show(event)  # type: ignore[arg-type]
    printer.finish()
    return "".join(written).splitlines()


WRITE = call(10, "write", 1, 0x1000, 2, result=2, strings={"1": Text(text="x\n")})

CASES: dict[str, tuple[list[Event], list[str]]] = {
    "a call": ([WRITE], ['write(1, "x\\n", 2)                      = 2']),
    "bytes that are no text": (
        [call(10, "write", 1, 0x1000, 2, result=2, strings={"1": Text(text="\\xff\\x00", bytes=b"\xff\0")})],
        ['write(1, "\\377\\0", 2)                   = 2'],
    ),
    "a cut string": (
        [call(10, "write", 1, 0x1000, 99, result=99, strings={"1": Text(text="a" * 32, truncated=True)})],
        [f'write(1, "{"a" * 32}"..., 99) = 99'],
    ),
    "what the kernel filled in": (
        [call(10, "read", 0, 0x1000, 9, result=3, strings={"1": Text(text="abc")})],
        ['read(0, "abc", 9)                       = 3'],
    ),
    "an error": (
        [call(10, "open", 0x1000, 0, result=-2, errno="ENOENT", strings={"0": Text(text="/no")})],
        ['open("/no", O_RDONLY)                   = -1 ENOENT (No such file or directory)'],
    ),
    "a call that lasts alone stays on its line": (
        [entry(10, "read", 0, 0x1000, 9), call(10, "read", 0, 0x1000, 9, result=0)],
        ['read(0, "", 9)                          = 0'],
    ),
    "interrupted and restarted": (
        [
            entry(10, "pause"),
            call(10, "pause", result=-514, errno="ERESTARTNOHAND"),
            Signal(pid=10, tid=10, signal="SIGCHLD", info=SIGCHLD),
            WRITE,
        ],
        [
            "pause()                                 = ? ERESTARTNOHAND (To be restarted if no handler)",
            f"--- SIGCHLD {{{SIGCHLD_TEXT}}} ---",
            'write(1, "x\\n", 2)                      = 2',
        ],
    ),
    "restart_syscall names what it resumes": (
        [
            call(10, "read", 0, 0x1000, 9, result=-516, errno="ERESTART_RESTARTBLOCK"),
            call(10, "restart_syscall", result=0),
        ],
        [
            "read(0, 0x1000, 9)                      = ? ERESTART_RESTARTBLOCK (Interrupted by signal)",
            "restart_syscall(<... resuming interrupted read ...>) = 0",
        ],
    ),
    "the end": (
        [call(10, "exit_group", 7, result=None, unfinished=True), death(10, code=7)],
        ["exit_group(7)                           = ?", "+++ exited with 7 +++"],
    ),
    "killed in a call": (
        [
            entry(10, "read", 0, 0x1000, 9),
            call(10, "read", 0, 0x1000, 9, result=None, unfinished=True),
            death(10, signal="SIGKILL"),
        ],
        ["read(0,  <unfinished ...>)              = ?", "+++ killed by SIGKILL +++"],
    ),
    "a core": ([death(10, signal="SIGSEGV", core_dumped=True)], ["+++ killed by SIGSEGV (core dumped) +++"]),
    "a signal without its siginfo": ([Signal(tid=10, signal="SIGUSR1")], ["--- SIGUSR1 ---"]),
    "group stop": (
        [JobControl(tid=10, state="stopped", signal="SIGTSTP"), JobControl(tid=10, state="continued")],
        ["--- stopped by SIGTSTP ---"],
    ),
    "a signal of which only the code is known": (
        [Signal(tid=10, signal="SIGUSR1", code="SI_USER")],
        ["--- SIGUSR1 {si_signo=SIGUSR1, si_code=SI_USER} ---"],
    ),
    "an end of which little is known": ([Death(tid=10)], ["+++ ended, it is not known how +++"]),
    "no line for": ([Exit(tid=10, status=Status(code=1))], []),
    "lost events stand where they were": (
        [WRITE, Lost(count=3)],
        [
            'write(1, "x\\n", 2)                      = 2',
            "!3 events are missing here: they came faster than they could be written",
        ],
    ),
    "an end that nobody asked for": (
        [Detached(pid=10, trace=1, reason="policy")],
        ["!Process 10 detached: it runs with other rights than yours, as a set-uid program does"],
    ),
    "an end that is no news": ([Detached(pid=10, trace=1, reason="target_exited")], []),
    "the worker went away in a call": ([entry(10, "read", 0, 0x1000, 9)], ["read(0,  <unfinished ...>"]),
}


@pytest.mark.parametrize("name", CASES)
def test_one_thread(name: str) -> None:
    events, lines = CASES[name]
    assert shown(*events) == lines


def test_two_threads_interrupt_each_other() -> None:
    events = [
        Clone(pid=10, tid=10, how="thread", child_pid=10, child_tid=11),
        entry(10, "read", 0, 0x1000, 9),
        call(11, "getppid", result=1),
        entry(11, "pause"),
        call(10, "read", 0, 0x1000, 9, result=3, strings={"1": Text(text="abc")}),
        Death(pid=10, tid=11, status=Status(code=0)),
        call(10, "getppid", result=1),
    ]
    assert shown(*events) == [
        "!Process 11 attached",
        "[pid    10] read(0,  <unfinished ...>",
        "[pid    11] getppid()                   = 1",
        "[pid    11] pause( <unfinished ...>",
        '[pid    10] <... read resumed>"abc", 9) = 3',
        "[pid    11] +++ exited with 0 +++",
        "getppid()                               = 1",
    ]
    assert shown(*events, always_pid=True) == [
        "!Process 11 attached",
        "10    read(0,  <unfinished ...>",
        "11    getppid()                         = 1",
        "11    pause( <unfinished ...>",
        '10    <... read resumed>"abc", 9)       = 3',
        "11    +++ exited with 0 +++",
        "10    getppid()                         = 1",
    ]


def test_a_new_process_counts_only_where_it_is_followed() -> None:
    clone = Clone(pid=10, tid=10, how="fork", child_pid=11, child_tid=11)
    assert shown(clone, WRITE) == ['write(1, "x\\n", 2)                      = 2']
    assert shown(clone, WRITE, follow=True) == ["!Process 11 attached", '[pid    10] write(1, "x\\n", 2)          = 2']


def test_a_process_that_should_be_followed_and_is_not_is_told() -> None:
    clone = Clone(pid=10, tid=10, how="fork", child_pid=11, child_tid=11, untraced="limit_exceeded")
    assert shown(clone, WRITE, follow=True) == [
        "!Process 11 is not traced: the daemon traces as many threads as it may",
        'write(1, "x\\n", 2)                      = 2',
    ]


def test_an_open_line_is_ended_before_a_notice() -> None:
    events = [
        entry(10, "clone"),
        Clone(pid=10, tid=10, how="fork", child_pid=11, child_tid=11),
        call(10, "clone", result=11),
    ]
    lines = shown(*events, follow=True)
    assert lines[0].startswith("clone(")
    assert lines[0].endswith(" <unfinished ...>")
    assert lines[1] == "!Process 11 attached"
    assert lines[2].startswith("[pid    10] <... clone resumed>")
    assert lines[2].endswith("= 11")


def test_exec_of_another_thread() -> None:
    events = [
        entry(11, "execve", 0x1000, 0, 0, strings={"0": Text(text="/bin/true")}),
        Death(pid=10, tid=10, successor_tid=11),
        Exec(pid=10, tid=10, path="/bin/true", former_tid=11),
        call(10, "execve", 0x1000, 0, 0, strings={"0": Text(text="/bin/true")}),
        call(10, "getppid", result=1),
    ]
    assert shown(*events, traced=(10, 11)) == [
        '[pid    11] execve("/bin/true", NULL, NULL <unfinished ...>',
        "+++ superseded by execve in pid 11 +++",
        "<... execve resumed>)                   = 0",
        "getppid()                               = 1",
    ]


def test_letting_go() -> None:
    events = [
        entry(10, "read", 0, 0x1000, 9),
        call(10, "read", 0, 0x1000, 9, result=None, unfinished=True),
        call(11, "read", 1, 0x1000, 9, result=None, unfinished=True),
    ]
    assert shown(*events, detaching=True) == ["read(0,  <detached ...>", "read(1,  <detached ...>"]


def test_exits_are_not_shown_where_nobody_wants_them() -> None:
    assert shown(death(10, code=0), show_exits=False) == []


def test_a_process_that_leaves_a_trace_takes_its_threads_along() -> None:
    events = [
        Clone(pid=10, tid=10, how="fork", child_pid=11, child_tid=11),
        Clone(pid=11, tid=11, how="thread", child_pid=11, child_tid=12),
        call(11, "getppid", result=1),
        Detached(pid=11, tid=11, trace=1, reason="policy"),
        call(10, "getppid", result=1),
    ]
    lines = shown(*events, follow=True)
    assert lines[-2:] == [
        "!Process 11 detached: it runs with other rights than yours, as a set-uid program does",
        f"getppid(){' ' * 31}= 1",
    ]


def test_the_end_of_an_engine_is_not_that_of_the_trace() -> None:
    """There is one where the threads of a far process are asked for."""
    events = [
        entry(10, "pause"),
        Detached(pid=10, engine=2, reason="client_request"),
        call(10, "pause", result=None, unfinished=True),
    ]
    assert shown(*events, traced=(10, 11), detaching=True) == ["[pid    10] pause( <detached ...>"]


def test_records_are_shown_as_the_events_that_they_stand_for() -> None:
    start = Start(pid=10, deliver="raw", entries=True)
    written: list[str] = []
    given: list[Event] = []
    printer = TextPrinter(lambda raw: given.pop(), written.append, written.append)  # type: ignore[arg-type,return-value]
    printer.decode(RecordsDecoder(start, Started(trace=1, backend="kernel", deliver="raw")))

    def take(event: Event) -> int | None:
        given.append(event)
        return printer.take(msgspec.Raw(b""))

    entered = record(records.ENTRY, records.ENTERED.pack(*[0] * 8), nr=NUMBERS["pause"])
    assert take(Records(trace=1, pid=10, data=entered, count=1, format=records.FORMAT)) is None
    assert printer.waiting
    printer.overdue(10**18)
    assert not printer.waiting
    printer.flush()
    assert written == ["pause("]
    returned = record(records.EXIT, records.RETURNED.pack(-4), nr=NUMBERS["pause"])
    take(Records(trace=1, pid=10, data=returned, count=1, format=records.FORMAT))
    take(Records(trace=1, pid=10, data=b"no record", count=1, format=records.FORMAT))
    assert take(Detached(trace=1, reason="target_exited", delivered=3, lost=0)) == 1
    assert not printer.waiting
    assert written[1:] == [
        ")                                 = -1 EINTR (Interrupted system call)\n",
        "records of trace 1 cannot be read: this utracectl and its daemon are of two versions",
    ]


def test_nothing_of_a_target_reaches_the_terminal_raw() -> None:
    evil = "\x1b]0;x\x07\u202e"
    events = [
        Signal(tid=10, signal=evil),
        JobControl(tid=10, state="stopped", signal=evil),
        death(10, signal=evil),
        call(10, "write", 1, 0x1000, 9, result=9, strings={"1": Text(text=evil)}),
    ]
    assert all(line.isprintable() for line in shown(*events))


def test_json_is_as_it_came() -> None:
    written: list[bytes] = []
    printer = JsonPrinter(written.append)
    printer.traced(10, [10])
    packets = [b'{"kind":"later","new":[1]}', msgspec.json.encode(Detached(trace=4, reason="policy")), b"[]"]
    packets.append(msgspec.json.encode(Detached(trace=4, reason="policy", delivered=1, lost=0)))
    ends = [printer.take(msgspec.Raw(packet)) for packet in packets]
    assert ends == [None, None, None, 4], "the first is the end of one of the trace's processes"
    assert written == []
    printer.flush()
    printer.finish()
    assert written == [b"".join(packet + b"\n" for packet in packets)]


def test_text_takes_packets() -> None:
    written: list[str] = []
    decoder: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)
    later = msgspec.Raw(b'{"kind":"later"}')
    printer = TextPrinter(
        lambda raw: None if raw == later else decoder.decode(raw), written.append, written.append, limit=1
    )
    assert printer.take(msgspec.Raw(msgspec.json.encode(call(10, "getppid", result=1)))) is None
    assert printer.take(later) is None
    assert printer.take(msgspec.Raw(msgspec.json.encode(Detached(trace=4, reason="client_request")))) is None
    end = Detached(trace=4, reason="target_exited", delivered=1, lost=0)
    assert printer.take(msgspec.Raw(msgspec.json.encode(end))) == 4
    printer.flush()
    printer.flush()
    assert written == [f"getppid(){' ' * 31}= 1\n"]


@pytest.mark.parametrize("change", [{"arch": "vax"}, {"args": ["x"] * 6}, {"strings": {"9": {"text": ""}}}])
def test_an_event_of_another_version_is_told(change: dict[str, Any]) -> None:
    written: list[str] = []
    event = msgspec.convert(msgspec.to_builtins(WRITE) | change, Syscall)
    printer = TextPrinter(lambda raw: event, written.append, written.append)
    assert printer.take(msgspec.Raw(b"")) is None
    assert written == ["an event of 10 could not be shown: this utracectl and its daemon are of two versions"]


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_any_order_gives_whole_lines(order: tuple[int, ...]) -> None:
    events = [entry(10, "pause"), entry(11, "pause"), call(11, "pause", result=0), death(10, code=0)]
    written: list[str] = []
    printer = TextPrinter(lambda raw: None, written.append, written.append)
    for position in order:
        printer.show(events[position])  # type: ignore[arg-type]
    printer.finish()
    assert "".join(written).endswith("\n")
    assert os.linesep * 2 not in "".join(written)
