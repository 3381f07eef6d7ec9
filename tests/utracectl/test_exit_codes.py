from __future__ import annotations

import re
from pathlib import Path

from utracectl import exit_codes

ROOT = Path(__file__).resolve().parents[2]
CODES = {name: value for name, value in vars(exit_codes).items() if isinstance(value, int)}


def test_each_code_has_a_meaning_of_its_own() -> None:
    assert len(set(CODES.values())) == len(CODES)
    assert CODES == {"OK": 0, "ERROR": 1, "USAGE": 2, "FAILED": 125, "NOT_EXECUTABLE": 126, "NOT_FOUND": 127}


def test_help_and_readme_name_them_all() -> None:
    assert {int(number) for number in re.findall(r"\b\d+\b", exit_codes.HELP)} == set(CODES.values())
    readme = (ROOT / "README.md").read_text()
    assert {int(number) for number in re.findall(r"^\| (\d+) \|", readme, re.MULTILINE)} == set(CODES.values())
