import os

from tests.children import isolated
from utraced.linux.standard import silence


def test_nobody_waits_for_the_end_of_our_output() -> None:
    def act() -> tuple[set[str], bytes]:
        reading, writing = os.pipe()
        for descriptor in (0, 1, 2):
            os.dup2(writing, descriptor)
        os.close(writing)
        silence()
        return {os.readlink(f"/proc/self/fd/{number}") for number in (0, 1, 2)}, os.read(reading, 1)

    assert isolated(act) == ({os.devnull}, b"")
