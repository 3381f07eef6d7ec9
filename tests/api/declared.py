"""How the tests of this folder decode parameters: as the daemon does."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from utraced.model import decode_hook
from utraced.rpc.method import Method

Kind = TypeVar("Kind", bound=Method[Any])


def params(kind: type[Kind], **members: Any) -> Kind:
    """Return parameters as ``kind``; raises msgspec.ValidationError."""
    return msgspec.json.decode(msgspec.json.encode(members), type=kind, dec_hook=decode_hook)
