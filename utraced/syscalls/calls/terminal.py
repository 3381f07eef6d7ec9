"""The structures of terminals: termios and the sizes of windows."""

from __future__ import annotations

import struct

from utraced.syscalls.basics import Struct, Table, enum_text, flags_text
from utraced.syscalls.call import Call
from utraced.syscalls.tables.ioctl import (
    BACKSPACE_DELAYS,
    CHARACTER_SIZES,
    CONTROL_FLAGS,
    FORM_FEED_DELAYS,
    INPUT_FLAGS,
    LOCAL_FLAGS,
    NEWLINE_DELAYS,
    OUTPUT_FLAGS,
    RETURN_DELAYS,
    SPEEDS,
    TAB_DELAYS,
    VERTICAL_TAB_DELAYS,
)

CBAUD = 0x100F
CSIZE = 0x30
IBSHIFT = 16
_DELAYS: tuple[tuple[int, Table], ...] = (
    (0x0100, NEWLINE_DELAYS),
    (0x0600, RETURN_DELAYS),
    (0x1800, TAB_DELAYS),
    (0x2000, BACKSPACE_DELAYS),
    (0x4000, VERTICAL_TAB_DELAYS),
    (0x8000, FORM_FEED_DELAYS),
)
_ALL_DELAYS = 0xFF00


def _bits_text(value: int, table: Table) -> str:
    """Return flags of which none is written as nothing at all."""
    return flags_text(value, table) if value else ""


def output_text(flags: int) -> str:
    """Return ``c_oflag``: each delay, then the bits."""
    names = [enum_text(flags & mask, table) for mask, table in _DELAYS]
    return f"{'|'.join(names)}|{_bits_text(flags & ~_ALL_DELAYS, OUTPUT_FLAGS)}"


def control_text(flags: int) -> str:
    """Return ``c_cflag``: the speed, the speed of input where it has its own, the size of characters, the bits."""
    text = enum_text(flags & CBAUD, SPEEDS, "B???")
    if input_speed := flags >> IBSHIFT & CBAUD:
        text += f"|{enum_text(input_speed, SPEEDS, 'B???')}<<IBSHIFT"
    rest = flags & ~(CBAUD | CBAUD << IBSHIFT | CSIZE)
    return f"{text}|{enum_text(flags & CSIZE, CHARACTER_SIZES)}|{_bits_text(rest, CONTROL_FLAGS)}"


class Termios(Struct):
    """``struct termios``, ``termios2`` or ``termio`` (asm/termbits.h), of which ``layout`` has the four flags."""

    __slots__ = ("layout",)

    def __init__(self, layout: str, *, out: bool = False) -> None:
        self.layout = struct.Struct(layout)
        super().__init__(self.layout.size, out=out)

    def text(self, data: bytes, call: Call) -> str:
        """See ``Struct.text``."""
        inputs, outputs, control, local = self.layout.unpack(data)
        return (
            f"{{c_iflag={_bits_text(inputs, INPUT_FLAGS)}, c_oflag={output_text(outputs)}, "
            f"c_cflag={control_text(control)}, c_lflag={_bits_text(local, LOCAL_FLAGS)}, ...}}"
        )


class Winsize(Struct):
    """``struct winsize``."""

    __slots__ = ()
    layout = struct.Struct("<HHHH")

    def text(self, data: bytes, call: Call) -> str:
        """See ``Struct.text``."""
        rows, columns, width, height = self.layout.unpack(data)
        return f"{{ws_row={rows}, ws_col={columns}, ws_xpixel={width}, ws_ypixel={height}}}"


TERMIOS = "<IIII20x"
TERMIOS2 = "<IIII28x"
TERMIO = "<HHHH10x"
