"""What one connection may ask for, whoever it is; what differs is ``utraced.configuration.Limits``."""

from __future__ import annotations

MAX_PACKET = 204_800
"""Bytes: a packet that a socket's default buffer carries."""
MAX_BATCH = 100
MAX_VALUES = 5000
"""Values in a packet, names of members too: it is decoded in one go, in which nobody else is served."""
MAX_FDS = 16
MAX_READ = 131_072
"""Bytes of memory in one reply, so that base64 of them still fits a packet."""
HELD_QUEUES = 8
"""A session is closed at so many times the events that may wait for it: there was nothing that could be held back."""
MAX_REPLIES = 1 << 20
"""Bytes of replies that wait for a client before no more of its requests are taken."""
MAX_WAITING = 1000
"""Requests of one session that wait for their answer at the same time."""
