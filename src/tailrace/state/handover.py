"""What sealing hands to the ledger: files as they become ready, then the sealed hour.

Called by `seal` as step 4 of its order of commits, and again after a crash; repeating is free.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tailrace import killpoints
from tailrace.errors import Corrupt
from tailrace.hours import Hour
from tailrace.state.audit import SERVICE, note
from tailrace.state.book import Book
from tailrace.state.database import one_change_at_a_time, reading, writing
from tailrace.state.derive import derive, missing
from tailrace.state.rows import file_of, values_of_file
from tailrace.state.sealed import SealedFile, SealedHour
from tailrace.state.tables import delivery, sealed_file, sealed_hour

_Key = tuple[int, int]
_KnownFiles = dict[tuple[int, int, int], SealedFile]

_WAKE = (
    delivery.update()
    .where(
        delivery.c.scope == sa.bindparam("of_scope"),
        delivery.c.hour == sa.bindparam("of_hour"),
        delivery.c.state == "pending",
    )
    .values(due_micros=0)
)


class HandOver(Book):
    """The ledger as `seal` sees it."""

    def add_files(self, files: Sequence[SealedFile], organization: int) -> None:
        """Record files whose rows are committed, and owe them to every destination of theirs.

        Raise `Corrupt`, and change nothing, if one is known with other content or belongs to an
        hour that is sealed without it.
        """
        if not files:
            return
        with self._one_hand_over() as connection:
            owned = [(file, organization) for file in files]
            known = _known_files(connection, {_key(file) for file in files})
            new = _insert_files(connection, owned, known, self.clock.now_micros())
            sealed = _digests(connection, {_key(file) for file in new})
            for file in new:
                if _key(file) in sealed:
                    raise Corrupt(
                        f"Cannot take over {file.name}: hour {file.hour} of {file.scope} is "
                        "sealed without it. Stop, and restore both databases from one backup."
                    )
            self._owe(connection, {_key(file) for file in new}, known)

    def add_hours(self, hours: Sequence[SealedHour]) -> None:
        """Record sealed hours with their files, and owe them to every destination of theirs.

        Raise `Corrupt`, and change nothing, if one is known with another record or other files.
        """
        if not hours:
            return
        with self._one_hand_over() as connection:
            keys = {_key(hour) for hour in hours}
            digests = _digests(connection, keys)
            new = [hour for hour in hours if _is_new(hour, digests)]
            owned = [(file, hour.organization) for hour in hours for file in hour.files]
            known = _known_files(connection, keys)
            _insert_files(connection, owned, known, self.clock.now_micros())
            _compare_files(hours, known)
            if new:
                connection.execute(sealed_hour.insert(), [self._values(hour) for hour in new])
            self._owe(connection, {_key(hour) for hour in new}, known)

    def reopen(self, scope: int, organization: int, first: Hour) -> None:
        """Forget a scope's sealed hours from `first` on, and their runs.

        For hours of merged IDs that an earlier release sealed without their merges, and so without
        a file. What was put for them stays in its bucket: where other bytes are due now, the run
        becomes a conflict.
        """
        with writing(self.engine) as connection:
            one_change_at_a_time(connection)
            gone = 0
            for table in (delivery, sealed_hour):
                of_scope = sa.and_(table.c.scope == scope, table.c.hour >= first.number)
                gone += connection.execute(sa.delete(table).where(of_scope)).rowcount
            if gone:
                note(
                    connection,
                    at_micros=self.clock.now_micros(),
                    who=SERVICE,
                    what="hours of merged IDs reopened",
                    changed=f"organization {organization}",
                    detail={"from_hour": str(first)},
                )

    def newest_sealed(self) -> dict[int, tuple[Hour, str]]:
        """Return each scope's newest sealed hour and its digest, to recognize a restored backup."""
        newest = (
            sa.select(sealed_hour.c.scope, sa.func.max(sealed_hour.c.hour).label("hour"))
            .group_by(sealed_hour.c.scope)
            .subquery()
        )
        statement = sa.select(sealed_hour.c.scope, sealed_hour.c.hour, sealed_hour.c.digest).join(
            newest,
            sa.and_(sealed_hour.c.scope == newest.c.scope, sealed_hour.c.hour == newest.c.hour),
        )
        with reading(self.engine) as connection:
            rows = connection.execute(statement)
            return {row.scope: (Hour(row.hour), row.digest) for row in rows}

    def open_files(self) -> list[SealedFile]:
        """Return the files of hours that are not sealed, to recognize a restored backup."""
        of_sealed = sa.exists().where(
            sealed_hour.c.scope == sealed_file.c.scope, sealed_hour.c.hour == sealed_file.c.hour
        )
        with reading(self.engine) as connection:
            return [
                file_of(row) for row in connection.execute(sa.select(sealed_file).where(~of_sealed))
            ]

    def check_derived(self, since: Hour | None = None) -> int:
        """Return how many owed runs have no row; anything but 0 is a defect to be alarmed.

        `since` narrows the look to the hours from there on.
        """
        with reading(self.engine) as connection:
            return missing(connection, since)

    @contextmanager
    def _one_hand_over(self) -> Iterator[Connection]:
        with writing(self.engine) as connection:
            one_change_at_a_time(connection)
            yield connection
            killpoints.reached("ledger.before_commit")
        killpoints.reached("ledger.handed_over")

    def _owe(self, connection: Connection, keys: set[_Key], known: _KnownFiles) -> None:
        if not keys:
            return
        oldest = Hour(min(hour for _, hour in keys))
        derive(connection, now_micros=self.clock.now_micros(), since=oldest)
        # A run that waited for its hour to bring something may be taken again; an hour of which
        # nothing was known has none. A holder at work needs no word: it looks at the files once
        # more before it lets go. One statement a key, because SQLite would rather read through
        # all pending runs than look a list of keys up.
        waiting = sorted(keys & {(scope, hour) for scope, hour, _ in known})
        if waiting:
            rows = [{"of_scope": scope, "of_hour": hour} for scope, hour in waiting]
            connection.execute(_WAKE, rows)

    def _values(self, hour: SealedHour) -> dict[str, Any]:
        return {
            "scope": hour.scope,
            "hour": hour.hour.number,
            "organization": hour.organization,
            "record": hour.record,
            "digest": hour.digest,
            "files": len(hour.files),
            "handed_over_micros": self.clock.now_micros(),
        }


def files_of(connection: Connection, scope: int, hour: Hour) -> list[SealedFile]:
    """Return the files that are known of an hour, by number."""
    rows = connection.execute(
        sa.select(sealed_file)
        .where(sealed_file.c.scope == scope, sealed_file.c.hour == hour.number)
        .order_by(sealed_file.c.number)
    )
    return [file_of(row) for row in rows]


def _known_files(connection: Connection, keys: set[_Key]) -> _KnownFiles:
    rows = _rows(connection, sealed_file, keys)
    return {(row.scope, row.hour, row.number): file_of(row) for row in rows}


def _insert_files(
    connection: Connection,
    owned: Sequence[tuple[SealedFile, int]],
    known: _KnownFiles,
    now_micros: int,
) -> list[SealedFile]:
    """Insert the files (with their organization) that are not known and return them.

    Raise `Corrupt` if a known one differs.
    """
    new: list[SealedFile] = []
    values: list[dict[str, Any]] = []
    for file, organization in owned:
        before = known.get((file.scope, file.hour.number, file.number))
        if before is None:
            more = {"organization": organization, "handed_over_micros": now_micros}
            values.append(values_of_file(file) | more)
            new.append(file)
        elif before != file:
            raise Corrupt(
                f"Cannot take over {file.name}: the ledger knows it with SHA-256 {before.sha256} "
                f"and {before.size_bytes} bytes, not {file.sha256} and {file.size_bytes}. "
                "Stop, and restore both databases and the archive from one backup."
            )
    if values:
        connection.execute(sealed_file.insert(), values)
    return new


def _is_new(hour: SealedHour, known: dict[_Key, str]) -> bool:
    digest = known.get(_key(hour))
    if digest is not None and digest != hour.digest:
        raise Corrupt(
            f"Cannot take over hour {hour.hour} of {hour.scope}: the ledger knows its seal record "
            f"with digest {digest}, not {hour.digest}. "
            "Stop, and restore both databases from one backup."
        )
    return digest is None


def _compare_files(hours: Sequence[SealedHour], known: _KnownFiles) -> None:
    """Raise if the ledger knew a file of a sealed hour that its record does not name."""
    named = {(hour.scope, hour.hour.number, file.number) for hour in hours for file in hour.files}
    for key, file in known.items():
        if key not in named:
            raise Corrupt(
                f"Cannot take over hour {file.hour} of {file.scope}: its seal record does not "
                f"name {file.name}, which was handed over before. "
                "Stop, and restore both databases from one backup."
            )


def _digests(connection: Connection, keys: set[_Key]) -> dict[_Key, str]:
    rows = _rows(connection, sealed_hour, keys)
    return {(row.scope, row.hour): row.digest for row in rows}


def _rows(connection: Connection, table: sa.Table, keys: set[_Key]) -> Iterator[Row[Any]]:
    """Yield the rows of the keys.

    What is handed over together is mostly one hour's, scope after scope: to read the range and
    leave out what lies between costs a fraction of naming every key.
    """
    scopes: dict[int, list[int]] = {}
    for scope, hour in keys:
        scopes.setdefault(hour, []).append(scope)
    for hour, of_hour in scopes.items():
        statement = sa.select(table).where(
            table.c.hour == hour, table.c.scope.between(min(of_hour), max(of_hour))
        )
        for row in connection.execute(statement):
            if (row.scope, row.hour) in keys:
                yield row


def _key(of: SealedFile | SealedHour) -> _Key:
    return of.scope, of.hour.number
