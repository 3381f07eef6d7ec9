from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

from tests.utracectl.server import Answer, Server, response
from utracectl.looking import info_lines, map_text, tree, words_text
from utraced.api.process import Details, Ids, Map, Memory, Process, Tracer, Withheld
from utraced.model import Hex

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]
Serve = Callable[[Answer], Server]
IDS = Ids(real=1, effective=1, saved=1, file_system=1)


def process(pid: int, parent: int, command: str = "x") -> Process:
    return Process(pid=pid, parent=parent, start_time=1, uid=0, state="sleeping", command=command)


def test_the_tree() -> None:
    processes = [process(1, 0), process(5, 1), process(6, 1), process(7, 5), process(8, 5), process(9, 400)]
    assert [(lead, entry.pid) for lead, entry in tree(processes)] == [
        ("", 1),
        ("|- ", 5),
        ("|  |- ", 7),
        ("|  `- ", 8),
        ("`- ", 6),
        ("", 9),
    ]


def test_a_long_chain_and_one_s_own_parent() -> None:
    chain = [process(pid, pid - 1) for pid in range(1, 3000)]
    assert [entry.pid for _, entry in tree(chain)] == list(range(1, 3000))
    assert [entry.pid for _, entry in tree([process(5, 5)])] == [5]


def test_ps(serve: Serve, utracectl: Run) -> None:
    def answer(request: dict[str, Any]) -> list[Any]:
        entry = {"pid": 4, "parent": 1, "start_time": 1, "uid": 0, "state": "tracing_stop", "command": "evil \x1b[1m"}
        if "cursor" in request["params"]:
            more = {**entry, "pid": 5, "parent": 4, "state": "sleeping", "traced_by": {"pid": 9}}
            return [response(request, {"processes": [more]})]
        return [response(request, {"processes": [entry], "next": 5})]

    server = serve(answer)
    done = utracectl("ps", "4")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode().splitlines() == [
        "    PID S  TRACER COMMAND",
        "      4 t       - evil \\x1b[1m",
        "      5 S       9 `- evil \\x1b[1m",
    ]
    assert [request["params"] for request in server.requests] == [{"root": 4}, {"root": 4, "cursor": 5}]
    pids = [entry["pid"] for entry in json.loads(utracectl("ps", "--json").stdout)["processes"]]
    assert pids == [4, 5]


def test_info_lines() -> None:
    details = Details(
        pid=5, parent=1, start_time=7, name="tool", state="disk_sleep", argv=("tool", "a b", ""), argv_truncated=True,
        exe="/bin/tool", exe_deleted=True, cwd="/", root="/jail", users=IDS,
        groups=Ids(real=1, effective=2, saved=3, file_system=4), supplementary_groups=(4, 27), process_group=5,
        process_session=6, threads=2, memory=Memory(resident=2048, virtual=4096), tracer=Tracer(pid=9, comm="gdb"),
        no_new_privs=True, seccomp=2, withheld=Withheld(reason="not_owner", hint="Be root."),
    )  # fmt: skip
    assert list(info_lines(details)) == [
        ("process", "5 tool"),
        ("parent", "1"),
        ("state", "disk sleep"),
        ("arguments", "tool 'a b' '' …"),
        ("program", "/bin/tool (deleted)"),
        ("directory", "/"),
        ("root", "/jail"),
        ("users", "1"),
        ("groups", "real 1, effective 2, saved 3, file system 4"),
        ("also in", "4 27"),
        ("job", "process group 5, session 6"),
        ("threads", "2"),
        ("memory", "resident 2 KiB, virtual 4 KiB"),
        ("traced by", "9 gdb"),
        ("confined", "seccomp filters, no new privileges"),
        ("withheld", "not owner: Be root."),
    ]


def test_maps_are_as_proc_has_them() -> None:
    entry = Map(start=Hex(0x400000), end=Hex(0x401000), perms="r-xp", offset=Hex(0x1000), dev="fe:00", inode=Hex(77),
                path="/bin/x\n", deleted=True)  # fmt: skip
    assert map_text(entry) == f"{'00400000-00401000 r-xp 00001000 fe:00 77':<72} /bin/x\\x0a (deleted)"
    anonymous = Map(
        start=Hex(0x7FFF00000000), end=Hex(0x7FFF00001000), perms="rw-p", offset=Hex(0), dev="00:00", inode=Hex(0)
    )
    assert map_text(anonymous) == "7fff00000000-7fff00001000 rw-p 00000000 00:00 0"


def test_maps(serve: Serve, utracectl: Run) -> None:
    def answer(request: dict[str, Any]) -> list[Any]:
        start = 0x1000 if "cursor" not in request["params"] else 0x2000
        entry = {"start": hex(start), "end": hex(start + 0x1000), "perms": "r--p", "offset": "0x0", "dev": "00:00",
                 "inode": "0x0"}  # fmt: skip
        return [response(request, {"maps": [entry], **({"next": "0x2000"} if start == 0x1000 else {})})]

    serve(answer)
    done = utracectl("maps", "5")
    assert done.stdout.decode().splitlines() == [
        "00001000-00002000 r--p 00000000 00:00 0",
        "00002000-00003000 r--p 00000000 00:00 0",
    ]
    assert [entry["start"] for entry in json.loads(utracectl("maps", "5", "--json").stdout)["maps"]] == [
        "0x1000",
        "0x2000",
    ]


def test_words_are_a_shell_s() -> None:
    assert words_text(["a", "b c", "it's"]) == """a 'b c' 'it'"'"'s'"""
