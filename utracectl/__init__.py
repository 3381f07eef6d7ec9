"""The command ``utracectl``, and the blocking client library in ``utracectl.client``."""

from utraced.version import VERSION

__all__ = ["VERSION"]
