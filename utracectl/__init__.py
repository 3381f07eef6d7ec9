"""The command ``utracectl``, and the blocking client library in ``utracectl.client``."""

VERSION = "0.1.0"
