"""The house's rules that no linter knows: what stands where, and what a change must not forget."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from utraced.api.methods import FAMILIES, is_method
from utraced.handlers.all import HANDLERS
from utraced.version import VERSION

ROOT = Path(__file__).resolve().parent.parent
PRODUCT = ("utraced", "utracectl")
SOURCES = (*PRODUCT, "benchmarks", "tests", "tools")
GENERATED = Path("utraced/syscalls/tables")
MOST_LINES = 450
NO_SUBJECT = {"common", "helper", "helpers", "manager", "misc", "util", "utils"}
WITHOUT_TESTS = {"__init__", "__main__"}
"""An ``__init__`` names its package, a ``__main__`` calls ``main``."""


def modules(*folders: str) -> Iterator[Path]:
    """Yield the Python files in ``folders`` that are written by hand, from the repository's root."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            relative = path.relative_to(ROOT)
            if GENERATED not in relative.parents:
                yield relative


def texts() -> Iterator[Path]:
    """Yield all files of the project that are text, from the repository's root."""
    for folder in (*SOURCES, ".ci"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in {".py", ".c", ".h", ".toml", ".md", ""} and path.is_file():
                yield path.relative_to(ROOT)
    yield from (path.relative_to(ROOT) for path in sorted(ROOT.glob("*.*")) if path.suffix in {".md", ".toml"})


def places_of_tests(module: Path) -> list[Path]:
    """Return where the tests of ``module`` may stand.

    ``utraced/kernel/maps.py``: in ``tests/kernel/test_maps.py``; ``utraced/syscalls/calls/io.py``: in
    ``tests/syscalls/calls/test_io.py``, ``tests/syscalls/test_calls_io.py``, or, as there is no
    ``utraced/syscalls/io.py``, in ``tests/syscalls/test_io.py``; those of ``utracectl`` in a folder of that name.
    """
    package, *inner = module.parent.parts
    folders = inner if package == "utraced" else [package, *inner]
    found = [Path("tests", *folders, f"test_{module.stem}.py")]
    if len(folders) > 1:
        above = Path("tests", *folders[:-1])
        found.append(above / f"test_{folders[-1]}_{module.stem}.py")
        if not (ROOT / module.parent.parent / module.name).exists():
            found.append(above / f"test_{module.stem}.py")
    return found


def test_every_module_has_its_own_test_file() -> None:
    missing = [
        str(module)
        for module in modules(*PRODUCT)
        if module.stem not in WITHOUT_TESTS and not any((ROOT / test).exists() for test in places_of_tests(module))
    ]
    assert missing == []


def test_files_stay_small() -> None:
    sizes = {str(path): len((ROOT / path).read_text().splitlines()) for path in modules(*SOURCES)}
    assert {path: size for path, size in sizes.items() if size > MOST_LINES} == {}


def test_files_are_named_by_their_subject() -> None:
    assert [
        str(path) for path in modules(*SOURCES) if NO_SUBJECT & set(path.stem.removeprefix("test_").split("_"))
    ] == []


def test_the_package_is_empty() -> None:
    assert (ROOT / "utraced/__init__.py").read_text() == ""


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__.rpartition(".")[2])
def test_each_method_has_a_handler_in_the_file_of_the_same_name(family: object) -> None:
    name = family.__name__.rpartition(".")[2]  # type: ignore[attr-defined]
    methods = {value.method for value in vars(family).values() if is_method(value)}
    handlers = {method for method, handler in HANDLERS.items() if handler.__module__ == f"utraced.handlers.{name}"}
    assert methods
    assert methods == handlers
    assert {method.partition(".")[0] for method in methods} == {name}


def test_each_file_of_methods_is_among_the_families() -> None:
    families = {family.__name__.rpartition(".")[2] for family in FAMILIES}
    with_methods = {path.stem for path in modules("utraced/api") if _defines_methods(ROOT / path)}
    assert with_methods == families
    assert {method.partition(".")[0] for method in HANDLERS} == families


def test_the_machine_is_asked_for_in_arch_alone() -> None:
    asking = [
        f"{path}:{getattr(node, 'lineno', 1)}"
        for path in modules(*PRODUCT)
        if path.parent != Path("utraced/arch")
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        if _asks_for_the_machine(node)
    ]
    assert asking == []


def test_no_file_names_a_place_of_one_machine() -> None:
    place = re.compile(r"/(?:work|root|home)/\w|/tmp/(?:venv|bench)\b")
    assert [str(path) for path in texts() if place.search((ROOT / path).read_text())] == []


def test_nothing_is_left_for_later() -> None:
    later = re.compile(r"\b(?:TO[D]O|FIX[M]E|X[X]X)\b")
    assert [str(path) for path in texts() if later.search((ROOT / path).read_text())] == []


def test_the_commands_of_the_readme_are_those_that_are_checked() -> None:
    commands = [line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("python3 -m venv")]
    checked = (ROOT / ".ci/run").read_text()
    assert len(commands) == 2
    assert [command for command in commands if f'step "{command}"' not in checked] == []


def test_the_version_stands_in_one_place() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "utraced.version.VERSION"}
    assert metadata.version("utraced") == VERSION
    assert "## [Unreleased]" in (ROOT / "CHANGELOG.md").read_text()


def _defines_methods(path: Path) -> bool:
    """Tell whether a file has a class that is made from ``Method`` or ``TargetMethod``."""
    bases = (
        base.value if isinstance(base, ast.Subscript) else base
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef)
        for base in node.bases
    )
    return any(isinstance(base, ast.Name) and base.id in {"Method", "TargetMethod"} for base in bases)


def _asks_for_the_machine(node: ast.AST) -> bool:
    """Tell whether a node is ``os.uname``, or imports it or ``platform``."""
    match node:
        case ast.Attribute(value=ast.Name(id="os"), attr="uname"):
            return True
        case ast.Import(names=names):
            return any(alias.name == "platform" for alias in names)
        case ast.ImportFrom(module="platform"):
            return True
        case ast.ImportFrom(module="os", names=names):
            return any(alias.name == "uname" for alias in names)
    return False
