"""memory.read."""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Awaitable

from utraced.api import memory as api
from utraced.errors import InvalidParams, LimitExceeded
from utraced.kernel.denied import explained
from utraced.kernel.memory import Reader
from utraced.linux.closing import close_aside
from utraced.model import Hex

from .aside import aside
from .context import Context, handles
from .limits import MAX_READ
from .target import Target, resolve

UNWRITABLE = {errno.EBADF, errno.EINVAL, errno.ESPIPE, errno.ENOSPC, errno.EFBIG, errno.EPERM, errno.EACCES}


@handles(api.Read)
def read(params: api.Read, context: Context) -> Awaitable[api.Contents]:
    """Read memory, into the reply or into a descriptor."""
    fd = None if params.fd is None else context.descriptors.take(params.fd)
    try:
        target = resolve(params, context)
        if fd is None and params.size > MAX_READ:
            raise LimitExceeded(
                f"{params.size} bytes are more than one reply carries",
                limit="max_read",
                value=MAX_READ,
                hint=f"Read at most {MAX_READ} bytes at a time, or pass a memfd as fd.",
            )
    except BaseException:
        if fd is not None:
            close_aside([fd])
        raise
    return _read(params, target, deque(() if fd is None else (fd,)))


async def _read(params: api.Read, target: Target, descriptor: deque[int]) -> api.Contents:
    into = bool(descriptor)
    try:
        return await aside(lambda: _transfer(params, target, descriptor, into=into))
    finally:
        # Cancelled before the thread took it: else the thread closes it, which may go on writing after a time-out.
        close_aside(descriptor)
        descriptor.clear()


def _transfer(params: api.Read, target: Target, descriptor: deque[int], *, into: bool) -> api.Contents:
    with explained(target.pid), Reader(target.pid) as reader:
        if not into:
            data, holes = reader.read(params.address, params.size, partial=params.partial)
            return api.Contents(data=data, holes=_holes(holes, params))
        fd = descriptor.pop()
        try:
            size, holes = reader.copy(params.address, params.size, fd, partial=params.partial)
        except OSError as error:
            if error.errno in UNWRITABLE:
                raise InvalidParams(
                    f"the descriptor cannot be written: {os.strerror(error.errno)}",
                    member="fd",
                    hint="Pass a memfd, or a file open for writing.",
                ) from error
            raise
        finally:
            close_aside([fd])
        return api.Contents(size=size, holes=_holes(holes, params))


def _holes(holes: list[tuple[int, int]], params: api.Read) -> tuple[api.Hole, ...] | None:
    if not params.partial:
        return None
    return tuple(api.Hole(start=Hex(start), end=Hex(end)) for start, end in holes)
