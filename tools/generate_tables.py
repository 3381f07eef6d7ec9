"""Write the tables of constants in utraced/syscalls/tables from the kernel's uapi headers.

Usage: ``generate_tables.py [--check] [STEM ...]``; ``arguments.py``, which needs tracefs, is written by
``generate_arguments.py``.

Each ``tools/tables/STEM.toml`` becomes ``utraced/syscalls/tables/STEM.py``, each group of it a constant named as the
group in capitals:

    headers = ["linux/fcntl.h"]          for all groups; a group's own ``headers`` replaces it
    before = ["sys/types.h"]             optional: included first, not searched by ``match``

    [open_flags]                         -> OPEN_FLAGS: tuple[tuple[int, str], ...]
    names = ["O_WRONLY", ...]            macros or enumerators, kept in this order
    match = "^E[A-Z0-9]+$"               instead: all macros that match, by value; a group in the expression is the name
    exclude = ["EWOULDBLOCK"]            but these
    least = 0x40000200                   but those below
    strip = "PREFIX_"                    leave this off the names
    form = "dict"                        dict[int, str] instead of a tuple of pairs
    values = { SOME_NAME = 0x10 }        names too new or too private for the headers; put after the others

Values come from a program that the C compiler makes of the headers, so macros such as _IOR and enumerators work.
``--check`` writes nothing and exits with 1 when a committed table differs.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "tools" / "tables"
TARGET = ROOT / "utraced" / "syscalls" / "tables"
DECIMAL_BELOW = 10
SIGN_BIT = 1 << 31
KEYS = {"headers", "before", "names", "match", "exclude", "least", "strip", "form", "values"}


class TableError(ValueError):
    """A toml file that asks for something that is not there."""


class Group(NamedTuple):
    """One constant of a generated module."""

    name: str
    form: str
    pairs: list[tuple[int, str]]


def includes(headers: Iterable[str]) -> str:
    """Return the lines that include ``headers``."""
    return "".join(f"#include <{header}>\n" for header in headers)


def compiler(source: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run gcc with ``options`` over the C text ``source``."""
    return subprocess.run(
        ["gcc", "-D_GNU_SOURCE", "-x", "c", *options, "-"], input=source, capture_output=True, text=True, check=False
    )


def macros(headers: Sequence[str]) -> list[str]:
    """Return the names of all object-like macros that ``headers`` define."""
    run = compiler(includes(headers), "-E", "-dM")
    if run.returncode:
        raise TableError(run.stderr)
    return re.findall(r"^#define (\w+) ", run.stdout, re.MULTILINE)


def evaluate(headers: Sequence[str], names: Sequence[str]) -> list[int]:
    """Return the values of ``names``, each a constant expression in C after ``headers``."""
    if not names:
        return []
    prints = "".join(f'    printf("%lld\\n", (long long)({name}));\n' for name in names)
    declared = f"{includes(headers)}\nextern int printf(const char *, ...);\n"
    source = f"{declared}int main(void)\n{{\n{prints}    return 0;\n}}\n"
    with tempfile.TemporaryDirectory() as directory:
        program = f"{directory}/values"
        run = compiler(source, "-w", "-o", program)
        if run.returncode:
            missing = re.findall(r"error: .(\w+). undeclared", run.stderr)
            raise TableError(f"not in {', '.join(headers)}: {', '.join(missing)}" if missing else run.stderr)
        output = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    # 1 << 31 is negative in C, and no table holds that number itself.
    return [SIGN_BIT if int(line) == -SIGN_BIT else int(line) for line in output.split()]


def matching(headers: Sequence[str], before: Sequence[str], group: dict[str, object]) -> list[tuple[int, str]]:
    """Return (value, name) of the macros that a group's ``match`` asks for, in order of value."""
    expression = re.compile(str(group["match"]))
    excluded = set(list_of(group, "exclude"))
    found = [name for name in macros([*before, *headers]) if expression.search(name) and name not in excluded]
    pairs = []
    for value, name in zip(evaluate([*before, *headers], found), found, strict=True):
        match = expression.search(name)
        assert match is not None
        pairs.append((value, match[1] if expression.groups else name))
    least = group.get("least")
    return sorted(pair for pair in pairs if not isinstance(least, int) or pair[0] >= least)


def list_of(table: dict[str, object], key: str) -> list[str]:
    """Return the list of strings at ``key``, empty where there is none."""
    value = table.get(key, [])
    if not isinstance(value, list):
        raise TableError(f"{key} is no list")
    return [str(item) for item in value]


def read_group(name: str, group: dict[str, object], top: dict[str, object]) -> Group:
    """Resolve one group of a toml file."""
    if unknown := group.keys() - KEYS:
        raise TableError(f"no such key: {', '.join(sorted(unknown))}")
    headers = list_of(group, "headers") or list_of(top, "headers")
    before = list_of(group, "before") or list_of(top, "before")
    names = list_of(group, "names")
    pairs = list(zip(evaluate([*before, *headers], names), names, strict=True))
    if "match" in group:
        pairs += matching(headers, before, group)
    values = group.get("values", {})
    if not isinstance(values, dict):
        raise TableError("values is no table")
    pairs += [(int(value), str(key)) for key, value in values.items()]
    strip = str(group.get("strip", ""))
    pairs = [(value, text.removeprefix(strip)) for value, text in pairs]
    form = str(group.get("form", "pairs"))
    return Group(name.upper(), form, sorted(pairs) if form == "dict" else pairs)


def number(value: int) -> str:
    """Return ``value`` as a literal: flags read best in hexadecimal."""
    return str(value) if value < DECIMAL_BELOW else hex(value)


def write_group(group: Group) -> str:
    """Return the assignment of one group as Python."""
    if group.form == "dict":
        body = "".join(f'    {value}: "{name}",\n' for value, name in dict(group.pairs).items())
        return f"{group.name}: dict[int, str] = {{\n{body}}}\n"
    body = "".join(f'    ({number(value)}, "{name}"),\n' for value, name in group.pairs)
    return f"{group.name}: tuple[tuple[int, str], ...] = (\n{body})\n"


def module(stem: str, top: dict[str, object]) -> str:
    """Return the whole text of the module that the file ``stem`` describes."""
    groups = []
    for name, group in top.items():
        if isinstance(group, dict):
            try:
                groups.append(read_group(name, group, top))
            except TableError as error:
                raise TableError(f"[{name}]: {error}") from None
    head = f'"""Generated by tools/generate_tables.py from tools/tables/{stem}.toml; do not edit."""\n\n'
    return head + "\n".join(write_group(group) for group in groups)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check the tables asked for, all of them where none is named."""
    parser = argparse.ArgumentParser(description="write the tables of constants from the kernel's headers")
    parser.add_argument("--check", action="store_true", help="write nothing, exit with 1 when a table differs")
    parser.add_argument("stems", nargs="*", metavar="STEM", help="names of files in tools/tables, without .toml")
    options = parser.parse_args(arguments)
    stems = options.stems or sorted(path.stem for path in SOURCES.glob("*.toml"))
    differs = False
    for stem in stems:
        try:
            text = module(stem, tomllib.loads((SOURCES / f"{stem}.toml").read_text()))
        except TableError as error:
            print(f"{stem}.toml: {error}", file=sys.stderr)
            return 2
        target = TARGET / f"{stem}.py"
        if target.exists() and target.read_text() == text:
            continue
        differs = True
        if options.check:
            print(f"{target.relative_to(ROOT)} differs from tools/tables/{stem}.toml", file=sys.stderr)
        else:
            target.write_text(text)
    return 1 if differs and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
