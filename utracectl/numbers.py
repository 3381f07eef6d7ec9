"""Addresses, sizes and bytes on the command line."""

from __future__ import annotations

import argparse

HIGHEST = (1 << 64) - 1


def address_argument(text: str) -> int:
    """Return the address that ``text`` gives; raises argparse's error where it is none."""
    digits = text[2:].lower()
    if text[:2].lower() == "0x" and 1 <= len(digits) <= 16 and not digits.strip("0123456789abcdef"):
        return int(digits, 16)
    raise argparse.ArgumentTypeError(f"{text!r} is no address: write it as 0x7ffd0f1e2ab8")


def size_argument(text: str) -> int:
    """Return the number of bytes that ``text`` gives, 1 or more; raises argparse's error where it is none."""
    try:
        size = address_argument(text) if text[:2].lower() == "0x" else count_argument(text)
    except argparse.ArgumentTypeError:
        size = 0
    if 1 <= size <= 1 << 40:
        return size
    raise argparse.ArgumentTypeError(f"{text!r} is no number of bytes, as 256 or 0x100")


def count_argument(text: str) -> int:
    """Return a number, 1 or more; raises argparse's error where ``text`` is none."""
    if text.isascii() and text.isdecimal() and len(text) <= 15 and int(text) >= 1:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no number, 1 or more")
