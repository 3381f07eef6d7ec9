"""Reading the registers from gdbserver: packet ``g`` of the remote protocol (GDB manual, "Packets").

It reads them from the kernel once and answers from memory as long as the thread is stopped.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from socket import socketpair

from benchmarks.asking import Exchange, asking

NEEDS = "gdbserver"


@contextlib.contextmanager
def gdbserver(program: Path) -> Iterator[dict[str, Exchange]]:
    """Have gdbserver start ``program``, stopped, at the other end of a socketpair."""
    ours, theirs = socketpair()
    with ours:
        with theirs:
            command = [NEEDS, "--no-startup-with-shell", "-", str(program), "idle", "1", "0"]
            process = subprocess.Popen(
                command, stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=subprocess.DEVNULL
            )
        try:
            for name in ("QStartNoAckMode", "?"):
                asking(ours, _packet(name), _whole)()
                if name != "?":
                    # From here on packets are no longer acknowledged.
                    ours.send(b"+")
            yield {"gdbserver, registers": asking(ours, _packet("g"), _whole)}
        finally:
            process.terminate()
            process.wait()


def _packet(content: str) -> bytes:
    return f"${content}#{sum(content.encode()) % 256:02x}".encode()


def _whole(got: memoryview) -> bool:
    """Tell whether a packet has come to its checksum of two digits."""
    return len(got) > 3 and got[-3] == ord("#")
