"""Loading the programs of a trace in a thread: meanwhile the kernel is asked, and other clients are served."""

from __future__ import annotations

import contextlib
import os
import threading

from utraced.kernel.bpf_recording import Recording
from utraced.kernel.recorder_requests import Record
from utraced.linux.identity import Identity

from . import traces

_TURN = threading.Lock()
"""One at a time: each already has all CPUs verify its programs, and a flood of requests is to take no more."""


class Preparation:
    """Loads what ``request`` asks for; wait until ``fileno()`` can be read, then ``take`` it or ``close``."""

    def __init__(self, request: Record, identity: Identity, few: traces.FewCalls | None = None) -> None:
        self._request = request
        self._identity = identity
        self._few = few
        self._recording: Recording | None = None
        self._error: Exception | None = None
        self._event = os.eventfd(0)
        self._done = threading.Event()
        try:
            threading.Thread(target=self._prepare, daemon=True).start()
        except BaseException:
            os.close(self._event)
            raise

    def fileno(self) -> int:
        """Return what becomes readable when it is done."""
        return self._event

    def take(self) -> Recording:
        """Return the recording, which is the caller's to close; raises what has kept us from it."""
        self._done.wait()
        os.close(self._event)
        if self._error is not None:
            raise self._error
        assert self._recording is not None
        return self._recording

    def close(self) -> None:
        """Let go of what has been prepared for nobody."""
        with contextlib.suppress(Exception):  # what has kept us from it matters to nobody any more
            self.take().close()

    def _prepare(self) -> None:
        try:
            with _TURN:
                self._recording = traces.prepare(self._request, self._identity, self._few)
        except Exception as error:  # raised where it is taken
            self._error = error
        os.eventfd_write(self._event, 1)
        self._done.set()  # only now it may be closed
