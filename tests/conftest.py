"""What holds for all tests."""

from __future__ import annotations

import signal

# Started by nohup, or in the background of a shell without job control, pytest ignores these signals, and so would
# every program that it starts, whose answer to them is tested here.
for _number, _usual in {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGQUIT: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,
}.items():
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _usual)
