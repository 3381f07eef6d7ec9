from __future__ import annotations

import resource

from tests.children import NOBODY, become, isolated, needs_root
from utraced.linux.capabilities import CAP_IPC_LOCK, permitted, set_capabilities
from utraced.linux.limits import locked_memory_limited, raise_locked_memory, raise_open_files


def test_the_soft_limit_becomes_the_hard_one_and_is_told() -> None:
    def work() -> tuple[int, tuple[int, int], int]:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 128))
        return raise_open_files(), resource.getrlimit(resource.RLIMIT_NOFILE), raise_open_files()

    assert isolated(work) == (64, (128, 128), 128)


@needs_root
def test_memory_may_be_locked_as_far_as_we_may_have_it() -> None:
    def work(*, root: bool) -> tuple[int, int]:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (4096, 8192))
        if not root:
            become(NOBODY)
        raise_locked_memory()
        return resource.getrlimit(resource.RLIMIT_MEMLOCK)

    assert isolated(lambda: work(root=False)) == (8192, 8192)
    assert isolated(lambda: work(root=True))[0] in {resource.RLIM_INFINITY, 8192}


@needs_root
def test_locked_memory_is_limited_by_its_limit_and_not_for_who_may_lock_all() -> None:
    def work() -> list[bool]:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (8192, 8192))
        able = locked_memory_limited()
        set_capabilities(permitted() & ~CAP_IPC_LOCK)
        return [able, locked_memory_limited()]

    assert isolated(work) == [False, True]
