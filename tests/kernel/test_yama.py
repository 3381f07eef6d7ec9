import pytest

from utraced.kernel import yama
from utraced.kernel.yama import HINTS, RULES, present, restricts, scope


@pytest.mark.parametrize(("text", "value"), [("0\n", 0), ("1\n", 1), ("2", 2), ("3\n", 3), ("x", 0), ("", 0)])
def test_what_the_setting_says(tmp_path, monkeypatch, text, value):
    (tmp_path / "ptrace_scope").write_text(text)
    monkeypatch.setattr(yama, "PATH", str(tmp_path / "ptrace_scope"))
    assert present()
    assert scope() == value


def test_without_yama(monkeypatch):
    monkeypatch.setattr(yama, "PATH", "/nowhere")
    assert not present()
    assert scope() == 0


@pytest.mark.parametrize(
    ("value", "user", "root"),
    [(0, False, False), (1, True, False), (2, True, False), (3, True, True), (9, False, False)],
)
def test_whom_it_restricts(value, user, root):
    assert restricts(value, privileged=False) is user
    assert restricts(value, privileged=True) is root
    assert user == (value in RULES)


def test_what_restricts_is_explained():
    assert RULES.keys() == HINTS.keys()
    for value, text in RULES.items():
        assert f"ptrace_scope is {value}" in text
