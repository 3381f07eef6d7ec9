"""The three ways to make system calls on an x86-64 kernel: names, numbers and signatures of each."""

from __future__ import annotations

from importlib import import_module

from .signature import Signature

AUDIT_ARCH_X86_64 = 0xC000003E
AUDIT_ARCH_I386 = 0x40000003
X32_SYSCALL_BIT = 0x40000000
"""Set in the numbers that x32 programs use (linux/arch/x86/include/uapi/asm/unistd.h)."""
UNKNOWN = "syscall_0x"


class Abi:
    """A calling convention; there is one instance of each, in ``ABIS``.

    ``name`` is ``x86_64``, ``i386`` or ``x32``; ``word`` the bytes of a long and of a pointer in the caller's memory;
    ``arch`` the kernel's AUDIT_ARCH number.  The tables are loaded when first asked for.
    """

    __slots__ = ("_names", "_numbers", "_signatures", "arch", "name", "word")

    def __init__(self, name: str, word: int, arch: int) -> None:
        self.name = name
        self.word = word
        self.arch = arch
        self._names: dict[int, str] | None = None
        self._numbers: dict[str, int] | None = None
        self._signatures: dict[int, Signature] = {}

    def __repr__(self) -> str:
        return f"<Abi {self.name}>"

    @property
    def names(self) -> dict[int, str]:
        """The names of all calls known, by number; x32's numbers carry their bit."""
        if self._names is None:
            self._names = _load_names(self.name)
        return self._names

    @property
    def numbers(self) -> dict[str, int]:
        """The numbers of all calls known, by name."""
        if self._numbers is None:
            self._numbers = {name: nr for nr, name in self.names.items()}
        return self._numbers

    def name_of(self, nr: int) -> str:
        """Return the name of call ``nr``, ``syscall_0x1bf`` for one without, as strace does."""
        return self.names.get(nr) or f"{UNKNOWN}{nr & (1 << 64) - 1:x}"

    def number(self, name: str) -> int | None:
        """Return the number of the call named ``name`` (or ``syscall_0x1bf``), None where this ABI has none."""
        number = self.numbers.get(name)
        if number is None and name.startswith(UNKNOWN):
            try:
                return int(name.removeprefix(UNKNOWN), 16)
            except ValueError:
                return None
        return number

    def signature(self, nr: int) -> Signature:
        """Return how the arguments of call ``nr`` are shown; six bare numbers for an unknown call."""
        signature = self._signatures.get(nr)
        if signature is None:
            # The decoders load when the first call is shown, and import this module's class for its type.
            from .calls import signature_of

            signature = signature_of(self.names.get(nr), self)
            if nr in self.names:
                self._signatures[nr] = signature
        return signature


ABIS = {
    "x86_64": Abi("x86_64", 8, AUDIT_ARCH_X86_64),
    "i386": Abi("i386", 4, AUDIT_ARCH_I386),
    "x32": Abi("x32", 4, AUDIT_ARCH_X86_64),
}


def from_audit(arch: int, nr: int) -> Abi:
    """Return the ABI of a call as PTRACE_GET_SYSCALL_INFO or seccomp tell it.

    Raises ValueError for an architecture that is not x86.
    """
    if arch == AUDIT_ARCH_I386:
        return ABIS["i386"]
    if arch == AUDIT_ARCH_X86_64:
        return ABIS["x32" if 0 <= nr <= 0xFFFFFFFF and nr & X32_SYSCALL_BIT else "x86_64"]
    raise ValueError(f"not an x86 architecture: {arch:#x}")


def _load_names(name: str) -> dict[int, str]:
    """Return the table of names of the ABI ``name``."""
    if name == "i386":
        return _table("i386", "NAMES")
    names = _table("x86_64", "NAMES")
    if name == "x86_64":
        return names
    own = _table("x86_64", "X32_NAMES")
    # x32 programs can make the 64-bit form of a call that they have another of; strace marks it so.
    doubles = {text: f"{text}#64" for text in own.values()}
    return {X32_SYSCALL_BIT | nr: doubles.get(text, text) for nr, text in names.items()} | own


def _table(module: str, constant: str) -> dict[int, str]:
    """Return one generated table."""
    table: dict[int, str] = getattr(import_module(f".tables.{module}", __package__), constant)
    return table
