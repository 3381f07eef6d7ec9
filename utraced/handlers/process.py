"""Looking at processes: process.list, process.info, process.maps."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator
from typing import NamedTuple

from msgspec import json

from utraced.api import process as api
from utraced.api.map_records import MapRecord, pack
from utraced.errors import PermissionDenied
from utraced.handlers.aside import aside
from utraced.handlers.context import Context, WithDescriptors, handles
from utraced.handlers.page import PAGE_SIZE, fitting
from utraced.handlers.target import Target, resolve
from utraced.kernel.denied import explained, why_denied
from utraced.kernel.maps import read_maps
from utraced.kernel.proc import Process, comm_of
from utraced.kernel.process_list import Listed, pids, subtree, traceable
from utraced.linux.confinement import Ids
from utraced.linux.memfd import sealed
from utraced.model import Hex, exact_bytes, text_of

_NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")

_MEMORY = {
    "virtual": "VmSize",
    "virtual_peak": "VmPeak",
    "resident": "VmRSS",
    "resident_peak": "VmHWM",
    "anonymous": "RssAnon",
    "file": "RssFile",
    "shared": "RssShmem",
    "locked": "VmLck",
    "data": "VmData",
    "stack": "VmStk",
    "text": "VmExe",
    "libraries": "VmLib",
    "page_tables": "VmPTE",
    "swap": "VmSwap",
}


@handles(api.List)
def list_processes(params: api.List, context: Context) -> Awaitable[api.Processes]:
    """List the processes the kernel lets us look into."""
    return aside(lambda: _list(params))


@handles(api.Info)
def info(params: api.Info, context: Context) -> Awaitable[api.Details]:
    """Tell what is known of a process."""
    target = resolve(params, context)
    return aside(lambda: _info(target))


@handles(api.Maps)
def maps(params: api.Maps, context: Context) -> Awaitable[api.Mapped | WithDescriptors]:
    """List the mappings of a process."""
    target = resolve(params, context)
    return _maps_file(target, params) if params.form == "fd" else aside(lambda: _maps_page(target, params))


def _list(params: api.List) -> api.Processes:
    """Return one page of the list."""
    everybody = pids() if params.root is None else subtree(params.root)
    first = params.cursor or 0
    page, more = fitting(map(_process, traceable([pid for pid in everybody if pid >= first])), params.limit)
    return api.Processes(processes=page, next=None if more is None else more.pid)


def _process(listed: Listed) -> api.Process:
    """Return a process of the list in the protocol's form."""
    command = text_of(listed.command)
    return api.Process(
        pid=listed.stat.pid,
        parent=listed.stat.parent,
        start_time=listed.stat.start_time,
        uid=listed.uid,
        state=listed.stat.state,
        command=command,
        command_bytes=exact_bytes(listed.command, command),
        traced_by=_tracer(listed.tracer, listed.tracer_comm),
    )


def _info(target: Target) -> api.Details:
    """Read everything that process.info tells."""
    with explained(target.pid), Process(target.pid, target.start_time) as process:
        stat, status = process.stat(), process.status()
        name = text_of(stat.comm)
        argv, argv_bytes, truncated = _arguments(process.arguments())
        guarded = _guarded(process)
        return api.Details(
            pid=target.pid,
            parent=stat.parent,
            start_time=stat.start_time,
            name=name,
            name_bytes=exact_bytes(stat.comm, name),
            state=stat.state,
            kernel_thread=stat.kernel_thread,
            argv=argv,
            argv_bytes=argv_bytes,
            argv_truncated=truncated,
            exe=_text(guarded.exe),
            exe_bytes=_exact(guarded.exe),
            exe_deleted=guarded.exe_deleted,
            cwd=_text(guarded.cwd),
            cwd_bytes=_exact(guarded.cwd),
            root=_text(guarded.root),
            root_bytes=_exact(guarded.root),
            users=_ids(status.users),
            groups=_ids(status.groups),
            supplementary_groups=status.supplementary_groups,
            process_group=stat.process_group,
            process_session=stat.session,
            threads=stat.threads,
            memory=_memory(status.memory),
            namespaces=guarded.namespaces,
            tracer=_tracer(status.tracer, comm_of(status.tracer) if status.tracer else None),
            no_new_privs=status.no_new_privs,
            seccomp=status.seccomp,
            withheld=guarded.withheld,
        )


class _Guarded(NamedTuple):
    """What the kernel tells only to those who may trace a process, or why it does not."""

    exe: bytes | None = None
    exe_deleted: bool = False
    cwd: bytes | None = None
    root: bytes | None = None
    namespaces: dict[str, Hex] | None = None
    withheld: api.Withheld | None = None


def _guarded(process: Process) -> _Guarded:
    """Read the links of a process."""
    try:
        exe, exe_deleted = _exe(process)
        return _Guarded(exe, exe_deleted, process.link("cwd"), process.link("root"), _namespaces(process))
    except PermissionError as error:
        reading = why_denied(process.pid)
        if not isinstance(reading, PermissionDenied):
            raise reading from error
        return _Guarded(withheld=api.Withheld(reason=reading.reason, hint=reading.hint))


def _namespaces(process: Process) -> dict[str, Hex]:
    """Return the inode numbers of the namespaces that the process is in."""
    found = ((kind, process.details(f"ns/{kind}")) for kind in _NAMESPACES)
    return {kind: Hex(details.st_ino) for kind, details in found if details is not None}


def _exe(process: Process) -> tuple[bytes | None, bool]:
    """Return the path of the program's file, and whether another or none has that path now."""
    path = process.link("exe")
    if path is None or not path.endswith(b" (deleted)"):
        return path, False
    # A file may really be called "x (deleted)": then it is found under that name.
    running, named = process.details("exe"), process.details(b"root" + path)
    if running is not None and named is not None and (running.st_dev, running.st_ino) == (named.st_dev, named.st_ino):
        return path, False
    return path.removesuffix(b" (deleted)"), True


def _arguments(arguments: tuple[bytes, ...]) -> tuple[tuple[str, ...], tuple[bytes, ...] | None, bool]:
    """Return the arguments as text, exactly where that differs, and whether they had to be cut to fit the packet."""
    argv: list[str] = []
    size = 0
    for data in arguments:
        # The text as JSON, and its twin in base64.
        size += len(json.encode(text_of(data))) + len(data) * 4 // 3 + 8
        if size > PAGE_SIZE:
            break
        argv.append(text_of(data))
    kept = arguments[: len(argv)]
    exact = all(exact_bytes(data, text) is None for data, text in zip(kept, argv, strict=True))
    return tuple(argv), None if exact else kept, len(argv) < len(arguments)


def _memory(lines: dict[str, int]) -> api.Memory | None:
    """Return the memory totals; None for kernel threads and zombies."""
    return api.Memory(**{name: lines.get(line) for name, line in _MEMORY.items()}) if "VmSize" in lines else None


def _ids(ids: Ids) -> api.Ids:
    """Return ids in the protocol's form."""
    return api.Ids(real=ids.real, effective=ids.effective, saved=ids.saved, file_system=ids.file_system)


def _tracer(pid: int, comm: bytes | None) -> api.Tracer | None:
    """Return the tracer of a process in the protocol's form."""
    return api.Tracer(pid=pid, comm=_text(comm)) if pid else None


def _maps_page(target: Target, params: api.Maps) -> api.Mapped:
    """Return as many mappings as fit the packet."""
    page, more = fitting(map(_map, _records(target, params)), params.limit)
    return api.Mapped(maps=page, next=None if more is None else more.start)


async def _maps_file(target: Target, params: api.Maps) -> WithDescriptors:
    """Return the mappings as a file."""

    def read() -> tuple[list[MapRecord], Hex | None, tuple[bytes, ...]]:
        """Read and pack; the descriptor is made outside, where no deadline can lose it."""
        records = list(_records(target, params))
        kept = records[: params.limit]
        return kept, Hex(records[len(kept)].start) if len(kept) < len(records) else None, pack(kept)

    kept, following, parts = await aside(read)
    fd = sealed("utraced-maps", parts)
    return WithDescriptors(api.Mapped(fd=0, size=sum(map(len, parts)), count=len(kept), next=following), (fd,))


def _records(target: Target, params: api.Maps) -> Iterator[MapRecord]:
    """Give the mappings that end behind the cursor."""
    with explained(target.pid), Process(target.pid, target.start_time) as process:
        found = read_maps(process)
    first = params.cursor or 0
    return (record for record in found if record.end > first)


def _map(record: MapRecord) -> api.Map:
    """Return a mapping in the protocol's form."""
    return api.Map(
        start=Hex(record.start),
        end=Hex(record.end),
        perms=record.perms,
        offset=Hex(record.offset),
        dev=f"{record.major:02x}:{record.minor:02x}",
        inode=Hex(record.inode),
        path=_text(record.path),
        path_bytes=_exact(record.path),
        deleted=record.deleted,
    )


def _text(data: bytes | None) -> str | None:
    """Return a target's bytes as text."""
    return None if data is None else text_of(data)


def _exact(data: bytes | None) -> bytes | None:
    """Return the bytes themselves where the text is not exact."""
    return None if data is None else exact_bytes(data, text_of(data))
