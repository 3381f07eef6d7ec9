"""Starting another program: execve and execveat (execve(2))."""

from __future__ import annotations

from utraced.syscalls.basics import DirFd, Flags, Path, Text, address_text
from utraced.syscalls.call import Call
from utraced.syscalls.kinds import Kind
from utraced.syscalls.signature import Signature
from utraced.syscalls.tables.processes import EXECVEAT_FLAGS

PAGE = 4096
MAX_POINTERS = 1 << 17
"""More arguments than this do not fit into the memory the kernel lets them have (a quarter of a stack of 8 MiB)."""

_TEXT = Text()


def pointers(address: int, limit: int, call: Call) -> tuple[list[int], bool]:
    """Return at most ``limit`` pointers of the NULL-terminated array at ``address``, and whether its end was found.

    What is found may be fewer where the array runs into memory that cannot be read.
    """
    word = call.abi.word
    found: list[int] = []
    while len(found) <= limit:
        # Rarely more than needed, and never across a page, so that a page without memory costs no good pointer.
        size = max(min(64 * word, PAGE - address % PAGE) // word * word, word)
        data = call.entered.read(address, size)
        for start in range(0, len(data) - word + 1, word):
            pointer = int.from_bytes(data[start : start + word], "little")
            if not pointer:
                return found[:limit], len(found) <= limit
            found.append(pointer)
        if len(data) < size:
            break
        address += size
    return found[:limit], False


class Arguments(Kind):
    """A program's arguments: strings, as many of them shown as the limit on strings says."""

    __slots__ = ()
    reads = True

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        if not value:
            return "NULL"
        found, ended = pointers(value, call.limit, call)
        if not found and not ended:
            return hex(value)
        texts = [_TEXT.render(pointer, call) for pointer in found]
        if not ended:
            short = len(found) < call.limit
            texts.append(f"... /* {value + len(found) * call.abi.word:#x} */" if short else "...")
        return f"[{', '.join(texts)}]"


class Environment(Kind):
    """A program's environment: only how many variables it has."""

    __slots__ = ()
    reads = True

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        if not value:
            return "NULL"
        found, ended = pointers(value, MAX_POINTERS, call)
        if not found and not ended:
            return hex(value)
        plural = "" if len(found) == 1 else "s"
        return f"{address_text(value)} /* {len(found)} var{plural}{'' if ended else ', unterminated'} */"


_PATH = Path()
_PROGRAM = (_PATH, Arguments(), Environment())

SIGNATURES = {
    "execve": Signature(*_PROGRAM),
    "execveat": Signature(DirFd(), *_PROGRAM, Flags(EXECVEAT_FLAGS, "AT_???")),
}
