"""Becoming somebody else, for good (credentials(7))."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable

from msgspec import Struct

from utraced.linux.capabilities import drop_bounding, permitted, set_capabilities
from utraced.linux.prctl import no_new_privs, set_dumpable


class Identity(Struct, frozen=True):
    """Whom the kernel takes a process for: its ids, its supplementary groups, and its capabilities.

    ``groups`` are in order and without ``gid``, so that who may the same is the same.  ``capabilities`` is a mask.
    """

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    capabilities: int = 0


def identity(uid: int, gid: int, groups: Iterable[int], capabilities: int = 0) -> Identity:
    """Return the identity of who has these ids and groups."""
    return Identity(uid, gid, tuple(sorted(set(groups) - {gid})), capabilities)


def assume(identity: Identity) -> None:
    """Be this user in every respect, with no way back; raises OSError where that is refused.

    Processes of the same user can then neither trace this one nor take its descriptors.
    """
    os.setgroups(identity.groups)
    os.setresgid(identity.gid, identity.gid, identity.gid)
    # While CAP_SETPCAP is still there.
    drop_bounding(identity.capabilities)
    os.setresuid(identity.uid, identity.uid, identity.uid)
    # -1 would be "as it was" to the kernel: then we would still be root.
    if os.getresuid() != (identity.uid,) * 3 or os.getresgid() != (identity.gid,) * 3:
        raise PermissionError(errno.EPERM, f"uid {identity.uid} with gid {identity.gid} is nobody one can be")
    set_capabilities(identity.capabilities)
    no_new_privs()
    # A change of user clears it, but to what fs.suid_dumpable says, and user 0 has changed nothing (proc_sys_fs(5)).
    set_dumpable(0)


def own_identity() -> Identity:
    """Return who this process is."""
    return identity(os.geteuid(), os.getegid(), os.getgroups(), permitted())
