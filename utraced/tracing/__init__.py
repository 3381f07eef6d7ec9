"""Engines on processes: classified stops in, actions out.  No I/O; what it needs of the kernel it is given."""
