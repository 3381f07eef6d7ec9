"""The command ``utracectl``, and the client libraries: ``utracectl.client``, which blocks, and ``utracectl.aio``."""

from utraced.version import VERSION

__all__ = ["VERSION"]
