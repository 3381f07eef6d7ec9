"""Starting the attacher: a fork of the process that needs it, with nothing of that but the package."""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import warnings

from utraced.linux.attaching import NOTHING, kept, lacking
from utraced.linux.capabilities import drop_bounding, permitted, set_capabilities
from utraced.linux.limits import raise_locked_memory, raise_open_files
from utraced.linux.prctl import no_new_privs, set_dumpable, set_name

NAME = "utraced-attach"
"""As which ps(1) shows it."""


def start() -> socket.socket | None:
    """Return the control socket of a new attacher; None where we lack what it needs.

    It is no child of ours: it ends by itself, when its sockets do.
    """
    if lacking(permitted()).attacher is not None:
        return None
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs, warnings.catch_warnings():
        # Of threads: the child only goes on with what it has, and ends by _exit.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
        if pid == 0:
            try:
                if os.fork() == 0:
                    be_attacher(theirs.fileno())
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
    return ours


def load() -> None:
    """Load what an attacher needs, so that one that is forked later has it."""
    from . import service, traces

    assert service
    if lacking(permitted()) == NOTHING:
        traces.load()
        traces.load_rest()


def be_attacher(control: int) -> None:
    """Give up what the attacher does not need, and serve whoever holds the other end of the socket ``control``."""
    gc.freeze()
    os.setsid()
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # SIGCHLD: it waits for children, which would not be there where that was ignored (waitpid(2)).
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    socket_fd = os.dup2(control, 3) if control != 3 else 3
    os.closerange(4, os.sysconf("SC_OPEN_MAX"))
    set_name(NAME)
    # Events of all threads are descriptors, and their rings are locked memory.
    raise_open_files()
    unlimited = raise_locked_memory()
    from utraced.kernel import tracepoints

    # Where nobody has mounted tracefs, this needs more than is kept.
    found = tracepoints.find()
    capabilities = kept(permitted(), unlimited=unlimited)
    drop_bounding(capabilities)
    set_capabilities(capabilities)
    no_new_privs()
    set_dumpable(0)
    from .service import serve

    try:
        serve(socket_fd, capabilities, found)
    except BaseException:
        sys.excepthook(*sys.exc_info())
