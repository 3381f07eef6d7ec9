"""Thin calls to the kernel that have nothing to do with tracing."""
