import pytest

from utraced.errors import InvalidParams
from utraced.rpc.packet import Descriptors, Packet


def test_a_packet_is_bytes_and_descriptors() -> None:
    assert Packet(b"x") == (b"x", ())
    assert Packet(b"x", (3, 4)).fds == (3, 4)


def test_a_descriptor_is_taken_once() -> None:
    descriptors = Descriptors((7, 8))
    assert descriptors.take(1) == 8
    with pytest.raises(InvalidParams, match="index 1 has been used") as error:
        descriptors.take(1)
    assert "once" in error.value.hint
    assert descriptors.take(0) == 7


@pytest.mark.parametrize("index", [-1, 1, 15])
def test_an_index_beyond_the_packet(index: int) -> None:
    with pytest.raises(InvalidParams, match=f"no file descriptor at index {index}: the packet has 1"):
        Descriptors((7,)).take(index)


def test_a_packet_without_descriptors() -> None:
    with pytest.raises(InvalidParams, match="the packet has none"):
        Descriptors().take(0)


def test_unclaimed_forgets() -> None:
    descriptors = Descriptors((7, 8, 9))
    descriptors.take(1)
    assert descriptors.unclaimed() == [7, 9]
    assert descriptors.unclaimed() == []
    with pytest.raises(InvalidParams):
        descriptors.take(0)
