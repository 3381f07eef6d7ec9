"""Loads every family's handlers: add a new family's module here."""

from __future__ import annotations

from . import daemon, engine, memory, process, registers, rpc, session, thread, trace
from .context import HANDLERS

__all__ = ["HANDLERS", "daemon", "engine", "memory", "process", "registers", "rpc", "session", "thread", "trace"]
