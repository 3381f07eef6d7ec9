"""Loading programs in a thread."""

from __future__ import annotations

import os
import select
from contextlib import closing

import pytest

from tests.children import needs_root
from tests.kernel.recording import RING, needs_bpf
from tests.kernel.test_bpf_recording import own_programs, programs
from tests.live.machine import until
from utraced.attacher.preparing import Preparation
from utraced.errors import InvalidParams
from utraced.kernel.recorder_requests import Record
from utraced.linux.identity import own_identity

pytestmark = needs_root
GETPPID = 110


def prepared(**options: object) -> Preparation:
    """Return what is prepared."""
    needs_bpf()
    made = Preparation(Record(pidfd=0, x86_64=(GETPPID,), **options), own_identity())  # type: ignore[arg-type]
    assert select.select([made], [], [], 60)[0]
    return made


def test_what_is_prepared_can_be_taken() -> None:
    before = own_programs()
    with closing(prepared(ring_size=RING).take()):
        own = own_programs() - before
        assert len(own & programs()) == 7
    until(lambda: not programs() & own, "nothing of ours in the kernel")


def test_what_is_prepared_for_nobody_goes() -> None:
    files = len(os.listdir("/proc/self/fd"))
    before = own_programs()
    made = prepared(ring_size=RING)
    own = own_programs() - before
    made.close()
    until(lambda: not programs() & own, "nothing of ours in the kernel")
    assert len(os.listdir("/proc/self/fd")) == files


def test_what_cannot_be_prepared_is_told_to_whoever_takes_it() -> None:
    with pytest.raises(InvalidParams):
        prepared(ring_size=RING + 1).take()
    prepared(ring_size=RING + 1).close()
