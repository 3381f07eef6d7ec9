"""The memory mappings of a process, from /proc/PID/maps and its PROCMAP_QUERY (proc_pid_maps(5))."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import re
import struct
from collections.abc import Iterable

from utraced.api.map_records import MapRecord, permissions
from utraced.kernel.proc import Process, ending, read_all

_LINE = re.compile(
    rb"^([0-9a-f]+)-([0-9a-f]+) (\S{4}) ([0-9a-f]+) ([0-9a-f]+):([0-9a-f]+) (\d+)(?: +(.*))?$", re.MULTILINE
)
_DELETED = b" (deleted)"
_ESCAPED = b"\\012"

_PROCMAP_QUERY = 0xC068_6611
"""_IOWR('f', 17, struct procmap_query), linux/include/uapi/linux/fs.h, Linux 6.11."""
_QUERY = struct.Struct("=9Q4I2Q")
_COVERING = 0
_NAME_SIZE = 4096 + len(_DELETED)


def read_maps(process: Process) -> list[MapRecord]:
    """Return all mappings in order of address; none for kernel threads and zombies.  May wait for the process.

    Raises NoSuchProcess and PermissionError.
    """
    fd = process.open("maps")
    try:
        with ending(process.pid):
            maps = parse_maps(read_all(fd))
            # Only the text escapes line feeds, and no backslash: ask where it is not clear what the name is.
            return [_with_exact_path(fd, each) if each.path and _ESCAPED in each.path else each for each in maps]
    finally:
        os.close(fd)


def find_map(process: Process, address: int) -> MapRecord | None:
    """Return the mapping that covers ``address``, None where nothing does; 1.3 us instead of a long text.

    Raises NoSuchProcess, also for a zombie, and PermissionError.
    """
    fd = process.open("maps")
    try:
        with ending(process.pid):
            try:
                return _query(fd, address)
            except OSError as error:
                if error.errno != errno.ENOTTY:
                    raise
            return next((each for each in parse_maps(read_all(fd)) if each.start <= address < each.end), None)
    finally:
        os.close(fd)


def file_at(maps: Iterable[MapRecord], address: int) -> tuple[bytes, int] | None:
    """Return the path of the file that is mapped at ``address``, and where its beginning is mapped, at or below that.

    None where there is no file, or its beginning is not mapped.
    """
    base: MapRecord | None = None
    for each in maps:
        if each.path is None or each.start > address:
            continue
        if each.offset == 0:
            base = each
        if address < each.end:
            same = base is not None and base[4:7] == each[4:7] and bool(each.inode)
            return (each.path, base.start) if same and base is not None else None
    return None


def parse_maps(text: bytes) -> list[MapRecord]:
    """Parse the text of /proc/PID/maps."""
    return [
        MapRecord(
            int(start, 16),
            int(end, 16),
            perms.decode("ascii"),
            int(offset, 16),
            int(major, 16),
            int(minor, 16),
            int(inode),
            *_named(path),
        )
        for start, end, perms, offset, major, minor, inode, path in _LINE.findall(text)
    ]


def _named(path: bytes) -> tuple[bytes | None, bool]:
    """Return the path without the kernel's remark, and whether it had one."""
    name = path.removesuffix(_DELETED)
    return (name or None, name != path)


def _query(fd: int, address: int) -> MapRecord | None:
    """Ask for the mapping that covers ``address``; raises OSError, ENOTTY before Linux 6.11."""
    name = ctypes.create_string_buffer(_NAME_SIZE)
    query = bytearray(
        _QUERY.pack(_QUERY.size, _COVERING, address, 0, 0, 0, 0, 0, 0, 0, 0, _NAME_SIZE, 0, ctypes.addressof(name), 0)
    )
    try:
        fcntl.ioctl(fd, _PROCMAP_QUERY, query)
    except FileNotFoundError:
        return None
    _, _, _, start, end, flags, _, offset, inode, major, minor, size, _, _, _ = _QUERY.unpack(query)
    return MapRecord(
        start,
        end,
        permissions(flags),
        offset,
        major,
        minor,
        inode,
        *_named(name.raw[: max(size - 1, 0)]),
    )


def _with_exact_path(fd: int, found: MapRecord) -> MapRecord:
    """Return the mapping with its path unescaped, where the kernel can tell and it is still the same mapping."""
    try:
        exact = _query(fd, found.start)
    except OSError:
        exact = None
    if exact is not None and exact[:7] == found[:7]:
        return exact
    return found._replace(path=(found.path or b"").replace(_ESCAPED, b"\n"))
