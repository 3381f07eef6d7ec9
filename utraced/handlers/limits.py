"""What one connection, and one user, may ask for."""

from __future__ import annotations

MAX_PACKET = 204_800
"""Bytes: a packet that a socket's default buffer carries."""
MAX_BATCH = 100
MAX_FDS = 16
MAX_READ = 131_072
"""Bytes of memory in one reply, so that base64 of them still fits a packet."""
MAX_QUEUE = 1 << 20
"""Bytes of events that wait for a client before its targets have to."""
MAX_HELD = 8 << 20
"""Bytes of events at which a session is closed: there was nothing that could be held back."""
MAX_REPLIES = 1 << 20
"""Bytes of replies that wait for a client before no more of its requests are taken."""
MAX_WAITING = 1000
"""Requests of one session that wait for their answer at the same time."""
MAX_SESSIONS = 2000
"""Sessions of one user at the same time."""
STALL_SECONDS = 30
"""Seconds after which a session of a listening daemon is closed whose client reads nothing of what waits for it."""
