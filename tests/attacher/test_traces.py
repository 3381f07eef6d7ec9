"""From a request that is granted to a recording."""

from __future__ import annotations

import errno
import os
import subprocess

import pytest

from tests.children import needs_root, zombie
from tests.kernel.recording import POOL, RING, narrow_program, needs_bpf, of_call, taken
from tests.live.machine import until
from utraced.attacher import traces
from utraced.errors import InvalidParams, NoSuchProcess, Unsupported
from utraced.kernel import tracepoints
from utraced.kernel.event_pool import EventPool
from utraced.kernel.recorder_requests import Record
from utraced.linux.capabilities import CAP_SYS_PTRACE
from utraced.linux.identity import Identity, own_identity

GETPPID, GETPID_32 = 110, 20


def test_who_may_trace_all_is_not_asked_for_whose_record_it_is() -> None:
    assert traces.guard_of(Identity(0, 0, (), CAP_SYS_PTRACE)) is None


def test_all_others_are() -> None:
    guard = traces.guard_of(Identity(1000, 100, (4, 5), 1 << 13))
    assert guard == (1000, 100, 1 << 13, traces.INITIAL_USER_NAMESPACE)


def test_one_that_has_ended_is_not_recorded() -> None:
    needs_bpf()
    recording = traces.prepare(Record(pidfd=0, x86_64=(GETPPID,), ring_size=RING), own_identity())
    with zombie() as pid:
        pidfd = os.pidfd_open(pid)
    try:
        with pytest.raises(NoSuchProcess):
            traces.begin(recording, pidfd)
    finally:
        recording.close()
        os.close(pidfd)


def few() -> traces.FewCalls:
    of_call("getppid")
    return traces.FewCalls(tracepoints.find(), POOL)


@needs_root
def test_few_calls_have_tracepoints_of_their_own() -> None:
    found = few().of(Record(pidfd=0, x86_64=(GETPPID,)))
    assert found is not None
    assert found.calls == (of_call("getppid"),)


@needs_root
@pytest.mark.parametrize(
    "request_",
    [
        Record(pidfd=0, x86_64=tuple(range(traces.MOST_BY_CALL + 1))),
        Record(pidfd=0, x86_64=(GETPPID,), others=True),
        Record(pidfd=0, i386=(GETPID_32,)),
        Record(pidfd=0, x86_64=(GETPPID, 134)),
    ],
    ids=["many", "those without a name", "32-bit programs", "one that the kernel lacks"],
)
def test_others_do_not(request_: Record) -> None:
    assert few().of(request_) is None


@needs_root
def test_where_no_event_can_be_had_all_calls_are_looked_at() -> None:
    def refuse(tracepoint: int) -> int:
        raise OSError(errno.EMFILE, str(tracepoint))

    of_call("getppid")
    found = traces.FewCalls(tracepoints.find(), EventPool(open_=refuse))
    recording = traces.prepare(Record(pidfd=0, x86_64=(GETPPID,), ring_size=RING), own_identity(), found)
    try:
        assert recording.narrow is None
    finally:
        recording.close()


@needs_root
def test_of_a_32_bit_program_the_calls_are_told_too(tmp_path) -> None:
    program = subprocess.Popen([narrow_program(tmp_path)])
    recording = traces.prepare(Record(pidfd=0, x86_64=(GETPPID,), i386=(64,), ring_size=RING), own_identity(), few())
    pidfd = os.pidfd_open(program.pid)
    try:
        assert recording.narrow is not None
        traces.begin(recording, pidfd)
        assert recording.narrow is None
        until(lambda: taken(recording)[0], "a call of the 32-bit program")
    finally:
        recording.close()
        os.close(pidfd)
        program.kill()
        program.wait()


def test_all_is_known_of_the_kernel_s_types_after_loading(monkeypatch) -> None:
    needs_bpf()
    monkeypatch.setattr(traces, "_types", traces._Types())
    assert traces.kernel_types().cast is None
    traces.load()
    traces.load_rest()
    assert traces.kernel_types().cast is not None


@needs_root
def test_the_calls_asked_for_are_recorded_of_the_process_asked_for() -> None:
    needs_bpf()
    pidfd = os.pidfd_open(os.getpid())
    recording = traces.prepare(
        Record(pidfd=0, x86_64=(GETPPID,), i386=(GETPID_32,), others=True, ring_size=RING), own_identity()
    )
    try:
        os.getppid()
        traces.begin(recording, pidfd)
        os.getppid()
        os.getuid()
        # Of the threads of this process, one that closed events for a test before may be ending.
        assert [one.name for one in taken(recording)[0] if one.name] == ["getppid", "getppid"]
    finally:
        recording.close()
        os.close(pidfd)


def test_a_ring_is_a_power_of_two() -> None:
    with pytest.raises(InvalidParams):
        traces.prepare(Record(pidfd=0, ring_size=RING + 1), Identity(0, 0))


@pytest.mark.parametrize("content", [None, b"rubbish"], ids=["none", "rubbish"])
def test_a_kernel_without_types_is_not_supported(tmp_path, monkeypatch, content) -> None:
    place = tmp_path / "vmlinux"
    if content is not None:
        place.write_bytes(content)
    monkeypatch.setattr(traces, "VMLINUX", str(place))
    monkeypatch.setattr(traces, "_types", traces._Types())
    with pytest.raises(Unsupported) as caught:
        traces.kernel_types()
    # They say nothing: whoever asks is answered.
    traces.load()
    traces.load_rest()
    assert caught.value.data["feature"] == "backend.kernel"


def test_only_the_first_namespaces_will_do(monkeypatch) -> None:
    for name in ("INITIAL_PID_NAMESPACE", "INITIAL_USER_NAMESPACE"):
        with monkeypatch.context() as changed:
            changed.setattr(traces, name, 1)
            with pytest.raises(Unsupported, match="namespace"):
                traces.check_place()
