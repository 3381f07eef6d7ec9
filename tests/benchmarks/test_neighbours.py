"""The neighbours of a client, for a moment."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import neighbours
from benchmarks.hostile_packets import dear_packets
from utraced.api.methods import registry
from utraced.handlers.limits import MAX_BATCH, MAX_PACKET, MAX_VALUES
from utraced.rpc.connection import Connection
from utraced.rpc.packet import Packet


def test_the_dear_packets_are_as_large_as_may_be() -> None:
    for packets in dear_packets().values():
        for packet in packets:
            connection = Connection(registry(), max_packet=MAX_PACKET, max_batch=MAX_BATCH, max_values=MAX_VALUES)
            received = connection.receive(Packet(packet))
            assert received.requests or received.replies
            assert len(packet) <= MAX_PACKET


def test_each_client_is_measured_beside_each_neighbour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asks = next(name for name in neighbours.NEIGHBOURS if name.startswith("asks"))
    chosen = ("floods", "passes descriptors", "connects", "sends batches of 100, long", asks)
    monkeypatch.setattr(neighbours, "NEIGHBOURS", {name: neighbours.NEIGHBOURS[name] for name in chosen})
    rows = neighbours.slow_down(tmp_path, milliseconds=1, rounds=1)
    assert [row.name for row in rows if row.ratio] == [
        f"{client} beside one that {name}" for name in chosen for client in neighbours.CLIENTS
    ]
    assert [row.name for row in rows if row.unit == "KB"] == [f"memory kept of one that {name}" for name in chosen]
