import os

from tests.children import isolated
from utraced.linux.closing import Closer


def test_it_closes_what_it_is_given():
    reading, writing = os.pipe()
    Closer().close([writing, 999_999])
    assert os.read(reading, 1) == b""
    os.close(reading)


def test_it_works_in_a_forked_child():
    closer = Closer()
    reading, writing = os.pipe()
    closer.close([writing])
    assert os.read(reading, 1) == b""
    os.close(reading)

    def close_there():
        reading, writing = os.pipe()
        closer.close([writing])
        return os.read(reading, 1)

    assert isolated(close_there) == b""
