"""The version of the daemon and of its clients: the one place where it stands."""

VERSION = "0.1.0"
