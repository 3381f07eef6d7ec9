from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from utraced.toml_lines import lines_of_keys

DOCUMENT = """\
# limits.sessions = 1
[limits]
sessions = 1   # a comment with [brackets] = {}
 "tracees" = 2
'stall_seconds'=3
[ limits . user . "a.b" ]
x.y = 1
x . "z" = { one = 1, two = [ { three = 3 }, [ 4 ] ], "f#ur" = { five = 5 } }
empty = {}
text = \"\"\"
[not.a.table]
key = 1 \\\"\"\" still
\"\"\"\"\"
raw = '''
[nor.this]
''''
list = [
  1, # ]
  "]",
]
after = "\\\\"
[[many]]
a = 1
[[many]]
b = 2
"""


def test_the_lines_of_a_document() -> None:
    assert tomllib.loads(DOCUMENT)
    user = ("limits", "user", "a.b")
    assert lines_of_keys(DOCUMENT) == {
        ("limits",): 2,
        ("limits", "sessions"): 3,
        ("limits", "tracees"): 4,
        ("limits", "stall_seconds"): 5,
        ("limits", "user"): 6,
        user: 6,
        (*user, "x"): 7,
        (*user, "x", "y"): 7,
        (*user, "x", "z"): 8,
        (*user, "x", "z", "one"): 8,
        (*user, "x", "z", "two"): 8,
        (*user, "x", "z", "f#ur"): 8,
        (*user, "x", "z", "f#ur", "five"): 8,
        (*user, "empty"): 9,
        (*user, "text"): 10,
        (*user, "raw"): 14,
        (*user, "list"): 17,
        (*user, "after"): 21,
        ("many",): 22,
        ("many", "a"): 23,
        ("many", "b"): 25,
    }


@pytest.mark.parametrize(
    ("word", "key"), [("key", "key"), ('"a\\u0062\\n"', "ab\n"), ("'a\\n'", "a\\n"), ('""', ""), ("-1_x", "-1_x")]
)
def test_keys_in_quotes(word: str, key: str) -> None:
    assert lines_of_keys(f"\n{word} = 1") == {(key,): 2}
    assert lines_of_keys(f"\n\n[{word}]") == {(key,): 3}


keys = st.text(alphabet=st.characters(codec="utf-8"), max_size=8)
words = st.sampled_from(["a", "user", "1000", "x-y"])
values: Any = st.recursive(
    st.integers(-9, 9) | st.booleans() | st.text(alphabet="ab\"'\\#[]{}=,.\n", max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys | words, inner, max_size=3),
    max_leaves=8,
)


def quoted(text: str) -> str:
    """Write a text or a key with every character escaped that may need it."""
    shown = "".join(
        character if character.isascii() and character.isalnum() else f"\\U{ord(character):08x}" for character in text
    )
    return f'"{shown}"'


def written(value: Any) -> str:
    """Write a value in one of TOML's ways."""
    match value:
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case str() if "\n" in value and "'''" not in value and not value.endswith("'"):
            return f"'''\n{value}'''"
        case str() if "\n" in value:
            inner = value.replace("\\", "\\\\").replace('"', '\\"')
            return f'"""\n{inner}"""'
        case str() if "'" not in value:
            return f"'{value}'"
        case str():
            return quoted(value)
        case list():
            return "[" + ",\n ".join(written(entry) for entry in value) + "]"
    return "{" + ", ".join(f"{quoted(key)} = {written(entry)}" for key, entry in value.items()) + "}"


def paths(value: Any, above: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """Return the paths of all keys, but for those of the tables in arrays."""
    if not isinstance(value, dict):
        return set()
    return {path for key, entry in value.items() for path in {(*above, key), *paths(entry, (*above, key))}}


@given(st.dictionaries(keys | words, st.dictionaries(keys | words, values, max_size=4), max_size=4))
def test_each_key_has_the_line_it_was_written_at(document: dict[str, dict[str, Any]]) -> None:
    text, expected = "", {}
    for name, table in document.items():
        text += f"# {quoted(name)}\n\n[{quoted(name)}]\n"
        expected[(name,)] = text.count("\n")
        for key, value in table.items():
            expected[(name, key)] = text.count("\n") + 1
            text += f"  {quoted(key)}\t= {written(value)} # the end\n"
    assert tomllib.loads(text) == document
    found = lines_of_keys(text)
    assert found.keys() == paths(document)
    assert {path: found[path] for path in expected} == expected
