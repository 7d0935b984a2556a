"""The revisions of the tables, oldest first; each is a file in `versions/`."""

from __future__ import annotations

# Kept here so that a start with nothing to do needs no Alembic; a test compares it with the files.
REVISIONS: tuple[str, ...] = (
    "0001",
    "0002",
    "0003",
    "0004",
    "0005",
    "0006",
    "0007",
    "0008",
    "0009",
    "0010",
    "0011",
    "0012",
    "0013",
    "0014",
    "0015",
)
