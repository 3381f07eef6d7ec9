"""Write tests/openrpc.json: the OpenRPC document as it is now, so that each change of the contract shows in its diff.

Usage: ``write_openrpc.py [--check]``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from utraced.api.document import document

TARGET = Path(__file__).resolve().parent.parent / "tests" / "openrpc.json"


def text() -> str:
    """Return the document as it is committed: one member a line, for the eye and for diffs."""
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the file, or with --check say whether it is as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, fail where the file differs")
    options = parser.parse_args(arguments)
    wanted = text()
    if options.check:
        if not TARGET.exists() or TARGET.read_text(encoding="utf-8") != wanted:
            print(f"{TARGET.name} is out of date: run tools/write_openrpc.py", file=sys.stderr)
            return 1
        return 0
    TARGET.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
