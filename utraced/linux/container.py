"""Whether this process is in a container, and in which: what those who make them leave for the ones inside to see."""

from __future__ import annotations

import os
import re

FIRST_USER_NAMESPACE = 0xEFFF_FFFD
FIRST_PID_NAMESPACE = 0xEFFF_FFFC
"""linux/include/uapi/linux/nsfs.h, init_ns_ino."""

_FILES = {".dockerenv": "docker", "run/.containerenv": "podman"}
_MOST = 64
"""Bytes that a name may have."""


def signs(root: str = "/", *, user_namespace: int | None = None, pid_namespace: int | None = None) -> tuple[str, ...]:
    """Return all that tells of a container, in plain words; empty where nothing does.

    ``root`` is where to look, and the inode numbers those of our namespaces, for tests.
    """
    found = []
    name = _first_word(os.path.join(root, "run/systemd/container"))
    if name:
        found.append(f"/run/systemd/container says {name}")
    found.extend(f"there is /{path} ({kind})" for path, kind in _FILES.items() if os.path.exists(root + "/" + path))
    group = container_group(_read(os.path.join(root, "proc/self/cgroup")))
    if group:
        found.append(f"its control group is {group}'s")
    if (user_namespace or os.stat("/proc/self/ns/user").st_ino) != FIRST_USER_NAMESPACE:
        found.append("its user namespace is not the machine's first")
    if (pid_namespace or os.stat("/proc/self/ns/pid").st_ino) != FIRST_PID_NAMESPACE:
        found.append("its pid namespace is not the machine's first")
    return tuple(found)


def container_group(cgroup: str) -> str | None:
    """Return whose control group /proc/PID/cgroup tells of: who runs the container, or None (cgroups(7))."""
    # The daemon that runs containers is not in one itself.
    match = re.search(
        r"[/:.-](docker|libpod|kubepods|lxc|machine-qemu|crio|containerd)\b(?!\.(?:service|socket)\b)", cgroup
    )
    return match[1] if match else None


def _first_word(path: str) -> str:
    """Return the first word of a file, "" where there is none."""
    return (_read(path).split() or [""])[0][:_MOST]


def _read(path: str) -> str:
    """Return what stands in a file, "" where it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="backslashreplace") as file:
            return file.read(65_536)
    except OSError:
        return ""
