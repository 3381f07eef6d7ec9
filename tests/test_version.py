"""The version."""

from __future__ import annotations

import re

from utraced.version import VERSION


def test_the_version_is_a_release() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", VERSION)
