"""View values of policies: a text in pieces, so that what is blank or new stands out."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Literal

from tailrace.app.policy import BLANKS

PieceKind = Literal["", "blank", "added"]
Pieces = tuple[tuple[str, PieceKind], ...]

_BLANK = re.compile("({})".format("|".join(map(re.escape, BLANKS))))


def with_blanks(text: str) -> Pieces:
    """Return a text with what is still to be filled in as pieces of their own."""
    return tuple((piece, "blank" if piece in BLANKS else "") for piece in _BLANK.split(text))


def with_added(policy: str, missing: Collection[str]) -> Pieces:
    """Return a policy's JSON with the lines of missing actions as pieces of their own.

    A piece holds its line break, which a browser would else draw twice or not at all.
    """
    lines = policy.splitlines(keepends=True)
    return tuple((line, "added" if _action(line) in missing else "") for line in lines)


def _action(line: str) -> str:
    return line.strip().rstrip(",").strip('"')
