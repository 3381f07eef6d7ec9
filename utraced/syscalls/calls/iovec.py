"""Arrays of ``struct iovec``: buffers scattered in the caller's memory."""

from __future__ import annotations

import struct

from utraced.syscalls.basics import Count, address_text, buffer_text, count_of
from utraced.syscalls.call import Call
from utraced.syscalls.kinds import Kind

_UNPACK_32 = struct.Struct("<II").iter_unpack
_UNPACK_64 = struct.Struct("<QQ").iter_unpack


def iovec_text(address: int, count: int, call: Call, *, total: int | None = None, out: bool = False) -> str:
    """Return ``[{iov_base="abc", iov_len=3}, ...]`` for the ``count`` vectors at ``address``.

    ``total`` is how many bytes all buffers hold together, as after a read; negative: they hold nothing that is to be
    shown, so their addresses are; None: each is full.
    """
    if not address:
        return "NULL"
    if not count:
        return "[]"
    memory = call.left if out else call.entered
    size = 2 * call.abi.word
    shown = min(count, call.limit)
    if address + count * size > 1 << (8 * call.abi.word):
        return hex(address)
    data = memory.read(address, shown * size)
    whole = len(data) // size
    if shown and not whole:
        return hex(address)
    texts = []
    left = total
    for base, length in (_UNPACK_64 if size == 16 else _UNPACK_32)(data[: whole * size]):
        if left is None:
            text = buffer_text(base, length, call, out=out)
        elif left < 0:
            text = address_text(base)
        else:
            text = buffer_text(base, min(left, length), call, out=out)
            left -= min(left, length)
        texts.append(f"{{iov_base={text}, iov_len={length}}}")
    if whole < shown:
        texts.append(f"... /* {address + whole * size:#x} */")
    elif count > shown:
        texts.append("...")
    return f"[{', '.join(texts)}]"


class Iovecs(Kind):
    """Buffers to write from, or with ``out`` to read into, where the result says how much came.

    ``contents`` False: addresses only, as of another process.
    """

    __slots__ = ("contents", "count")
    reads = True

    def __init__(self, count: Count, *, contents: bool = True, out: bool = False) -> None:
        super().__init__(out=out)
        self.count = count
        self.contents = contents

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        total = None
        if not self.contents or (self.out and call.errno):
            total = -1
        elif self.out:
            total = max(call.result or 0, 0)
        return iovec_text(value, count_of(self.count, call), call, total=total, out=self.out)
