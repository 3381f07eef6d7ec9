import os
import pwd

import anyio
import pytest

from tests.children import NOBODY, as_user, child, ended, needs_root
from tests.kernel.by_hand import by_hand
from utraced.api.daemon import Check, Hello
from utraced.api.engine import Attach
from utraced.errors import InvalidParams, NoSuchProcess, PermissionDenied
from utraced.handlers import daemon
from utraced.kernel import yama
from utraced.model import Peer


def test_hello_tells_who_traces_as_whom():
    with by_hand() as hand:
        told = hand.call(Hello(client="a test"))
        assert hand.session.client == "a test"
        assert (told.server, told.protocol, told.session) == ("utraced", 1, 1)
        assert told.peer == hand.session.peer
        assert told.tracer_pid == os.getpid()
        assert told.target_user == pwd.getpwuid(os.geteuid()).pw_name
        assert told.pid_namespace == os.stat("/proc/self/ns/pid").st_ino
        with open("/proc/sys/kernel/random/boot_id") as file:
            assert told.boot_id == file.read().strip()


def test_hello_tells_the_limits_that_hold_here():
    with by_hand(sessions=5, tracees=7, queue_bytes=300_000, stall_seconds=9) as hand:
        limits = hand.call(Hello()).limits
    assert (limits.max_sessions, limits.max_tracees, limits.max_queue, limits.stall_seconds) == (5, 7, 300_000, 9)


@needs_root
@pytest.mark.parametrize(("uid", "name"), [(NOBODY, "nobody"), (54_321, "54321")])
def test_a_user_is_named_where_he_has_a_name(uid, name):
    def ask():
        with by_hand() as hand:
            return hand.call(Hello()).target_user

    assert as_user(ask, uid) == name


@needs_root
@pytest.mark.parametrize("root", [True, False])
@pytest.mark.parametrize("scope", [0, 1, 2, 3])
def test_what_the_kernel_lets_us_trace(monkeypatch, scope, root):
    monkeypatch.setattr(daemon, "_features", daemon._features.__wrapped__)
    monkeypatch.setattr(yama, "scope", lambda: scope)

    def ask():
        with by_hand() as hand:
            features = hand.call(Hello()).features
            for backend in ("kernel", "perf"):
                recording = features.pop(f"backend.{backend}")
                assert (recording.available, recording.reason) == (False, "this daemon has no attacher")
            filters = features.pop("backend.seccomp")
            assert filters.available == features["backend.ptrace"].available
            findings = [finding for finding in checked(hand).findings if finding.feature]
        assert [finding.feature for finding in findings] == list(features)
        for finding in findings:
            assert features[finding.feature].available == (finding.verdict == "works")
            assert features[finding.feature].reason in {None, finding.text}
        return {name: (feature.available, feature.reason) for name, feature in features.items()}

    features = ask() if root else as_user(ask)
    running, started = features["attach_running"], features["attach_started"]
    assert running[0] == (scope == 0 or (root and scope < 3))
    assert started[0] == (scope <= 1 or (root and scope < 3))
    for available, reason in (running, started):
        assert (reason is None) == available
        assert available or str(scope) in reason


def checked(hand, *fds, **target):
    async def ask():
        return await hand.start(Check(**target), *fds)

    return anyio.run(ask)


def test_what_works_here():
    with by_hand() as hand:
        found = checked(hand)
    assert found.process is None
    assert {finding.subject for finding in found.findings} >= {"attach", "privileges", "yama", "kernel", "container"}
    assert found.conclusion.subject == "conclusion"


def test_a_process_by_pid_and_by_pidfd():
    with by_hand() as hand, child() as pid:
        found = checked(hand, pid=pid)
        assert found.conclusion.verdict == "works"
        assert str(pid) in found.conclusion.text
        assert found.process
        assert checked(hand, os.pidfd_open(pid), pidfd=0).process == found.process


def test_one_that_this_daemon_traces():
    with child() as pid, by_hand() as hand:
        hand.call(Attach(pid=pid))
        found = checked(hand, pid=pid)
    [tracer] = [finding for finding in found.process if finding.subject == "tracer"]
    assert (tracer.verdict, tracer.text) == ("works", "this daemon traces it, for all who ask")
    assert found.conclusion.verdict == "works"


def test_the_client_itself():
    with child() as pid, by_hand() as hand:
        hand.session.peer = Peer(pid=pid, uid=0, gid=0)
        found = checked(hand, pid=pid)
    assert (found.process[0].subject, found.process[0].reason) == ("process", "would_deadlock")
    assert (found.conclusion.verdict, found.conclusion.reason) == ("no", "would_deadlock")


def test_a_process_that_is_not_there():
    with by_hand() as hand:
        with pytest.raises(NoSuchProcess):
            checked(hand, pid=ended())
        with child() as pid, pytest.raises(NoSuchProcess):
            checked(hand, pid=pid, start_time=1)
        with pytest.raises(InvalidParams):
            checked(hand, start_time=1)


def test_a_hidden_process_is_a_refusal(monkeypatch):
    def hidden(pid, start_time, *, besides, bound):
        raise PermissionError(1, "hidepid")

    monkeypatch.setattr(daemon, "examine", hidden)
    with by_hand() as hand, child() as pid, pytest.raises(PermissionDenied):
        checked(hand, pid=pid)
