"""Who a peer is, and whether it may have a worker: asked of the kernel alone, before anything it sent is read.

A worker does what its user may do.  For a peer that may do less than its user (a sandbox) it would be a way out, so
such a peer is refused, and traces with a private worker of its own, which is as confined as it is.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import NamedTuple

from msgspec import structs

from utraced.errors import PermissionDenied
from utraced.linux import confinement
from utraced.linux.capabilities import CAP_SETGID, CAP_SETUID
from utraced.linux.confinement import View
from utraced.linux.credentials import certain_pidfd, peer, peer_label
from utraced.linux.identity import Identity, identity
from utraced.linux.pidfd import alive
from utraced.model import Peer

HINT = "It traces what it may itself with a private worker: unset UTRACED_SOCKET, and utracectl starts one."
LACKING = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""The daemon's own need, and no answer about a peer."""
BECOMING = CAP_SETUID | CAP_SETGID
MOST_GROUPS = 10_000
"""An order for a worker with more does not fit a packet."""


class Admitted(NamedTuple):
    """A peer, and whom its worker is to be."""

    peer: Peer
    identity: Identity


class PeerEnded(Exception):
    """The process that connected has ended: what it may is not to be known any more."""


class Admission:
    """The rules, and what they compare with: this process.

    ``foreign_pid_namespaces``: serve peers of other pid namespaces, though their pids are not ours.
    """

    def __init__(self, *, foreign_pid_namespaces: bool = False) -> None:
        """Raises OSError where /proc is not there or cannot be read."""
        with View(os.getpid()) as view:
            self._ours = view.read()
            self._root = view.root()
        self._foreign = foreign_pid_namespaces

    def admit(self, sock: socket.socket) -> Admitted:
        """Return who connected ``sock``, and the identity of its worker.

        Raises PermissionDenied where it is confined, PeerEnded where it has ended, and OSError for what lacks: files or
        memory.
        """
        who = peer(sock)
        if who.pid == 0:
            raise _confined("it is in a pid namespace that is not below the daemon's")
        pidfd = _pidfd(sock)
        try:
            with _opened(who.pid) as view:
                # What is opened before the pidfd is found alive is the peer, as its pid was nobody else's until then.
                # What confines a process confines it for good, so a second look misses nothing that came in between.
                before = self._look(view)
                if not alive(pidfd):
                    raise PeerEnded
                after = self._look(view)
        finally:
            os.close(pidfd)
        found = tuple(dict.fromkeys((*before.reasons, *after.reasons, *_labelled(sock))))
        if found:
            raise _confined(*found)
        if len(who.groups) > MOST_GROUPS:
            raise PermissionDenied(
                f"you are in {len(who.groups)} groups", reason="policy", hint=f"At most {MOST_GROUPS} are served."
            )
        # No worker has a capability that its peer lacks.  Of others than root it has none: what a program was given
        # by its file or its parent is that program's.
        capabilities = before.effective & after.effective & self._ours.permitted if who.uid == 0 else 0
        return Admitted(who, identity(who.uid, who.gid, who.groups, capabilities))

    def may_hand_on(self, sock: socket.socket) -> bool:
        """Tell whether who connected ``sock`` can be any user itself: only then nobody gains by what it hands on.

        User 0 alone is no such power (capabilities(7)), nor is what has power in a namespace of its own.  Raises
        OSError for what lacks, as ``admit`` does.
        """
        who = peer(sock)
        try:
            pidfd = _pidfd(sock)
            try:
                its = confinement.read(who.pid)
                there = alive(pidfd)
            finally:
                os.close(pidfd)
        except (PeerEnded, PermissionDenied):
            return False
        except OSError as error:
            if error.errno in LACKING:
                raise
            return False
        ours = self._ours.namespaces
        inside = (its.namespaces.user, its.namespaces.pid) == (ours.user, ours.pid)
        return there and inside and who.uid == 0 and its.effective & BECOMING == BECOMING

    def _look(self, view: View) -> _Look:
        """Read how a process is confined; raises PermissionDenied, PeerEnded."""
        try:
            its = view.read()
            root = view.root()
        except OSError as error:
            raise _unseen(error) from error
        if self._foreign:
            lent = its.namespaces._replace(pid=self._ours.namespaces.pid)
            its = structs.replace(its, namespaces=lent)
        reasons = confinement.reasons(its, self._ours)
        if root != self._root:
            reasons += ("it has another root directory",)
        return _Look(reasons, its.effective)


class _Look(NamedTuple):
    """What one look at a peer has shown."""

    reasons: tuple[str, ...]
    effective: int


def usable() -> bool:
    """Tell whether this kernel can say for certain which process is at the other end of a socket (Linux 6.5)."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        try:
            os.close(certain_pidfd(ours))
        except OSError as error:
            if error.errno == errno.ENOPROTOOPT:
                return False
            raise
    return True


def label_confines(label: str) -> bool:
    """Tell whether a security module's label is of a process that may less than its user.

    AppArmor's names the profile, ``unconfined`` where there is none; SELinux's has the type as its third part.
    """
    kind = label.split(":")[2:3]
    return label != "unconfined" and kind not in [["unconfined_t"], ["unconfined_service_t"]]


def _labelled(sock: socket.socket) -> tuple[str, ...]:
    try:
        label = peer_label(sock)
    except OSError as error:
        if error.errno in LACKING:
            raise
        # It may be longer than any that is known (ERANGE): a user who stacks AppArmor's profiles sees to that.
        return (f"the label of its security module cannot be read: {os.strerror(error.errno or 0)}",)
    return (f"a security module confines it ({label})",) if label is not None and label_confines(label) else ()


def _pidfd(sock: socket.socket) -> int:
    """Return a pidfd of the peer: of its very process or none."""
    try:
        return certain_pidfd(sock)
    except OSError as error:
        # EINVAL and ESRCH: reaped; ENODATA: never had a peer.  Without a pidfd nothing can be known of it.
        if error.errno in {errno.EINVAL, errno.ESRCH, errno.ENODATA}:
            raise PeerEnded from error
        if error.errno in LACKING:
            raise
        raise _confined(f"the kernel does not say which process it is: {os.strerror(error.errno or 0)}") from error


def _confined(*reasons: str) -> PermissionDenied:
    return PermissionDenied(
        f"the daemon does not serve your process: {'; '.join(reasons)}",
        reason="policy",
        hint=HINT,
        confined=list(reasons),
    )


def _opened(pid: int) -> View:
    """Return a process, to look at; raises PermissionDenied, PeerEnded."""
    try:
        return View(pid)
    except OSError as error:
        raise _unseen(error) from error


def _unseen(error: OSError) -> Exception:
    """Return what to make of a process that we could not look at: the error itself where we lack something."""
    if error.errno in {errno.ENOENT, errno.ESRCH}:
        return PeerEnded()
    if error.errno in LACKING:
        return error
    # Fail closed: whatever keeps us from looking may be what confines it.
    return _confined(f"the daemon cannot look at it: {os.strerror(error.errno or 0)}")
