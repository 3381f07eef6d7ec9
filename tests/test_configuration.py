from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from utraced.configuration import BadConfiguration, Broker, Configuration, Idle, Limits, parse

FULL = """\
[limits]
sessions = 10
tracees = 100

[limits.user.alice]
sessions = 20
[limits.user.1000]
sessions = 30

[idle]
worker = 5
[broker]
foreign_pid_namespaces = true
"""


def wrong(text: str) -> str:
    with pytest.raises(BadConfiguration) as caught:
        parse(text, place="/etc/x.toml")
    return str(caught.value)


def test_nothing_is_the_defaults() -> None:
    assert parse("") == Configuration(limits=Limits(), users={}, idle=Idle(worker=60), broker=Broker())
    assert not parse("").broker.foreign_pid_namespaces
    assert parse("[limits]\n[limits.user]\n[idle]\n[broker]\n") == Configuration()


def test_what_a_file_says() -> None:
    found = parse(FULL)
    assert found.limits == Limits(sessions=10, tracees=100)
    assert found.idle.worker == 5
    assert found.broker.foreign_pid_namespaces


def test_the_example_for_people_has_the_defaults() -> None:
    text = (Path(__file__).parent.parent / "README.md").read_text()
    [example] = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    found = parse(example)
    assert (found.limits, found.idle, found.broker) == (Limits(), Idle(), Broker())
    for name in (*Limits.__struct_fields__, *Idle.__struct_fields__, *Broker.__struct_fields__):
        assert f"{name} = " in example


def test_a_user_has_everybody_s_limits_but_for_his_own() -> None:
    found = parse(FULL)
    assert found.limits_of(7, "bob") == found.limits_of(7, None) == Limits(sessions=10, tracees=100)
    assert found.limits_of(7, "alice") == Limits(sessions=20, tracees=100)
    assert found.limits_of(1000, "bob") == Limits(sessions=30, tracees=100)
    assert found.limits_of(1000, "alice") == Limits(sessions=30, tracees=100)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["", "[limits]", "sesions = 1"], "line 3: limits.sesions: unknown key, did you mean sessions?"),
        (
            ["[limits]", "zzz = 1"],
            "line 2: limits.zzz: unknown key, allowed are sessions, workers, tracees, queue_bytes, stall_seconds, user",
        ),
        (["[limit]"], "line 1: limit: unknown key, did you mean limits?"),
        (["[limits.users.a]"], "line 1: limits.users: unknown key, did you mean user?"),
        (["limits = 3"], "line 1: limits: 3 is not allowed, a table is"),
        (["[[limits]]"], "line 1: limits: an array is not allowed, a table is"),
        (["limits.sessions = 0"], "line 1: limits.sessions: 0 is not allowed, a whole number from 1 to 100000 is"),
        (
            ["limits = {tracees = 1, sessions = -1}"],
            "line 1: limits.sessions: -1 is not allowed, a whole number from 1 to 100000 is",
        ),
        (
            ["[limits]", 'sessions = "many"'],
            "line 2: limits.sessions: a text is not allowed, a whole number from 1 to 100000 is",
        ),
        (
            ["[limits]", "stall_seconds = true"],
            "line 2: limits.stall_seconds: true or false is not allowed, a whole number from 1 to 86400 is",
        ),
        (
            ["[idle]", "worker = 1.5"],
            "line 2: idle.worker: a number with a fraction is not allowed, a whole number from 1 to 86400 is",
        ),
        (
            ["[idle]", f"worker = {10**30}"],
            "line 2: idle.worker: this value is not allowed, a whole number from 1 to 86400 is",
        ),
        (
            ["[broker]", "foreign_pid_namespaces = 1"],
            "line 2: broker.foreign_pid_namespaces: 1 is not allowed, true or false is",
        ),
        (
            ["[limits.user.alice]", "", "worker = 1"],
            "line 3: limits.user.alice.worker: unknown key, did you mean workers?",
        ),
        (["[limits]", "user = 7"], "line 2: limits.user: 7 is not allowed, a table for each user is"),
        (["[limits]", "user.alice = 7"], "line 2: limits.user.alice: 7 is not allowed, a table is"),
        (
            ["[limits.user.01]"],
            "line 1: limits.user.01: no user: a name or a number from 0 to 4294967294 is allowed",
        ),
        (
            ["[limits.user]", '"" = {}'],
            'line 2: limits.user."": no user: a name or a number from 0 to 4294967294 is allowed',
        ),
        (
            ["[limits.user.4294967295]"],
            "line 1: limits.user.4294967295: no user: a name or a number from 0 to 4294967294 is allowed",
        ),
        (["[limits]", "sessions 1"], "line 2: Expected '=' after a key in a key/value pair (sessions 1)"),
        (["[limits]", "sessions = 1", "sessions = 2"], "line 3: Cannot overwrite a value (sessions)"),
        (["[limits]", 'x = """'], "line 2: Unterminated string (x)"),
    ],
)
def test_one_line_says_what_is_wrong_and_where(lines: list[str], message: str, end: str) -> None:
    assert wrong(end.join(lines)) == f"/etc/x.toml: {message}"


def test_the_first_of_several_is_told() -> None:
    assert ": line 2: idle.b:" in wrong("[idle]\nb = 1\na = 2\n[broker]\nc = 1\n")
    assert ": line 2: idle.b:" in wrong("[idle]\nb = 1\n[limits]\nc = 1\n")


def test_what_a_file_says_cannot_move_a_cursor() -> None:
    assert wrong('"a\\u001b[31m\\n\\u202e" = 1').startswith('/etc/x.toml: line 1: "a\\x1b[31m\\n\\u202e": unknown key')


def test_deep_and_long_nonsense() -> None:
    assert "nested too deeply" in wrong("a = " + "[" * 5000)
    assert "digits" in wrong("a = " + "1" * 5000)
    assert len(wrong('"' + "x" * 5000 + '" = 1')) < 300


def test_limits_that_a_packet_would_not_fit_are_not_to_be_had() -> None:
    assert "262144" in wrong("limits.queue_bytes = 1000")


WORDS = ["[limits]", "[[", "]]", "[limits.user.bob]", "sessions", "=", "1", "0", "-7", "true", '"', "'", ""]
MORE = ['"""', "{", "}", ",", ".", "# ", "\\u0000", "\t", "\n", "\r\n", "idle", "worker", " "]
ANY = st.text() | st.lists(st.sampled_from(WORDS + MORE)).map("".join)


@given(ANY)
@example('"\\U0001F600".x = 1')
@example("[limits]\nuser = [{a = 1}]")
def test_any_text_is_a_configuration_or_the_one_error(text: str) -> None:
    try:
        found = parse(text)
    except BadConfiguration as error:
        said = str(error)
    else:
        assert found.limits.sessions >= 1
        return
    assert re.match(r"/etc/utraced\.toml: (line \d+: |it is nested|a number)", said)
    assert said.isprintable()
