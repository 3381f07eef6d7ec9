"""Capabilities by their names (capabilities(7))."""

from __future__ import annotations

_NAMES = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
]
"""In order of their numbers: linux/include/uapi/linux/capability.h."""

_MOST = 5
"""Shown by name: who has more has nearly all of them."""


def capability_names(mask: int) -> str:
    """Return the capabilities in a mask of /proc/PID/status, for a person; ``all`` where none is lacking."""
    known = (1 << len(_NAMES)) - 1
    if mask & known == known:
        return "all"
    names = [f"CAP_{name.upper()}" for number, name in enumerate(_NAMES) if mask >> number & 1]
    if mask & ~known:
        names.append(f"{mask & ~known:#x}")
    if len(names) > _MOST:
        names[_MOST - 1 :] = [f"and {len(names) - _MOST + 1} more"]
    return " ".join(names)
