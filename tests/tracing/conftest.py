import pytest

from .playbook import Playbook


@pytest.fixture
def play() -> Playbook:
    return Playbook()
