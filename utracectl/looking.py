"""``ps``, ``info`` and ``maps``: what the daemon tells of processes, for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from utracectl.client import Client, connect
from utracectl.exit_codes import OK
from utracectl.messages import say, terminal_text
from utracectl.showing import print_json, print_line
from utraced.api import process
from utraced.api.process import Details, Ids, Map, Memory, Process

_KIBIBYTE = 1024
_STATES = {
    "running": "R",
    "sleeping": "S",
    "disk_sleep": "D",
    "stopped": "T",
    "tracing_stop": "t",
    "zombie": "Z",
    "dead": "X",
    "parked": "P",
    "idle": "I",
}


def show_processes(root: int | None, *, json: bool, host: str | None = None) -> int:
    """Print the processes that may be traced, as a tree by parent, or as a JSON list."""
    with connect(host=host, notice=say) as client:
        processes = list(_processes(client, root))
    if json:
        print_json({"processes": processes})
        return OK
    print_line(f"{'PID':>7} S {'TRACER':>7} COMMAND")
    for depth_text, entry in tree(processes):
        tracer = entry.traced_by.pid if entry.traced_by else "-"
        command = terminal_text(entry.command)
        print_line(f"{entry.pid:>7} {_STATES.get(entry.state, '?')} {tracer:>7} {depth_text}{command}")
    return OK


def tree(processes: Sequence[Process]) -> Iterator[tuple[str, Process]]:
    """Yield each process after its parent, with the lines that lead to it.

    A process whose parent is not among them begins a tree of its own.
    """
    pids = {entry.pid for entry in processes}
    children: dict[int, list[Process]] = {}
    for entry in processes:
        parent = entry.parent if entry.parent in pids and entry.parent != entry.pid else 0
        children.setdefault(parent, []).append(entry)
    # A stack and not recursion: chains of processes may be longer than Python's.
    waiting = [("", "", entry) for entry in reversed(children.get(0, []))]
    while waiting:
        own, below, entry = waiting.pop()
        yield own, entry
        heirs = children.get(entry.pid, [])
        for position in range(len(heirs) - 1, -1, -1):
            last = position == len(heirs) - 1
            waiting.append((below + ("`- " if last else "|- "), below + ("   " if last else "|  "), heirs[position]))


def show_info(pid: int, *, json: bool, host: str | None = None) -> int:
    """Print what is known of a process."""
    with connect(host=host, notice=say) as client:
        details = client.call(process.Info(pid=pid))
    if json:
        print_json(details)
        return OK
    for name, text in info_lines(details):
        print_line(f"{name:<12} {terminal_text(text)}")
    return OK


def info_lines(details: Details) -> Iterator[tuple[str, str]]:
    """Yield name and text of each thing known."""
    yield "process", f"{details.pid} {details.name}"
    yield "parent", str(details.parent)
    yield "state", details.state.replace("_", " ") + (", a kernel thread" if details.kernel_thread else "")
    if details.argv:
        yield "arguments", words_text(details.argv) + (" …" if details.argv_truncated else "")
    if details.exe is not None:
        yield "program", details.exe + (" (deleted)" if details.exe_deleted else "")
    if details.cwd is not None:
        yield "directory", details.cwd
    if details.root not in {None, "/"}:
        yield "root", str(details.root)
    yield "users", _ids_text(details.users)
    yield "groups", _ids_text(details.groups)
    if details.supplementary_groups:
        yield "also in", " ".join(map(str, details.supplementary_groups))
    yield "job", f"process group {details.process_group}, session {details.process_session}"
    yield "threads", str(details.threads)
    if details.memory is not None:
        yield "memory", _memory_text(details.memory)
    if details.tracer is not None:
        yield "traced by", f"{details.tracer.pid} {details.tracer.comm or ''}".rstrip()
    if details.no_new_privs or details.seccomp:
        modes = ["off", "strict", "filters"]
        mode = modes[details.seccomp] if details.seccomp < len(modes) else str(details.seccomp)
        yield "confined", f"seccomp {mode}" + (", no new privileges" if details.no_new_privs else "")
    if details.withheld is not None:
        yield "withheld", f"{details.withheld.reason.replace('_', ' ')}: {details.withheld.hint}"


def show_maps(pid: int, *, json: bool, host: str | None = None) -> int:
    """Print the mappings of a process as proc_pid_maps(5) does."""
    with connect(host=host, notice=say) as client:
        maps = list(_maps(client, pid))
    if json:
        print_json({"maps": maps})
        return OK
    for entry in maps:
        print_line(map_text(entry))
    return OK


def map_text(entry: Map) -> str:
    """Return the line of one mapping."""
    start = f"{entry.start:08x}-{entry.end:08x} {entry.perms} {entry.offset:08x} {entry.dev} {int(entry.inode)}"
    if entry.path is None:
        return start
    return f"{start:<72} {terminal_text(entry.path)}{' (deleted)' if entry.deleted else ''}"


def words_text(words: Sequence[str]) -> str:
    """Return arguments as a shell would take them."""
    from shlex import quote

    return " ".join(map(quote, words))


def _processes(client: Client, root: int | None) -> Iterator[Process]:
    """Yield all processes, page by page."""
    cursor = None
    while True:
        page = client.call(process.List(root=root, cursor=cursor))
        yield from page.processes
        cursor = page.next
        if cursor is None:
            return


def _maps(client: Client, pid: int) -> Iterator[Map]:
    """Yield all mappings, page by page."""
    cursor = None
    while True:
        page = client.call(process.Maps(pid=pid, cursor=cursor))
        yield from page.maps or ()
        cursor = page.next
        if cursor is None:
            return


def _ids_text(ids: Ids) -> str:
    """Return ids, once where they are all the same."""
    if ids.real == ids.effective == ids.saved == ids.file_system:
        return str(ids.real)
    return f"real {ids.real}, effective {ids.effective}, saved {ids.saved}, file system {ids.file_system}"


def _memory_text(memory: Memory) -> str:
    """Return the totals that tell most."""
    parts = {"resident": memory.resident, "virtual": memory.virtual, "swap": memory.swap}
    return ", ".join(f"{name} {size // _KIBIBYTE:,} KiB" for name, size in parts.items() if size is not None)
