"""``utracectl regs``: the registers of a thread."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from utracectl.client import connect
from utracectl.engines import attached, stop_thread
from utracectl.exit_codes import OK
from utracectl.hexdump import hexdump
from utracectl.showing import print_json, print_line
from utraced.api.registers import Read, Registers

if TYPE_CHECKING:
    from utraced.api.registers import RegisterSet

_TOP = 1 << 63


def show_registers(
    pid: int, tid: int | None, sets: Sequence[RegisterSet], *, json: bool, host: str | None = None
) -> int:
    """Print register sets of a thread, by default the one that leads the process, which is stopped for a moment."""
    tid = tid or pid
    with connect(host=host) as client, attached(client, pid) as engine:
        stop_thread(client, engine.engine, tid)
        found = client.call(Read(engine=engine.engine, tid=tid, set=tuple(sets)))
    if json:
        print_json(found)
        return OK
    for line in register_lines(found):
        print_line(line)
    return OK


def register_lines(registers: Registers) -> Iterator[str]:
    """Yield a line for each register, as gdb's ``info registers`` has them, and xstate as it lies in memory."""
    for values in (registers.general, registers.fp, registers.debug):
        yield from _lines(values or {})
    if registers.xstate is not None:
        yield from hexdump(0, registers.xstate)


def _lines(values: Mapping[str, int]) -> Iterator[str]:
    for name, value in values.items():
        yield f"{name:<15}{value:#018x} {value - (1 << 64) if value >= _TOP else value}"
