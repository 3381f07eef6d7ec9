"""What docstrings tell of a class and its members."""

from __future__ import annotations

import pytest

from utraced.rpc.docstrings import markdown, parse

NAMES = ("engine", "hold", "events", "pid", "tid", "events_bytes")


@pytest.mark.parametrize(
    ("text", "summary", "description", "members"),
    [
        ("Hold it.", "Hold it.", "", {}),
        ("Hold it", "Hold it.", "", {}),
        ("Hold it.  Then ``run`` it.", "Hold it.", "Then `run` it.", {}),
        ("Hold it.\n\nMore of it.\n\nAnd more.", "Hold it.", "More of it.\n\nAnd more.", {}),
        ("Hold it.\n\n    ``hold``: until then.", "Hold it.", "", {"hold": "Until then."}),
        (
            "Hold it.\n\n    ``hold``: until then.  Or later.  ``pid``: whom; not\n    others.",
            "Hold it.",
            "",
            {"hold": "Until then. Or later.", "pid": "Whom; not others."},
        ),
        (
            "A thread.\n\n``pid``, ``tid``: which it is.  ``events`` is why, ``hold`` how.",
            "A thread.",
            "",
            {
                "pid": "`pid`, `tid`: which it is.",
                "tid": "`pid`, `tid`: which it is.",
                "events": "`events` is why, `hold` how.",
                "hold": "`events` is why, `hold` how.",
            },
        ),
        (
            "Its events; ``hold``: at each.\n\nGeneral talk of ``engine`` i.e. this.",
            "Its events.",
            "General talk of `engine` i.e. this.",
            {"hold": "At each.", "engine": "General talk of ``engine`` i.e. this.".replace("``", "`")},
        ),
        (
            "Told.\n\n``events``: all; ``events_bytes`` where it is not exact.  ``other``: no member.",
            "Told.",
            "",
            {"events": "All.", "events_bytes": "`events_bytes` where it is not exact. `other`: no member."},
        ),
        ("", "", "", {}),
    ],
)
def test_parts(text: str, summary: str, description: str, members: dict[str, str]) -> None:
    docs = parse(text, NAMES)
    assert (docs.summary, docs.description, docs.members) == (summary, description, members)


def test_names_of_several_members_must_all_be_known() -> None:
    assert parse("Two. ``pid`` and ``gid``: ids.", NAMES).members == {"pid": "`pid` and `gid`: ids."}


def test_markdown() -> None:
    assert markdown(" ``0x…`` and `x` ") == "`0x…` and `x`"
