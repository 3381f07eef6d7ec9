"""An assembler for BPF: instructions with labels become the bytes that bpf(2) loads.

The names are those of the kernel's own macros, small (Documentation/bpf/standardization/instruction-set.rst): ``mov``,
``ldx``, ``stx``, ``jump``.  Registers are plain numbers, 0 to 10; ``FP`` is the stack's end.
"""

from __future__ import annotations

import struct
from typing import Literal, NamedTuple

Size = Literal["u8", "u16", "u32", "u64"]
Operation = Literal["add", "sub", "mul", "div", "or", "and", "lsh", "rsh", "mod", "xor", "mov", "arsh"]
Condition = Literal["eq", "gt", "ge", "set", "ne", "sgt", "sge", "lt", "le", "slt", "sle"]

R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, FP = range(11)

_SIZES: dict[Size, int] = {"u32": 0x00, "u16": 0x08, "u8": 0x10, "u64": 0x18}
_OPERATIONS: dict[Operation, int] = {
    "add": 0x00, "sub": 0x10, "mul": 0x20, "div": 0x30, "or": 0x40, "and": 0x50,
    "lsh": 0x60, "rsh": 0x70, "mod": 0x90, "xor": 0xA0, "mov": 0xB0, "arsh": 0xC0,
}  # fmt: skip
_CONDITIONS: dict[Condition, int] = {
    "eq": 0x10, "gt": 0x20, "ge": 0x30, "set": 0x40, "ne": 0x50, "sgt": 0x60, "sge": 0x70,
    "lt": 0xA0, "le": 0xB0, "slt": 0xC0, "sle": 0xD0,
}  # fmt: skip

_LDX, _ST, _STX, _ATOMIC, _LD_IMM64 = 0x61, 0x62, 0x63, 0xC3, 0x18
_ALU64, _ALU32, _JMP, _JMP32, _FROM_REGISTER = 0x07, 0x04, 0x05, 0x06, 0x08
_CALL, _EXIT = 0x85, 0x95
_MAY_GOTO = 0xE5
_PSEUDO_KFUNC = 2
_PSEUDO_MAP_INDEX, _PSEUDO_MAP_INDEX_VALUE = 5, 6

_INSTRUCTION = struct.Struct("<BBhI")
_FARTHEST = 1 << 15
_MASK_32 = (1 << 32) - 1


class _Instruction(NamedTuple):
    code: int
    target: int = 0
    source: int = 0
    offset: int = 0
    immediate: int = 0
    label: str | None = None


class Program:
    """A program that is being written; ``code`` is the finished one.

    Immediate operands are 32 bits wide and sign-extended by the CPU, as the kernel has it; ``load`` takes 64.
    """

    def __init__(self) -> None:
        self._instructions: list[_Instruction] = []
        self._labels: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._instructions)

    def mov(self, target: int, source: int) -> None:
        """Copy a register."""
        self._add(_ALU64 | _OPERATIONS["mov"] | _FROM_REGISTER, target, source)

    def set(self, target: int, value: int) -> None:
        """Set a register to a number that fits 32 bits."""
        self._add(_ALU64 | _OPERATIONS["mov"], target, immediate=_immediate(value))

    def load(self, target: int, value: int) -> None:
        """Set a register to any number of 64 bits."""
        self._wide(target, 0, value & _MASK_32, value >> 32 & _MASK_32)

    def load_map(self, target: int, index: int) -> None:
        """Set a register to the map with this index among those that the program is loaded with (Linux 5.14)."""
        self._wide(target, _PSEUDO_MAP_INDEX, index, 0)

    def load_value(self, target: int, index: int, offset: int = 0) -> None:
        """Set a register to the address of the one value of the array with this index."""
        self._wide(target, _PSEUDO_MAP_INDEX_VALUE, index, offset)

    def compute(
        self, operation: Operation, target: int, *, value: int | None = None, source: int | None = None
    ) -> None:
        """Compute ``target`` op= a number or a register, in 64 bits."""
        self._operate(_ALU64 | _OPERATIONS[operation], target, value, source)

    def narrow(self, target: int) -> None:
        """Clear the upper half of a register."""
        self._add(_ALU32 | _OPERATIONS["mov"] | _FROM_REGISTER, target, target)

    def ldx(self, size: Size, target: int, source: int, offset: int) -> None:
        """Load ``target`` from memory at ``source`` + ``offset``."""
        self._add(_LDX | _SIZES[size], target, source, offset)

    def stx(self, size: Size, target: int, offset: int, source: int) -> None:
        """Store ``source`` in memory at ``target`` + ``offset``."""
        self._add(_STX | _SIZES[size], target, source, offset)

    def st(self, size: Size, target: int, offset: int, value: int) -> None:
        """Store a number in memory at ``target`` + ``offset``."""
        self._add(_ST | _SIZES[size], target, 0, offset, _immediate(value))

    def add_atomic(self, size: Literal["u32", "u64"], target: int, offset: int, source: int) -> None:
        """Add ``source`` to the number at ``target`` + ``offset`` in one step for all CPUs."""
        self._add(_ATOMIC | _SIZES[size], target, source, offset)

    def call(self, helper: int) -> None:
        """Call a helper of the kernel; it clobbers the registers 0 to 5."""
        self._add(_CALL, immediate=helper)

    def call_kernel(self, type_id: int) -> None:
        """Call a function of the kernel by the number of its BTF type; it clobbers the registers 0 to 5."""
        self._add(_CALL, source=_PSEUDO_KFUNC, immediate=type_id)

    def exit(self) -> None:
        """Return register 0."""
        self._add(_EXIT)

    def label(self, name: str) -> None:
        """Name the next instruction; jumps may come before it or after."""
        if name in self._labels:
            raise ValueError(f"two labels {name!r}")
        self._labels[name] = len(self._instructions)

    def goto(self, label: str) -> None:
        """Go on at ``label``."""
        self._add(_JMP, label=label)

    def may_goto(self, label: str) -> None:
        """Go on at ``label`` after very many times that it was passed: with it a loop needs no bound (Linux 6.9)."""
        self._add(_MAY_GOTO, label=label)

    def jump(
        self, condition: Condition, target: int, label: str, *, value: int | None = None, source: int | None = None
    ) -> None:
        """Go on at ``label`` where ``target`` compares so with a number or a register, in 64 bits."""
        self._operate(_JMP | _CONDITIONS[condition], target, value, source, label)

    def jump32(
        self, condition: Condition, target: int, label: str, *, value: int | None = None, source: int | None = None
    ) -> None:
        """Do as ``jump`` with the lower halves: the numbers are ids, which may have the highest bit set."""
        self._operate(_JMP32 | _CONDITIONS[condition], target, value, source, label)

    def code(self) -> bytes:
        """Return the program; raises ValueError for a label that is nowhere, or too far."""
        return b"".join(self._encoded(place, one) for place, one in enumerate(self._instructions))

    def _encoded(self, place: int, one: _Instruction) -> bytes:
        offset = one.offset
        if one.label is not None:
            if one.label not in self._labels:
                raise ValueError(f"no label {one.label!r}")
            offset = self._labels[one.label] - place - 1
        if not -_FARTHEST <= offset < _FARTHEST:
            raise ValueError(f"the offset {offset} does not fit an instruction")
        return _INSTRUCTION.pack(one.code, one.target | one.source << 4, offset, one.immediate & _MASK_32)

    def _operate(self, code: int, target: int, value: int | None, source: int | None, label: str | None = None) -> None:
        if (value is None) == (source is None):
            raise ValueError("one of value and source is needed")
        if source is not None:
            self._add(code | _FROM_REGISTER, target, source, label=label)
        else:
            self._add(code, target, immediate=_immediate(value or 0), label=label)

    def _wide(self, target: int, source: int, low: int, high: int) -> None:
        self._add(_LD_IMM64, target, source, immediate=low)
        self._add(0, immediate=high)

    def _add(  # noqa: PLR0913, PLR0917 - the fields of an instruction
        self,
        code: int,
        target: int = 0,
        source: int = 0,
        offset: int = 0,
        immediate: int = 0,
        label: str | None = None,
    ) -> None:
        for register in (target, source):
            if not 0 <= register <= FP:
                raise ValueError(f"there is no register {register}")
        self._instructions.append(_Instruction(code, target, source, offset, immediate, label))


def _immediate(value: int) -> int:
    """Return a number that fits an instruction, signed or unsigned."""
    if not -(1 << 31) <= value < 1 << 32:
        raise ValueError(f"{value} does not fit 32 bits")
    return value
