"""What one connection may ask for."""

from __future__ import annotations

MAX_PACKET = 204_800
"""Bytes: a packet that a socket's default buffer carries."""
MAX_BATCH = 100
MAX_FDS = 16
MAX_READ = 131_072
"""Bytes of memory in one reply, so that base64 of them still fits a packet."""
MAX_QUEUE = 1 << 20
"""Bytes of events that wait for a client before its targets have to."""
