import os
from types import SimpleNamespace

import pytest

from utraced.arch import MACHINES, unsupported_machine


def test_this_machine_is_supported():
    assert (unsupported_machine() is None) == (os.uname().machine in MACHINES)


@pytest.mark.parametrize(("system", "machine"), [("Linux", "riscv64"), ("Darwin", "x86_64")])
def test_another_is_named(monkeypatch, system, machine):
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(sysname=system, machine=machine))
    said = unsupported_machine()
    assert said is not None
    assert f"{system} on {machine}" in said
