"""Giving memory back that is not needed any more."""

from __future__ import annotations

import ctypes
import gc


def trim() -> bool:
    """Return free memory to the kernel (malloc_trim(3)): loading modules leaves a megabyte of it.

    False where the C library has no such function.
    """
    gc.collect()
    try:
        release = ctypes.CDLL(None).malloc_trim
    except AttributeError:
        return False
    release(0)
    return True
