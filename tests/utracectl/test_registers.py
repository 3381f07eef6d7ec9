from __future__ import annotations

import json
import os
from pathlib import Path

from tests.children import child
from tests.utracectl.targets import state, utracectl
from utracectl.registers import register_lines
from utraced.api.registers import Registers
from utraced.model import Hex


def test_lines() -> None:
    values = {"rax": Hex((1 << 64) - 512), "rip": Hex(0x401000)}
    lines = list(register_lines(Registers(general=values, fp={"cwd": Hex(0x37F)}, xstate=b"\x7fabc")))
    assert lines == [
        "rax            0xfffffffffffffe00 -512",
        "rip            0x0000000000401000 4198400",
        "cwd            0x000000000000037f 895",
        "00000000: 7f 61 62 63                                      .abc",
    ]


def test_of_a_real_process_which_goes_on(tmp_path: Path) -> None:
    with child() as pid:
        done = utracectl(tmp_path, "regs", pid)
        assert (done.returncode, done.stderr) == (0, b"")
        names = [line.split()[0] for line in done.stdout.decode().splitlines()]
        assert (len(names), names[0], names[-1]) == (27, "r15", "gs")
        asked = utracectl(tmp_path, "regs", "--set", "debug,fp", "--json", pid, pid)
        assert set(json.loads(asked.stdout)) == {"debug", "fp"}
        assert state(pid) == "S"
        refused = utracectl(tmp_path, "regs", pid, os.getpid())
        assert (refused.returncode, refused.stdout) == (1, b"")
        assert f"has no thread {os.getpid()}".encode() in refused.stderr
