"""bpf(2), called directly: maps, programs, and what ties them to tracepoints.

All that is made here is a file descriptor, close-on-exec; with its last copy it is gone, also where we are killed.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Sequence

from utraced.arch.x86_64 import NR_BPF, NR_PERF_EVENT_OPEN

_MAP_CREATE, _MAP_LOOKUP, _MAP_UPDATE, _MAP_DELETE, _MAP_NEXT_KEY = 0, 1, 2, 3, 4
_PROG_LOAD, _RAW_TRACEPOINT_OPEN, _MAP_FREEZE, _MAP_UPDATE_BATCH = 5, 17, 22, 26

MAP_HASH, MAP_ARRAY, MAP_RINGBUF = 1, 2, 27
NO_PREALLOC, MMAPABLE = 0x1, 0x400
"""BPF_F_NO_PREALLOC, BPF_F_MMAPABLE."""

_PROG_TRACING = 26
_TRACE_RAW_TP = 23
"""enum bpf_attach_type: a program of BPF_PROG_TYPE_TRACING at a tracepoint, with typed arguments."""

_LOG_SIZE = 1 << 20
_NAME_SIZE = 16

_PROG_TRACEPOINT = 5
_LINK_CREATE, _PERF_EVENT = 28, 41
"""BPF_LINK_CREATE, BPF_PERF_EVENT (Linux 5.15)."""
_TRACEPOINT_EVENT = 2
_PERF_ATTR = struct.Struct("=IIQQQQQIIQ")
"""struct perf_event_attr, PERF_ATTR_SIZE_VER0 (include/uapi/linux/perf_event.h)."""
_EVENT_CLOEXEC = 8

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc["syscall"]
_syscall.restype = ctypes.c_long


class Refused(Exception):
    """The verifier refuses a program; the text is the end of what it says."""


def _bpf(command: int, attributes: bytes) -> int:
    """Call bpf(2); raises OSError."""
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    result: int = _syscall(ctypes.c_long(NR_BPF), ctypes.c_int(command), buffer, ctypes.c_uint(len(attributes)))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def create_map(  # noqa: PLR0913 - the attributes of a map
    kind: int, *, key: int, value: int, entries: int, name: str, flags: int = 0
) -> int:
    """Return a new map; ``key`` and ``value`` are sizes in bytes; of a ring ``entries`` is the size, a power of two."""
    label = name.encode()[: _NAME_SIZE - 1]
    return _bpf(_MAP_CREATE, struct.pack("=IIIIIII16s", kind, key, value, entries, flags, 0, 0, label))


def update(fd: int, key: bytes, value: bytes) -> None:
    """Put a value into a map; raises OSError (E2BIG where a hash is full)."""
    held_key, held_value = ctypes.create_string_buffer(key, len(key)), ctypes.create_string_buffer(value, len(value))
    places = ctypes.addressof(held_key), ctypes.addressof(held_value)
    _bpf(_MAP_UPDATE, struct.pack("=I4xQQQ", fd, *places, 0))


def update_many(fd: int, keys: bytes, values: bytes, count: int) -> None:
    """Put ``count`` values into an array, one behind the other as their keys are (Linux 5.6); raises OSError."""
    held_keys = ctypes.create_string_buffer(keys, len(keys))
    held_values = ctypes.create_string_buffer(values, len(values))
    places = ctypes.addressof(held_keys), ctypes.addressof(held_values)
    _bpf(_MAP_UPDATE_BATCH, struct.pack("=QQQQIIQQ", 0, 0, *places, count, fd, 0, 0))


def freeze(fd: int) -> None:
    """Let user space, whoever has the descriptor, only read a map from now on (Linux 5.2); programs still write."""
    _bpf(_MAP_FREEZE, struct.pack("=I", fd))


def lookup(fd: int, key: bytes, size: int) -> bytes | None:
    """Return a value of ``size`` bytes, None where there is none."""
    held, value = ctypes.create_string_buffer(key, len(key)), ctypes.create_string_buffer(size)
    try:
        _bpf(_MAP_LOOKUP, struct.pack("=I4xQQQ", fd, ctypes.addressof(held), ctypes.addressof(value), 0))
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
        return None
    return value.raw


def count_keys(fd: int, size: int) -> int:
    """Return how many keys, of ``size`` bytes, are in a map."""
    found, last = 0, None
    following = ctypes.create_string_buffer(size)
    while True:
        held = ctypes.create_string_buffer(last, size) if last is not None else None
        place = ctypes.addressof(held) if held is not None else 0
        try:
            _bpf(_MAP_NEXT_KEY, struct.pack("=I4xQQQ", fd, place, ctypes.addressof(following), 0))
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
            return found
        last = following.raw
        found += 1


def delete(fd: int, key: bytes) -> bool:
    """Take a value out of a map; tell whether it was there."""
    held = ctypes.create_string_buffer(key, len(key))
    try:
        _bpf(_MAP_DELETE, struct.pack("=I4xQQQ", fd, ctypes.addressof(held), 0, 0))
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
        return False
    return True


def load(code: bytes, *, type_id: int | None, name: str, maps: Sequence[int] = ()) -> int:
    """Return a loaded program for the tracepoint whose BTF type is ``type_id``, with ``maps`` by their indexes.

    Without a type it is for events of tracepoints.

    Raises OSError (EPERM where we lack CAP_BPF or CAP_PERFMON), and Refused.
    """
    try:
        return _load(code, type_id, name, maps, log=False)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.EACCES, errno.E2BIG}:
            raise
        try:
            # It says why only if asked, which makes it slower.
            return _load(code, type_id, name, maps, log=True)
        except OSError:
            raise error from None


def _load(code: bytes, type_id: int | None, name: str, maps: Sequence[int], *, log: bool) -> int:
    instructions = ctypes.create_string_buffer(code, len(code))
    licence = ctypes.create_string_buffer(b"GPL")
    fds = ctypes.create_string_buffer(struct.pack(f"={len(maps)}i", *maps), 4 * len(maps) or 1)
    said = ctypes.create_string_buffer(_LOG_SIZE if log else 1)
    attributes = struct.pack(
        "=IIQQIIQII16sIIIIQIIQIIIIQ",
        _PROG_TRACEPOINT if type_id is None else _PROG_TRACING,
        len(code) // 8,
        ctypes.addressof(instructions),
        ctypes.addressof(licence),
        1 if log else 0,
        _LOG_SIZE if log else 0,
        ctypes.addressof(said) if log else 0,
        0,
        0,
        name.encode()[: _NAME_SIZE - 1],
        0,
        0 if type_id is None else _TRACE_RAW_TP,
        0, 0, 0, 0, 0, 0, 0,
        type_id or 0,
        0, 0,
        ctypes.addressof(fds),
    )  # fmt: skip
    try:
        return _bpf(_PROG_LOAD, attributes)
    except OSError as error:
        if log and error.errno != errno.EPERM:
            raise Refused(said.value.decode("ascii", "replace")[-4000:]) from error
        raise


def attach(program: int) -> int:
    """Return a link that has a program run at its tracepoint until it is closed."""
    return _bpf(_RAW_TRACEPOINT_OPEN, struct.pack("=QI4xQ", 0, program, 0))


def open_event(tracepoint: int) -> int:
    """Return an event of the tracepoint with this number in tracefs; what is tied to it runs for all processes.

    Raises OSError.
    """
    attributes = ctypes.create_string_buffer(
        _PERF_ATTR.pack(_TRACEPOINT_EVENT, _PERF_ATTR.size, tracepoint, 0, 0, 0, 0, 0, 0, 0)
    )
    # Programs run on all CPUs, whichever the event is of: on the first one that is there.
    cpu = min(os.sched_getaffinity(0))
    result: int = _syscall(
        ctypes.c_long(NR_PERF_EVENT_OPEN), attributes, ctypes.c_int(-1), ctypes.c_int(cpu), ctypes.c_int(-1),
        ctypes.c_ulong(_EVENT_CLOEXEC),
    )  # fmt: skip
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def attach_to_event(program: int, event: int) -> int:
    """Return a link that has a program run at an event of a tracepoint until it is closed."""
    return _bpf(_LINK_CREATE, struct.pack("=IIII32x", program, event, _PERF_EVENT, 0))


def close(fds: Sequence[int]) -> None:
    """Close descriptors of ours."""
    for fd in fds:
        os.close(fd)
