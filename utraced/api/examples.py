"""Examples of every method and of every kind of event, for the description of the protocol."""

from __future__ import annotations

from typing import Any

from utraced.model import Empty, Hex, Holder, Peer, Status, ThreadStatus
from utraced.rpc.openrpc import Example, example

from . import daemon, engine, events, memory, process, registers, rpc, session, thread, trace
from .call_records import EXAMPLE, FORMAT

_PID = 4711
_STARTED = 183_250
_NOW = 93_412_006_118_455
_LIBRARY = Hex(0x7F3A_5E02_8000)
_STACK = "0x7ffd0f1e2ab8"
_CALLING = "0x7f3a5e114a81"

_WRITTEN: dict[str, Any] = {
    "arch": "x86_64",
    "nr": 1,
    "name": "write",
    "args": ("0x1", "0x55c00003f2a0", "0x3", "0x0", "0x0", "0x0"),
    "pc": _CALLING,
    "sp": _STACK,
}

_WELCOME = daemon.Welcome(
    server="utraced",
    version="1.0.0",
    protocol=daemon.PROTOCOL,
    session=3,
    boot_id="0fd1c1f2-7c4e-4a4e-9a54-8a1f0d1b1c39",
    peer=Peer(pid=4242, uid=1000, gid=1000, groups=(27, 1000)),
    target_user="ada",
    access="full",
    tracer_pid=812,
    pid_namespace=4_026_531_836,
    limits=daemon.Limits(
        max_packet=204_800,
        max_batch=100,
        max_values=5000,
        max_fds=16,
        max_read=131_072,
        max_queue=1_048_576,
        max_waiting=1000,
        max_sessions=1000,
        max_tracees=16_384,
        stall_seconds=60,
    ),
    features={
        "attach_running": daemon.Feature(available=True),
        "backend.kernel": daemon.Feature(available=False, reason="this kernel has no BTF"),
    },
)

_DETAILS = process.Details(
    pid=_PID,
    parent=4242,
    start_time=_STARTED,
    name="sleep",
    state="sleeping",
    argv=("sleep", "60"),
    exe="/usr/bin/sleep",
    cwd="/srv/data",
    root="/",
    users=process.Ids(real=1000, effective=1000, saved=1000, file_system=1000),
    groups=process.Ids(real=1000, effective=1000, saved=1000, file_system=1000),
    supplementary_groups=(27, 1000),
    process_group=_PID,
    process_session=4242,
    threads=1,
    memory=process.Memory(virtual=5_763_072, resident=1_835_008, anonymous=98_304, file=1_736_704, shared=0),
    namespaces={"pid": Hex(0xF000_0000 - 4), "user": Hex(0xF000_0000 - 3)},
    seccomp=0,
)

EXAMPLES: tuple[Example, ...] = (
    example("Who is there", daemon.Hello(client="my debugger"), _WELCOME),
    example(
        "Why not process 4711",
        daemon.Check(pid=_PID),
        daemon.Checked(
            findings=(
                daemon.Finding(
                    subject="attach", verdict="works", text="running processes can be traced", feature="attach_running"
                ),
                daemon.Finding(subject="yama", verdict="works", text="this kernel does not run Yama"),
            ),
            conclusion=daemon.Finding(
                subject="conclusion",
                verdict="no",
                text="You cannot trace process 4711 (sleep): it is traced by gdb (4720).",
                hint="Let that tracer go first, or connect to it if it is a utraced.",
                reason="traced_by_other",
            ),
            process=(
                daemon.Finding(subject="process", verdict="works", text="sleep, sleeping, 1 thread"),
                daemon.Finding(
                    subject="tracer",
                    verdict="no",
                    text="process 4711 is traced by gdb (4720)",
                    hint="Let that tracer go first, or connect to it if it is a utraced.",
                    reason="traced_by_other",
                ),
            ),
        ),
    ),
    example(
        "Attach, and hold every thread",
        engine.Attach(pid=_PID, start_time=_STARTED, events={"exec": "hold", "signal": "report"}, hold=True),
        engine.Attached(
            engine=1,
            pid=_PID,
            start_time=_STARTED,
            threads=(ThreadStatus(tid=_PID, state="held", holders=(Holder(session=3),)),),
        ),
    ),
    example(
        "Attach by the first descriptor of the packet, to be told of all that is usual",
        engine.Attach(pidfd=0),
        engine.Attached(engine=2, pid=_PID, start_time=_STARTED, threads=(ThreadStatus(tid=_PID, state="running"),)),
    ),
    example("Let go", engine.Detach(engine=1), Empty()),
    example("Hold at signals", engine.SetEvents(engine=1, events={"signal": "hold", "death": "report"}), Empty()),
    example(
        "Only calls on files, at their return",
        engine.SetSyscalls(
            engine=1,
            entry=engine.CallFilter(enabled=False),
            exit=engine.CallFilter(set=("%file",), remove=("readlink",)),
        ),
        Empty(),
    ),
    example(
        "What is mine",
        engine.List(),
        engine.Engines(engines=(engine.EngineSummary(engine=1, pid=_PID, start_time=_STARTED),)),
    ),
    example(
        "One engine",
        engine.Info(engine=1),
        engine.EngineInfo(
            engine=1,
            pid=_PID,
            start_time=_STARTED,
            events={"signal": "hold", "death": "report"},
            hold=True,
            hold_on_exec=False,
            follow=False,
            entry=engine.CallsTold(enabled=True, set="all", excluded=("read", "write")),
            exit=engine.CallsTold(enabled=False, set=("openat",)),
            threads=(
                engine.ThreadInfo(
                    tid=_PID,
                    state="held",
                    holders=(Holder(session=3),),
                    at=engine.Place(kind="signal", pc=_CALLING, signal="SIGUSR1"),
                ),
            ),
        ),
    ),
    example(
        "The first bytes of a library",
        memory.Read(pid=_PID, address=_LIBRARY, size=4),
        memory.Contents(data=b"\x7fELF"),
    ),
    example(
        "Two pages of which one is not there, into a memfd",
        memory.Read(pid=_PID, address=_LIBRARY, size=8192, fd=0, partial=True),
        memory.Contents(size=8192, holes=(memory.Hole(start=Hex(_LIBRARY + 4096), end=Hex(_LIBRARY + 8192)),)),
    ),
    example(
        "A breakpoint's byte, by hand",
        memory.Write(engine=1, address=Hex(0x55C0_0000_1139), data=b"\xcc"),
        memory.Written(size=1),
    ),
    example(
        "The contents of a memfd, into the process",
        memory.Write(engine=1, address=Hex(0x55C0_0003_F000), fd=0, size=1_048_576),
        memory.Written(size=1_048_576),
    ),
    example(
        "Where a password still lies about",
        memory.Search(pid=_PID, pattern=b"hunter2", limit=2),
        memory.Found(addresses=(Hex(0x55C0_0003_F2A0), Hex(0x7FFD_0F1E_2AB8)), next=Hex(0x7FFD_0F1E_2C10)),
    ),
    example(
        "A shell and its children",
        process.List(root=4242, limit=2),
        process.Processes(
            processes=(
                process.Process(pid=4242, parent=4200, start_time=180_112, uid=1000, state="sleeping", command="-bash"),
                process.Process(
                    pid=_PID,
                    parent=4242,
                    start_time=_STARTED,
                    uid=1000,
                    state="tracing_stop",
                    command="sleep 60",
                    traced_by=process.Tracer(pid=812, comm="utraced"),
                ),
            ),
            next=4720,
        ),
    ),
    example("One process", process.Info(pid=_PID), _DETAILS),
    example(
        "One mapping",
        process.Maps(pid=_PID, limit=1),
        process.Mapped(
            maps=(
                process.Map(
                    start=Hex(0x55C0_0000_1000),
                    end=Hex(0x55C0_0000_5000),
                    perms="r-xp",
                    offset=Hex(0x1000),
                    dev="fe:00",
                    inode=Hex(1_311_747),
                    path="/usr/bin/sleep",
                ),
            ),
            next=Hex(0x55C0_0000_5000),
        ),
    ),
    example(
        "All mappings in a file, as the layout maps says",
        process.Maps(pid=_PID, form="fd"),
        process.Mapped(fd=0, size=1743, count=22),
    ),
    example(
        "Where it is",
        registers.Read(engine=1, tid=_PID, set=("general",)),
        registers.Registers(
            general={"rip": Hex(0x7F3A_5E11_4A81), "rsp": Hex(0x7FFD_0F1E_2AB8), "rax": Hex(0xFFFF_FFFF_FFFF_FDFC)}
        ),
    ),
    example(
        "Return from the function at once, with -1",
        registers.Write(engine=1, tid=_PID, general={"rip": Hex(0x7F3A_5E11_4B02), "rax": Hex(0xFFFF_FFFF_FFFF_FFFF)}),
        Empty(),
    ),
    example(
        "One family, here without its methods",
        rpc.Discover(family="memory"),
        {"openrpc": "1.3.2", "info": {"title": "utraced", "version": "1.0.0"}, "methods": []},
    ),
    example(
        "Who is connected",
        session.List(),
        session.Sessions(
            sessions=(
                session.SessionEntry(
                    session=3,
                    peer=Peer(pid=4242, uid=1000, gid=1000, groups=(27, 1000)),
                    command="my-debugger",
                    client="my debugger",
                    queued=0,
                    engines=1,
                    traces=0,
                    holdings=(session.Holding(pid=_PID, engine=1, held=(_PID,)),),
                ),
            )
        ),
    ),
    example("A mark in the stream", session.Sync(token="after the first step"), Empty()),
    example(
        "Hold one thread",
        thread.Stop(engine=1, tid=_PID, timeout_ms=1000),
        thread.Stopped(threads=(ThreadStatus(tid=_PID, state="held", holders=(Holder(session=3),)),)),
    ),
    example(
        "One instruction, without the signal that was to be delivered",
        thread.Resume(engine=1, tid=_PID, action="step", signal=thread.SignalChange(deliver=False)),
        thread.Running(running=True),
    ),
    example(
        "A call fails without being made",
        thread.Resume(engine=1, tid=_PID, syscall=thread.CallChange(abort=True, result="EACCES")),
        thread.Running(running=True),
    ),
    example(
        "Another session still holds it",
        thread.Resume(engine=1),
        thread.Running(running=False, holders=(Holder(session=4, pid=4300, comm="gdb-like"),)),
    ),
    example("A signal for one thread", thread.Signal(pid=_PID, tid=_PID, signal="SIGUSR1"), Empty()),
    example(
        "Failing calls on files, of a process and its descendants",
        trace.Start(pid=_PID, follow=True, syscalls=("%file",), failed_only=True),
        trace.Started(trace=5, backend="kernel"),
    ),
    example("The end of a trace", trace.Stop(trace=5), trace.Totals(delivered=1093, lost=0)),
)


def _of(seq: int, **whose: Any) -> dict[str, Any]:
    """Return the members that all events have."""
    return {"seq": seq, "time_ns": _NOW + seq * 21_000, "pid": _PID, "tid": _PID, **whose}


EVENTS: tuple[events.Event, ...] = (
    events.Stop(
        **_of(1, engine=1, held=True),
        why="requested",
        pc=_CALLING,
        registers=events.Captured({"rip": _CALLING, "rsp": _STACK}),
    ),
    events.Clone(**_of(2, engine=1), how="fork", child_pid=4712, child_tid=4712, child_engine=2),
    events.VforkDone(**_of(3, engine=1), child_pid=4712),
    events.Exec(**_of(4, engine=1, held=True), path="/usr/bin/env", former_tid=_PID),
    events.Exit(**_of(5, engine=1), status=Status(code=0)),
    events.Death(**_of(6, engine=1), status=Status(signal="SIGSEGV", core_dumped=True), last=True),
    events.Reap(**_of(7, engine=1)),
    events.Library(**_of(8, engine=1), path="/usr/lib/libm.so.6", base="0x7f3a5e028000", loaded=True),
    events.Signal(**_of(9, engine=1, held=True), signal="SIGUSR1", code="SI_USER", sender_pid=4242, sender_uid=1000),
    events.JobControl(**_of(10, engine=1), state="stopped", signal="SIGTSTP"),
    events.SyscallEntry(**_of(11, engine=1), **_WRITTEN),
    events.SyscallExit(**_of(12, engine=1), **_WRITTEN, result=-9, errno="EBADF"),
    events.Syscall(
        **_of(13, trace=5),
        **_WRITTEN,
        result=3,
        start_ns=_NOW + 223_000,
        duration_ns=8_000,
        strings={"1": events.Text(text="hi\n")},
    ),
    events.Step(**_of(14, engine=1, held=True), pc="0x7f3a5e114a83"),
    events.Resumed(**_of(15, engine=1)),
    events.Sync(seq=16, time_ns=_NOW + 294_000, token="after the first step"),
    events.Lost(seq=17, trace=5, count=240),
    events.Records(seq=17, time_ns=_NOW + 295_000, pid=_PID, trace=6, data=EXAMPLE, count=1, format=FORMAT),
    events.Detached(**_of(18, trace=5), reason="target_exited", status=Status(code=0), delivered=1093, lost=240),
)
