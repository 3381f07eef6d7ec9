"""The generators of tables: every form a toml file can take, and that the committed tables are what they write."""

from __future__ import annotations

import importlib.util
import runpy
import shutil
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEADERS_OF = (6, 1)
"""The version of the kernel's headers that the committed tables come from."""


def load(name: str) -> ModuleType:
    """Return a script of tools/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def headers() -> tuple[int, int] | None:
    """Return the version of the kernel's headers installed, None without a compiler or headers."""
    if shutil.which("gcc") is None:
        return None
    run = subprocess.run(
        ["gcc", "-E", "-P", "-include", "linux/version.h", "-x", "c", "-"],
        input="LINUX_VERSION_CODE\n",
        capture_output=True,
        text=True,
        check=False,
    )
    text = run.stdout.strip()
    return (int(text) >> 16, int(text) >> 8 & 0xFF) if text.isdecimal() else None


INSTALLED = headers()
needs_headers = pytest.mark.skipif(INSTALLED is None, reason="needs gcc and the kernel's headers")


class Workshop:
    """A generator that works in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.generator = load("generate_tables")
        self.directory = directory
        self.generator.ROOT = self.generator.SOURCES = self.generator.TARGET = directory  # type: ignore[attr-defined]
        (directory / "own.h").write_text(
            "#define P_A 1\n#define P_B (1 << 4)\n#define P_TOP (1 << 31)\n#define P_NEGATIVE -100\n#define OTHER 5\n"
            "#define P_FUNCTION(x) x\nenum { E_ONE = 1, E_TWO };\n#define P_SIZE (sizeof(struct two))\n"
            "struct two { long first, second; };\n"
        )

    def write(self, toml: str) -> None:
        """Write a toml file with the header of this directory."""
        (self.directory / "t.toml").write_text(f'headers = ["{self.directory}/own.h"]\n{toml}')

    def run(self, *options: str) -> int:
        """Run the generator and return its exit status."""
        status: int = self.generator.main([*options])
        return status

    def made(self, toml: str) -> dict[str, Any]:
        """Return the constants that a toml file becomes."""
        self.write(toml)
        assert self.run("t") == 0
        return {key: value for key, value in runpy.run_path(str(self.directory / "t.py")).items() if key.isupper()}


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


FORMS = [
    ('[g]\nnames = ["P_B", "P_A"]', ((16, "P_B"), (1, "P_A"))),
    ('[g]\nnames = ["E_TWO", "P_SIZE"]', ((2, "E_TWO"), (16, "P_SIZE"))),
    ('[g]\nnames = ["P_TOP", "P_NEGATIVE"]', ((1 << 31, "P_TOP"), (-100, "P_NEGATIVE"))),
    ('[g]\nnames = ["P_A"]\nstrip = "P_"', ((1, "A"),)),
    ('[g]\nnames = ["P_A"]\nvalues = { P_NEW = 0x20 }', ((1, "P_A"), (32, "P_NEW"))),
    ("[g]\nvalues = { P_NEW = 0x20 }", ((32, "P_NEW"),)),
    ('[g]\nmatch = "^P_[AB]$"', ((1, "P_A"), (16, "P_B"))),
    ('[g]\nmatch = "^P_(A|B)$"\nexclude = ["P_A"]', ((16, "B"),)),
    ('[g]\nmatch = "^P_[AB]$"\nleast = 2', ((16, "P_B"),)),
    ('[g]\nmatch = "^P_[AB]$"\nform = "dict"\nvalues = { P_C = 2 }', {1: "P_A", 2: "P_C", 16: "P_B"}),
]


@needs_headers
@pytest.mark.parametrize(("toml", "table"), FORMS)
def test_forms(workshop: Workshop, toml: str, table: object) -> None:
    assert workshop.made(toml) == {"G": table}


@needs_headers
@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ('[g]\nnames = ["P_A", "P_NONE"]', "P_NONE"),
        ('[g]\nname = ["P_A"]', "no such key: name"),
        ('[g]\nnames = "P_A"', "names is no list"),
        ('[g]\nheaders = ["no/such/header.h"]\nmatch = "x"', "no/such/header.h"),
    ],
)
def test_errors_name_the_group(workshop: Workshop, capsys: pytest.CaptureFixture[str], toml: str, message: str) -> None:
    workshop.write(toml)
    assert workshop.run("t") == 2
    said = capsys.readouterr().err
    assert "[g]" in said
    assert message in said


@needs_headers
def test_check_writes_nothing(workshop: Workshop) -> None:
    workshop.write('[g]\nnames = ["P_A"]')
    assert workshop.run("--check") == 1
    assert not (workshop.directory / "t.py").exists()
    assert workshop.run() == 0
    assert workshop.run("--check") == 0


@pytest.mark.skipif(INSTALLED != HEADERS_OF, reason="needs the headers that the tables were made of")
def test_the_committed_tables_are_what_the_headers_say() -> None:
    assert load("generate_tables").main(["--check"]) == 0


FORMAT = """name: sys_enter_{name}
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:int __syscall_nr;\toffset:8;\tsize:4;\tsigned:1;
{fields}
print fmt: "x"
"""


@pytest.mark.parametrize(
    ("call", "fields", "expected"),
    [
        ("getpid", [], ("getpid", "")),
        ("newstat", ["const char * filename", "struct stat * statbuf"], ("stat", "pa")),
        ("read", ["unsigned int fd", "char * buf", "size_t count"], ("read", "ial")),
        ("mknod", ["const char * filename", "umode_t mode", "unsigned dev"], ("mknod", "pmu")),
        ("memfd_create", ["const char * uname", "unsigned int flags"], ("memfd_create", "sx")),
        ("sethostname", ["char * name", "int len"], ("sethostname", "ai")),
        ("mmap", ["unsigned long addr", "unsigned long prot", "key_t key"], ("mmap", "axx")),
    ],
)
def test_arguments_of_a_tracepoint(tmp_path: Path, call: str, fields: list[str], expected: tuple[str, str]) -> None:
    generator = load("generate_arguments")
    lines = [f"\tfield:{field};\toffset:{16 + 8 * i};\tsize:8;\tsigned:0;" for i, field in enumerate(fields)]
    directory = tmp_path / f"sys_enter_{call}"
    directory.mkdir()
    (directory / "format").write_text(FORMAT.format(name=call, fields="\n".join(lines)))
    name, letters = expected
    assert generator.arguments(tmp_path)[name] == letters


def test_the_table_of_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = load("generate_arguments")
    monkeypatch.setattr(generator, "TARGET", tmp_path / "arguments.py")
    events = tmp_path / "events"
    assert generator.main(["--directory", str(events)]) == 2
    (events / "sys_enter_close").mkdir(parents=True)
    (events / "sys_enter_close" / "format").write_text(
        FORMAT.format(name="close", fields="\tfield:unsigned int fd;\toffset:16;\tsize:8;\tsigned:0;")
    )
    assert generator.main(["--directory", str(events), "--check"]) == 1
    assert generator.main(["--directory", str(events)]) == 0
    assert generator.main(["--directory", str(events), "--check"]) == 0
    assert runpy.run_path(str(tmp_path / "arguments.py"))["ARGUMENTS"]["close"] == "i"
