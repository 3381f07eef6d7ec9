"""A target's memory as decoders see it: live, recorded at a stop, or replayed in a client.

The worker runs a decoder over ``Recording`` while the thread is stopped: what the decoder read becomes fragments on
the wire.  The client builds a ``Snapshot`` of those fragments and runs the same decoder, so both always agree on what
is needed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol


class Memory(Protocol):
    """What decoders need of a target's memory; neither call ever raises."""

    def read(self, address: int, size: int) -> bytes:
        """Return the ``size`` bytes at ``address``; fewer, or none, where the readable part ends."""
        ...

    def string(self, address: int, limit: int) -> tuple[bytes, bool]:
        """Return at most ``limit`` bytes before a NUL at ``address``, and whether the NUL comes right after them."""
        ...


class Fragment(NamedTuple):
    """Bytes of a target as they stood at one stop; ``ended``: the NUL of a C string comes right after them."""

    address: int
    data: bytes
    ended: bool = False


class Recording:
    """Passes reads on to a live memory and keeps what was answered."""

    __slots__ = ("fragments", "memory")

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.fragments: list[Fragment] = []

    def read(self, address: int, size: int) -> bytes:
        """See ``Memory.read``."""
        data = self.memory.read(address, size)
        if data:
            self.fragments.append(Fragment(address, data))
        return data

    def string(self, address: int, limit: int) -> tuple[bytes, bool]:
        """See ``Memory.string``."""
        data, ended = self.memory.string(address, limit)
        if data or ended:
            self.fragments.append(Fragment(address, data, ended))
        return data, ended


class Snapshot:
    """Memory of which only some fragments are known; everything else reads as unmapped."""

    __slots__ = ("fragments",)

    def __init__(self, fragments: Iterable[Fragment] = ()) -> None:
        self.fragments = [(address, data + b"\0" if ended else data) for address, data, ended in fragments]

    def read(self, address: int, size: int) -> bytes:
        """See ``Memory.read``; the longest answer that one fragment gives."""
        best = b""
        for start, data in self.fragments:
            offset = address - start
            if 0 <= offset < len(data) and len(data) - offset > len(best):
                best = data[offset : offset + size]
                if len(best) == size:
                    break
        return best

    def string(self, address: int, limit: int) -> tuple[bytes, bool]:
        """See ``Memory.string``."""
        data = self.read(address, limit + 1)
        end = data.find(b"\0")
        if end >= 0:
            return data[:end], True
        return data[:limit], False


NOTHING = Snapshot()
