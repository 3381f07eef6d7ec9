"""One packet: bytes and the file descriptors that travel with them.

Nothing here opens, closes or looks at a descriptor: the transport closes what ``Descriptors.unclaimed`` returns.
"""

from __future__ import annotations

from typing import NamedTuple

from utraced.errors import InvalidParams


class Packet(NamedTuple):
    """What one ``sendmsg`` sends or one ``recvmsg`` receives; ``fds`` go with SCM_RIGHTS (unix(7))."""

    data: bytes
    fds: tuple[int, ...] = ()


class Descriptors:
    """The descriptors of one received packet, each to be taken once (PROTOCOL.md §1).

    A taken descriptor belongs to the taker, who closes it.
    """

    __slots__ = ("_fds",)

    def __init__(self, fds: tuple[int, ...] = ()) -> None:
        self._fds: list[int | None] = list(fds)

    @property
    def any(self) -> bool:
        """Whether the packet came with descriptors, taken meanwhile or not."""
        return bool(self._fds)

    def take(self, index: int) -> int:
        """Return the descriptor at ``index``, counted from 0 over the whole packet.

        Raises ``InvalidParams`` where the packet has none at that index, or where it was taken before.
        """
        count = len(self._fds)
        if not 0 <= index < count:
            raise InvalidParams(
                f"no file descriptor at index {index}: the packet has {count or 'none'}",
                hint="Send the descriptor with SCM_RIGHTS in the same packet; indices count from 0.",
            )
        fd = self._fds[index]
        if fd is None:
            raise InvalidParams(
                f"the file descriptor at index {index} has been used",
                hint="Each descriptor of a packet is used once: send it a second time for a second use.",
            )
        self._fds[index] = None
        return fd

    def unclaimed(self) -> list[int]:
        """Return the descriptors nobody took, for the transport to close, and forget them."""
        left = [fd for fd in self._fds if fd is not None]
        self._fds = [None] * len(self._fds)
        return left
