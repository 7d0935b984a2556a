"""The age of a part of the data folder: a number that each start of the service draws anew.

Kept in the log, the processing database and the ledger. A part that was copied back from an older
folder has another one than the rest, though all that it holds looks sound.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from tailrace.errors import Corrupt
from tailrace.files import Files
from tailrace.ids import SystemIds
from tailrace.state.database import reading, writing
from tailrace.state.processing import ProcessingStore
from tailrace.state.tables import counter

_NOW = "age"
_NEXT = "age_next"


class Age(msgspec.Struct, frozen=True):
    """The age that a part has, and the one that it is about to have; alike but for a crash."""

    now: int
    next: int


_decode_age = msgspec.json.Decoder(Age).decode


class LedgerAge:
    """The age of the database of accounts, destinations and the ledger."""

    def __init__(self, path: Path, engine: Engine) -> None:
        self.path = path
        self._engine = engine

    def read(self) -> Age | None:
        """Return the age; None if there is none yet."""
        statement = sa.select(counter.c.name, counter.c.value).where(
            counter.c.name.in_((_NOW, _NEXT))
        )
        with reading(self._engine) as connection:
            found = {row.name: row.value for row in connection.execute(statement)}
        return Age(found[_NOW], found[_NEXT]) if len(found) == 2 else None

    def write(self, age: Age) -> None:
        """Keep the age; on return it is durable."""
        with writing(self._engine) as connection:
            connection.execute(counter.delete().where(counter.c.name.in_((_NOW, _NEXT))))
            rows = [{"name": _NOW, "value": age.now}, {"name": _NEXT, "value": age.next}]
            connection.execute(counter.insert(), rows)


class ProcessingAge:
    """The age of the processing database; opened for each look, while no processor runs."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Age | None:
        """Return the age; None if there is none yet."""
        if not self.path.exists():
            return None
        store = ProcessingStore.open(self.path, SystemIds())
        try:
            now, following = store.meta(_NOW), store.meta(_NEXT)
        finally:
            store.close()
        if not isinstance(now, int) or not isinstance(following, int):
            return None
        return Age(now, following)

    def write(self, age: Age) -> None:
        """Keep the age; on return it is durable."""
        store = ProcessingStore.open(self.path, SystemIds())
        try:
            with store.transaction():
                store.set_meta(_NOW, age.now)
                store.set_meta(_NEXT, age.next)
        finally:
            store.close()


class FolderAge:
    """The age of a folder, in a small file within it."""

    def __init__(self, path: Path, files: Files) -> None:
        self.path = path
        self._file = path / "age.json"
        self._files = files

    def read(self) -> Age | None:
        """Return the age; None if there is none yet."""
        try:
            return _decode_age(self._file.read_bytes())
        except FileNotFoundError:
            return None
        except msgspec.MsgspecError as error:
            raise Corrupt(f"{self._file} can't be read: {error}. Restore it.") from error

    def write(self, age: Age) -> None:
        """Keep the age; on return it is durable."""
        self._files.make_folder(self.path)
        self._files.put_whole(self._file, [msgspec.json.encode(age)], point="age")
