"""All methods of the protocol: add a new family's module here."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from utraced.rpc.method import Method, Registry, TargetMethod

from . import daemon, engine, memory, process, registers, rpc, session, thread, trace

FAMILIES: tuple[ModuleType, ...] = (daemon, engine, memory, process, registers, rpc, session, thread, trace)


def registry() -> Registry:
    """Return a registry of all methods."""
    methods = Registry()
    for family in FAMILIES:
        for value in vars(family).values():
            if is_method(value):
                methods.add(value)
    return methods


def is_method(value: Any) -> bool:
    """Tell whether ``value`` is a concrete method class."""
    return isinstance(value, type) and issubclass(value, Method) and value not in {Method, TargetMethod}
