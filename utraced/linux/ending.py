"""The signals that ask a daemon to end."""

from __future__ import annotations

import signal


def ending_signals() -> list[signal.Signals]:
    """Return them; a hang-up that nohup(1) has set aside is none."""
    ending = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        ending.append(signal.SIGHUP)
    return ending
