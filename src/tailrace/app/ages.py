"""Refuse a data folder whose parts are of different age; called by `serve` before they run.

An older log, processing database or ledger among newer ones would lose events that were answered
200, keys, or what was delivered, and each of them alone looks sound.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sqlalchemy.engine import Engine

from tailrace.errors import NeedsOperator
from tailrace.files import Files
from tailrace.folder import DataFolder
from tailrace.ids import Ids
from tailrace.state.ages import Age, FolderAge, LedgerAge, ProcessingAge

# Positive in SQLite's and PostgreSQL's whole numbers; no two starts draw the same.
_AGE_BYTES = 7
# Before the first start, and in folders of releases that knew no ages.
NEVER = Age(0, 0)


class Aged(Protocol):
    """A part of the folder that has an age."""

    @property
    def path(self) -> object:
        """Where it lies, for people."""
        ...

    def read(self) -> Age | None:
        """Return the age; None if there is none yet."""
        ...

    def write(self, age: Age) -> None:
        """Keep the age; on return it is durable."""
        ...


def aged_parts(folder: DataFolder, engine: Engine, files: Files) -> list[Aged]:
    """Return the parts that must be of one age."""
    return [
        LedgerAge(folder.database, engine),
        ProcessingAge(folder.processing_database),
        FolderAge(folder.log, files),
    ]


def renew(parts: Sequence[Aged], ids: Ids) -> None:
    """Check that all parts are of one age, and give them a new one.

    A crash at any moment leaves parts of one age. Raise `NeedsOperator`, with nothing changed, if
    a part was copied back from another time.
    """
    ages = [part.read() or NEVER for part in parts]
    drawn = int.from_bytes(ids.random_bytes(_AGE_BYTES), "big")
    if len({age.now for age in ages}) == 1:
        now = ages[0].now
    elif len({age.next for age in ages}) == 1:
        # The last start was cut short when all parts knew their next age.
        now = ages[0].next
        _write(parts, Age(now, now))
    else:
        raise _different(parts)
    _write(parts, Age(now, drawn))
    _write(parts, Age(drawn, drawn))


def _write(parts: Sequence[Aged], age: Age) -> None:
    for part in parts:
        part.write(age)


def _different(parts: Sequence[Aged]) -> NeedsOperator:
    names = ", ".join(str(part.path) for part in parts)
    return NeedsOperator(
        f"Cannot start: {names} are of different age, so at least one of them was copied back from "
        "an older folder. Events, keys or deliveries would be missing. Restore the whole data "
        "folder from one backup; nothing was changed."
    )
