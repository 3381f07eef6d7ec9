from __future__ import annotations

import pytest

from utraced.audit import Audit
from utraced.configuration import Limits
from utraced.errors import LimitExceeded
from utraced.handlers.sessions import Sessions
from utraced.kernel.tracer import Tracer
from utraced.model import Peer


def sessions(**limits: int) -> Sessions:
    return Sessions(Tracer(lambda _: None), Limits(**limits), Audit())


def peer(uid: int) -> Peer:
    return Peer(pid=1, uid=uid, gid=uid)


def test_numbers_are_never_used_again() -> None:
    all_of_them = sessions()
    first = all_of_them.add(peer(1))
    all_of_them.remove(first)
    assert all_of_them.add(peer(1)).session == 2


def test_each_knows_the_others() -> None:
    all_of_them = sessions(stall_seconds=7)
    one, other = all_of_them.add(peer(1)), all_of_them.add(peer(2))
    assert one.fellows is other.fellows
    assert list(one.fellows.values()) == [one, other]
    assert one.limits.stall_seconds == 7
    all_of_them.remove(one)
    assert list(other.fellows.values()) == [other]


def test_each_user_has_a_number_of_them() -> None:
    all_of_them = sessions(sessions=2)
    first = all_of_them.add(peer(1))
    all_of_them.add(peer(1))
    with pytest.raises(LimitExceeded) as caught:
        all_of_them.add(peer(1))
    assert caught.value.data == {"limit": "sessions", "value": 2}
    all_of_them.add(peer(2))
    all_of_them.remove(first)
    all_of_them.remove(first)  # once only
    all_of_them.add(peer(1))
    with pytest.raises(LimitExceeded):
        all_of_them.add(peer(1))
