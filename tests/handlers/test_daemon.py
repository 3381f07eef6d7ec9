import os
import pwd

import pytest

from tests.children import NOBODY, as_user, needs_root
from tests.kernel.by_hand import by_hand
from utraced.api.daemon import Hello
from utraced.handlers import daemon


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


@pytest.mark.parametrize("root", [True, False])
@pytest.mark.parametrize("scope", [0, 1, 2, 3])
def test_what_the_kernel_lets_us_trace(monkeypatch, scope, root):
    monkeypatch.setattr(daemon, "_features", daemon._features.__wrapped__)
    monkeypatch.setattr(daemon, "yama_scope", lambda: scope)
    monkeypatch.setattr(os, "geteuid", lambda: 0 if root else 1000)
    with by_hand() as hand:
        features = hand.call(Hello()).features
    running, started = features["attach_running"], features["attach_started"]
    assert running.available == (scope == 0 or (root and scope < 3))
    assert started.available == (scope <= 1 or (root and scope < 3))
    for feature in (running, started):
        assert (feature.reason is None) == feature.available
        assert feature.available or str(scope) in feature.reason
