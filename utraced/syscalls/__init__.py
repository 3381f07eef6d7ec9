"""System calls: tables, what to read of a target's memory, and strace's text.

No I/O.  The worker uses it to know what to read at a stop; clients use it to print what was read.
"""
