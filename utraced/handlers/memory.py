"""memory.read, memory.write and memory.search.

What may wait is done in a thread: for pages that are not in memory, which a file system or the process itself has to
bring, and for the process's own changes of its mappings.  Where all its threads are stopped and the pages are there,
nothing can keep us waiting, and it is done at once: so what a debugger asks next comes after it.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from threading import Event
from weakref import WeakKeyDictionary

from utraced.api import memory as api
from utraced.errors import InvalidParams, LimitExceeded
from utraced.kernel.denied import explained
from utraced.kernel.memory import Reader
from utraced.kernel.memory_search import Search
from utraced.kernel.memory_writer import Writer
from utraced.kernel.proc import Process
from utraced.kernel.residency import at_hand
from utraced.kernel.window import Window
from utraced.linux.closing import close_aside
from utraced.linux.memfd import is_memfd
from utraced.model import Hex

from .aside import aside
from .context import Context, handles
from .limits import MAX_READ
from .session import Session
from .target import Target, resolve

UNUSABLE = {
    errno.EBADF,
    errno.EINVAL,
    errno.EISDIR,
    errno.ESPIPE,
    errno.ENOSPC,
    errno.EFBIG,
    errno.EPERM,
    errno.EACCES,
    errno.ENODEV,
}
SEARCH_SECONDS = 2.0
LOOKED_AT = 64
"""Threads of a process that are looked at whether all are stopped."""
MAX_KEPT = 64 << 20
"""Bytes of a client's memory file that stay mapped between its requests."""

_windows: WeakKeyDictionary[Session, Window] = WeakKeyDictionary()
"""Each session's memory file, as last mapped."""


@handles(api.Read)
def read(params: api.Read, context: Context) -> Awaitable[api.Contents] | api.Contents:
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
    if fd is None:
        if _at_once(target, params.address, params.size, context, writing=False):
            return _contents(params, target)
        return aside(lambda: _contents(params, target))
    return _copy(params, target, deque((fd,)), context.session)


def _contents(params: api.Read, target: Target) -> api.Contents:
    with explained(target.pid), Reader(*target) as reader:
        data, holes = reader.read(params.address, params.size, partial=params.partial)
        return api.Contents(data=data, holes=_holes(holes, params))


async def _copy(params: api.Read, target: Target, descriptor: deque[int], session: Session) -> api.Contents:
    try:
        return await aside(lambda: _transfer(params, target, descriptor.pop(), session))
    finally:
        # Cancelled before the thread took it: else the thread closes it, which may go on writing after a time-out.
        close_aside(descriptor)
        descriptor.clear()


def _transfer(params: api.Read, target: Target, fd: int, session: Session) -> api.Contents:
    address, size, partial = params.address, params.size, params.partial
    try:
        with explained(target.pid), Reader(*target) as reader, _usable("written", "open for writing"):
            if is_memfd(fd):
                size, holes = reader.fill(address, size, fd, _window(session, fd, size), partial=partial)
            else:
                size, holes = reader.copy(address, size, fd, partial=partial)
    finally:
        close_aside([fd])
    return api.Contents(size=size, holes=_holes(holes, params))


def _window(session: Session, fd: int, size: int) -> Window:
    """Return the session's memory file as it is still mapped, else mapped anew."""
    window = _windows.get(session)
    if window is None or not window.serves(fd, size):
        window = Window(fd, max(size, min(os.fstat(fd).st_size, MAX_KEPT)))
        if size <= MAX_KEPT:
            _windows[session] = window
    return window


def _holes(holes: list[tuple[int, int]], params: api.Read) -> tuple[api.Hole, ...] | None:
    if not params.partial:
        return None
    return tuple(api.Hole(start=Hex(start), end=Hex(end)) for start, end in holes)


@handles(api.Write)
def write(params: api.Write, context: Context) -> Awaitable[api.Written] | api.Written:
    """Write memory, from the request or from a descriptor."""
    fd = None if params.fd is None else context.descriptors.take(params.fd)
    try:
        process = context.session.engine(params.engine).process
        if (params.data is None) == (fd is None):
            raise InvalidParams("either data or fd is to be given", member="data")
        if fd is None and params.size is not None:
            raise InvalidParams("size is for an fd: data is as long as it is", member="size")
    except BaseException:
        if fd is not None:
            close_aside([fd])
        raise
    target = Target(process.pid, process.target.start_time())
    if fd is not None:
        return _write_from(params, target, deque((fd,)))
    data = params.data or b""
    if _at_once(target, params.address, len(data), context, writing=True):
        return _write(params, target, data)
    return aside(lambda: _write(params, target, data))


def _write(params: api.Write, target: Target, data: bytes) -> api.Written:
    with explained(target.pid), Writer(*target) as writer:
        writer.write(params.address, data)
    return api.Written(size=len(data))


async def _write_from(params: api.Write, target: Target, descriptor: deque[int]) -> api.Written:
    abandoned = Event()
    try:
        return await aside(lambda: _copy_in(params, target, descriptor.pop(), abandoned))
    finally:
        abandoned.set()
        close_aside(descriptor)
        descriptor.clear()


def _copy_in(params: api.Write, target: Target, fd: int, abandoned: Event) -> api.Written:
    try:
        with explained(target.pid), Writer(*target) as writer, _usable("read", "open for reading, of that size"):
            size = os.fstat(fd).st_size if params.size is None else params.size
            writer.copy(params.address, size, fd, abandoned=abandoned.is_set)
    finally:
        close_aside([fd])
    return api.Written(size=size)


@handles(api.Search)
def search(params: api.Search, context: Context) -> Awaitable[api.Found]:
    """Find bytes in a process's memory."""
    return _search(params, resolve(params, context))


async def _search(params: api.Search, target: Target) -> api.Found:
    within = params.start, 1 << 64 if params.end is None else params.end
    looking = Search(params.pattern, within, limit=params.limit, seconds=SEARCH_SECONDS)

    def look() -> api.Found:
        with explained(target.pid), Process(*target) as process:
            found = looking.run(process)
        more = None if found.next is None else Hex(found.next)
        return api.Found(addresses=tuple(map(Hex, found.addresses)), next=more)

    try:
        return await aside(look)
    finally:
        looking.abandoned = True


def _at_once(target: Target, address: int, size: int, context: Context, *, writing: bool) -> bool:
    """Tell whether nothing can keep us waiting: all threads are stopped, and the memory is there.

    A page may be gone again before we touch it, and come back slowly: that is as rare as it is short.
    """
    process = context.tracer.core.processes.get(target.pid)
    if process is None or not 0 < len(process.tracees) <= LOOKED_AT or not 0 < size <= MAX_READ:
        return False
    if any(tracee.stop is None for tracee in process.tracees.values()):
        return False
    with explained(target.pid), Process(target.pid) as directory:
        pagemap = directory.open("pagemap")
    try:
        return at_hand(pagemap, address, size, writing=writing)
    finally:
        os.close(pagemap)


@contextmanager
def _usable(what: str, how: str) -> Iterator[None]:
    """Raise InvalidParams where the client's descriptor is the cause of an error."""
    try:
        yield
    except OSError as error:
        if error.errno in UNUSABLE:
            raise InvalidParams(
                f"the descriptor cannot be {what}: {os.strerror(error.errno or 0)}",
                member="fd",
                hint=f"Pass a memfd, or a file {how}.",
            ) from error
        raise
