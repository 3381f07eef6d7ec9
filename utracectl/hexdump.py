"""Memory as text: what ``xxd -g1`` prints."""

from __future__ import annotations

from collections.abc import Iterator

WIDTH = 16


def hexdump(address: int, data: bytes) -> Iterator[str]:
    """Yield a line for each 16 bytes of ``data``, which stands at ``address``; control bytes are shown as dots."""
    for at in range(0, len(data), WIDTH):
        part = data[at : at + WIDTH]
        text = "".join([chr(byte) if 0x20 <= byte < 0x7F else "." for byte in part])
        yield f"{address + at:08x}: {part.hex(' '):<{3 * WIDTH}} {text}"
