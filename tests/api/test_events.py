"""Events as they stand on the wire."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from utraced.api import events
from utraced.model import Status

KINDS = get_args(events.AnyEvent)
CALL = {"arch": "x86_64", "nr": 0, "name": "read", "args": ("0x3",) * 6, "pc": "0x1", "sp": "0x2"}


def test_every_kind_has_a_tag_of_its_own_and_says_what_it_is() -> None:
    tags = [kind.__struct_config__.tag for kind in KINDS]
    assert len(set(tags)) == len(tags)
    assert [kind.__name__ for kind in KINDS if not kind.__doc__] == []
    assert {events.Stop, events.Clone, events.Syscall, events.Detached} <= set(KINDS)


@pytest.mark.parametrize(
    "event",
    [
        events.Stop(seq=1, pid=5, tid=6, engine=1, why="attached", pc="0x10", held=True),
        events.Clone(how="vfork", child_pid=7, child_tid=7, child_engine=2),
        events.Exec(former_tid=6, path="/bin/ls"),
        events.Death(status=Status(signal="SIGKILL", core_dumped=False), last=True),
        events.Syscall(**CALL, start_ns=5, result=-2, errno="ENOENT", strings={"1": events.Text("a", None, True)}),
        events.Detached(reason="target_exited", delivered=3, lost=0),
    ],
)
@pytest.mark.parametrize("encoding", [msgspec.json, msgspec.msgpack])
def test_an_event_is_read_as_it_was_told(event: events.Event, encoding: object) -> None:
    data = encoding.encode(event)  # type: ignore[attr-defined]
    assert encoding.decode(data, type=events.AnyEvent) == event  # type: ignore[attr-defined]


def test_the_result_is_called_return_on_the_wire() -> None:
    told = msgspec.to_builtins(events.Syscall(**CALL, start_ns=1, result=0))
    assert told["return"] == 0
    assert "result" not in told
    assert "errno" not in told


def test_what_does_not_apply_is_left_out() -> None:
    assert msgspec.to_builtins(events.Resumed(seq=3, pid=5, tid=6, engine=1)) == {
        "kind": "resumed",
        "seq": 3,
        "pid": 5,
        "tid": 6,
        "engine": 1,
    }
