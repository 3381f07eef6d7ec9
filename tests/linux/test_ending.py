from __future__ import annotations

import signal

from utraced.linux.ending import ending_signals


def test_a_daemon_ends_by_these() -> None:
    assert ending_signals() == [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]


def test_a_hang_up_that_is_set_aside_ends_nothing() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert ending_signals() == [signal.SIGTERM, signal.SIGINT]
    finally:
        signal.signal(signal.SIGHUP, before)
