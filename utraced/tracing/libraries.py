"""Libraries that come and go: ELF files that a process maps to execute them, and unmaps.

A loader maps the whole of a file, then its parts over that (elf_map and dl_map_segments of glibc); the part with the
code is the first that can be executed, and all is in its place then but the data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from utraced.api import events
from utraced.model import exact_bytes, text_of
from utraced.syscalls.abi import Abi, from_audit

if TYPE_CHECKING:
    from .core import Core
    from .process import Target, Tracee
    from .stops import SyscallStop

MAGIC = b"\x7fELF"
PROT_EXEC = 4
MAP_ANONYMOUS = 0x20
MAPS = frozenset({"mmap", "mmap2"})


class Library(NamedTuple):
    """An ELF file that is mapped: its path, and where its beginning is."""

    path: bytes
    base: int


def entered(tracee: Tracee, stop: SyscallStop) -> None:
    """A call begins: where it takes a library's mapping away, note which."""
    tracee.unmapping = None
    abi = from_audit(stop.arch, stop.nr)
    if abi.name_of(stop.nr) != "munmap":
        return
    target = tracee.process.target
    start = stop.args[0]
    # Most of what is unmapped is no file: reading four bytes is quick, all mappings are a long text.
    if target.read(start, len(MAGIC)) == MAGIC:
        found = _at(target, start)
        if found is not None and found.base == start:
            tracee.unmapping = found


def returned(core: Core, tracee: Tracee, entry: SyscallStop, stop: SyscallStop) -> None:
    """A call has returned: tell of a library that it has brought, or taken away."""
    gone, tracee.unmapping = tracee.unmapping, None
    if stop.failed:
        return
    if gone is not None:
        _tell(core, tracee, gone, loaded=False)
        return
    abi = from_audit(entry.arch, entry.nr)
    if abi.name_of(entry.nr) in MAPS and _executes_a_file(entry.args):
        found = _at(tracee.process.target, _address(stop.result, abi))
        if found is not None and tracee.process.target.read(found.base, len(MAGIC)) == MAGIC:
            _tell(core, tracee, found, loaded=True)


def _executes_a_file(args: tuple[int, ...]) -> bool:
    return bool(args[2] & PROT_EXEC) and not args[3] & MAP_ANONYMOUS


def _address(result: int, abi: Abi) -> int:
    """Return the address that a call has returned, which is told with a sign."""
    return result & ((1 << 8 * abi.word) - 1)


def _at(target: Target, address: int) -> Library | None:
    found = target.file_at(address)
    return None if found is None else Library(*found)


def _tell(core: Core, tracee: Tracee, library: Library, *, loaded: bool) -> None:
    text = text_of(library.path)
    for engine in tracee.process.engines:
        response = engine.response("library", tracee.tid) if engine.trace is None else None
        if response is not None:
            event = events.Library(
                path=text, path_bytes=exact_bytes(library.path, text), base=f"{library.base:#x}", loaded=loaded
            )
            core.tell(engine, tracee, event, hold=response == "hold")
