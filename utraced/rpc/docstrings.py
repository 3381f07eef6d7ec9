"""What docstrings tell of a class and of each of its members, as Markdown.

A sentence, or a clause after a semicolon, that begins with the names of members is theirs (````hold``: the reply comes
when …``), with the sentences after it in its paragraph.  The rest is the class's own.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from inspect import cleandoc
from typing import NamedTuple

_SENTENCES = re.compile(r"(?<=\.)\s+(?=[A-Z`])")
_PARTS = re.compile(r"((?<=\.)\s+(?=[A-Z`])|;\s+(?=``))")
_NAME = r"``[\w…]+``"
_SUBJECTS = re.compile(rf"({_NAME}(?:(?:, and |, | and | or ){_NAME})*)(: )?")


class Docs(NamedTuple):
    """A docstring taken apart: the first sentence, what else is said of the class, and what is said of members."""

    summary: str
    description: str
    members: dict[str, str]


def parse(text: str, names: Collection[str]) -> Docs:
    """Take a docstring apart; ``names`` are the members, as they are called on the wire.

    A member that no sentence begins with has the first one that names it.
    """
    text = cleandoc(text)
    general: list[str] = []
    members: dict[str, str] = {}
    for paragraph in re.split(r"\n\s*\n", text):
        subjects: Sequence[str] = ()
        own = ""
        parts = _PARTS.split(" ".join(paragraph.split()))
        for part, separator in zip(parts[::2], ["", *parts[1::2]], strict=True):
            begun = _subjects(part, names)
            subjects = begun or subjects
            for name in subjects:
                before = members.get(name, "")
                told = _without_name(part) if len(begun) == 1 else part
                members[name] = f"{before}{_joint(before, separator)}{told}"
            if not subjects:
                own += (separator if own else "") + part
        general.append(own)
    sentences = _SENTENCES.split(" ".join(text.split()))
    for name in names:
        mention = next((sentence for sentence in sentences if f"``{name}``" in sentence), "")
        members.setdefault(name, mention)
    summary, *rest = _SENTENCES.split(general[0], maxsplit=1)
    description = "\n\n".join(part for part in (*rest, *general[1:]) if part)
    described = {name: markdown(_ended(told)) for name, told in members.items() if told}
    return Docs(markdown(_ended(summary)), markdown(description), described)


def markdown(text: str) -> str:
    """Return reStructuredText as Markdown, as far as docstrings use it."""
    return text.replace("``", "`").strip()


def _subjects(part: str, names: Collection[str]) -> Sequence[str]:
    """Return the members with which a sentence begins."""
    match = _SUBJECTS.match(part)
    found = [] if match is None else [name.strip("`") for name in re.findall(_NAME, match[1])]
    return found if all(name in names for name in found) else ()


def _without_name(part: str) -> str:
    """Return a sentence without the name that it is about, where a colon follows that."""
    match = _SUBJECTS.match(part)
    if match is None or not match[2]:
        return part
    rest = part[match.end() :]
    return rest[:1].upper() + rest[1:]


def _joint(before: str, separator: str) -> str:
    """Return what stands between what is told of a member and what is told next."""
    return "" if not before else " " if before.endswith(".") else separator


def _ended(text: str) -> str:
    return text if not text or text.endswith((".", "!", "?")) else f"{text}."
