from __future__ import annotations

import resource

from tests.children import NOBODY, become, isolated, needs_root
from utraced.linux.capabilities import CAP_IPC_LOCK, permitted, set_capabilities
from utraced.linux.limits import locked_memory_limited, raise_locked_memory, raise_open_files

CAP_SYS_RESOURCE = 1 << 24


def test_the_soft_limit_becomes_the_hard_one_and_is_told() -> None:
    def work() -> tuple[int, tuple[int, int], int]:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 128))
        return raise_open_files(), resource.getrlimit(resource.RLIMIT_NOFILE), raise_open_files()

    assert isolated(work) == (64, (128, 128), 128)


@needs_root
def test_memory_may_be_locked_as_far_as_we_may_have_it() -> None:
    def work(*, root: bool) -> tuple[bool, tuple[int, int]]:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (4096, 8192))
        if not root:
            become(NOBODY)
        return raise_locked_memory(), resource.getrlimit(resource.RLIMIT_MEMLOCK)

    limited, unlimited = (False, (8192, 8192)), (True, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert isolated(lambda: work(root=False)) == limited
    assert isolated(lambda: work(root=True)) == (unlimited if permitted() & CAP_SYS_RESOURCE else limited)


@needs_root
def test_locked_memory_is_limited_by_its_limit_and_not_for_who_may_lock_all() -> None:
    able = bool(permitted() & CAP_IPC_LOCK)

    def work() -> list[bool]:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (8192, 8192))
        before = locked_memory_limited()
        set_capabilities(permitted() & ~CAP_IPC_LOCK)
        return [before, locked_memory_limited()]

    assert isolated(work) == [not able, True]
