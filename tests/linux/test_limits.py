from __future__ import annotations

import resource

from tests.children import isolated
from utraced.linux.limits import raise_open_files


def test_the_soft_limit_becomes_the_hard_one_and_is_told() -> None:
    def work() -> tuple[int, tuple[int, int], int]:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 128))
        return raise_open_files(), resource.getrlimit(resource.RLIMIT_NOFILE), raise_open_files()

    assert isolated(work) == (64, (128, 128), 128)
