"""The broker: the one process of the daemon that is root.  It hands connections on, and reads nothing of them."""
