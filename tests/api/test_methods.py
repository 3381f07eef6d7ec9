"""All methods, and that each is called by a test."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from utraced.api.methods import FAMILIES, is_method, registry
from utraced.rpc.method import Method, TargetMethod

TESTS = Path(__file__).resolve().parents[1]
DESCRIBING = {"test_examples.py", "test_document.py", "test_methods.py", "test_rpc.py", "test_openrpc.py"}
"""Tests of the description: what they make is sent to nobody."""
API = "utraced.api"
CLASSES = {
    (family.__name__, name): value.method
    for family in FAMILIES
    for name, value in vars(family).items()
    if is_method(value)
}


def called(path: Path) -> Iterator[str]:
    """Give the methods that a test calls: by making one, or by its name."""
    tree = ast.parse(path.read_text())
    modules: dict[str, str] = {}
    names: dict[str, tuple[str, str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == API:
            modules |= {alias.asname or alias.name: f"{API}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{API}."):
            names |= {alias.asname or alias.name: (str(node.module), alias.name) for alias in node.names}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        match node.func:
            case ast.Name(id=name) if names.get(name) in CLASSES:
                yield CLASSES[names[name]]
            case ast.Attribute(value=ast.Name(id=module), attr=name) if (modules.get(module, ""), name) in CLASSES:
                yield CLASSES[modules[module], name]
        for argument in node.args:
            if isinstance(argument, ast.Constant) and argument.value in CLASSES.values():
                yield argument.value


def test_every_method_is_called_by_a_test() -> None:
    tests = [path for path in TESTS.rglob("test_*.py") if path.name not in DESCRIBING]
    assert set(CLASSES.values()) - {method for path in tests for method in called(path)} == set()


def test_the_registry_has_them_all() -> None:
    methods = registry().methods
    assert sorted(methods) == sorted(CLASSES.values())
    assert {method.method for method in methods.values()} == set(methods)
    assert len(set(methods.values())) == len(CLASSES)


@pytest.mark.parametrize("value", [Method, TargetMethod, FAMILIES[0], "daemon.hello", int])
def test_what_is_no_method(value: object) -> None:
    assert not is_method(value)


def test_methods_declare_what_they_must() -> None:
    for method in registry().methods.values():
        assert method.result is not None
        assert method.access in {"looks", "changes"}
        assert len(set(method.errors)) == len(method.errors)
        assert not method.creates or method.access == "changes"
