"""The merges of each organization's hour, until they are sealed: counted, numbered, read in order.

`process` records them through `processing_rows`; `seal` reads them. Rows of `merge` stay for good,
those of `merge_hour`, the accounting, until the hour is sealed.
"""
# ruff: noqa: S608 - the texts put together are constants of this package; values are bound.

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta

from tailrace.hours import Hour
from tailrace.state.closing import ProjectHourRow
from tailrace.state.dates import YEARS_AFTER, YEARS_BEFORE, dates_of
from tailrace.state.sealing import BLOCKED

# Run after the processing tables are there: the index is on one of them. `sequence` is the order
# of the records, from 1 within an organization's hour.
SCHEMA = """
CREATE TABLE IF NOT EXISTS merge_hour (
    hour INTEGER NOT NULL,
    organization INTEGER NOT NULL,
    merges INTEGER NOT NULL,
    PRIMARY KEY (hour, organization)
) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS merge_by_sequence ON merge (organization, hour, sequence);
"""

# (amplitude id, merged amplitude id, merge ms, merge server ms)
Line = tuple[int, int, int, int]

_DAY_MILLIS = 24 * 60 * 60 * 1000
_EPOCH = date(1970, 1, 1)
_FAR_DAYS = 366 * (YEARS_BEFORE + YEARS_AFTER + 1)
_OF_HOUR = "FROM merge WHERE organization = ? AND hour = ?"


def upgrade(connection: sqlite3.Connection) -> None:
    """Number and count the merges that a release recorded which did neither; else do nothing.

    Within a record their order was not kept: those of one stamp are put by amplitude id. All are
    counted, also those of hours that were sealed without them: see `sealed_without`.
    """
    columns = {row[1] for row in connection.execute("PRAGMA table_info(merge)")}
    if not columns or "sequence" in columns:
        return
    connection.execute("ALTER TABLE merge ADD COLUMN sequence INTEGER NOT NULL DEFAULT 0")
    connection.execute(
        "UPDATE merge SET sequence = numbered.number FROM (SELECT amplitude_id AS id, row_number() "
        "OVER (PARTITION BY organization, hour ORDER BY stamp, amplitude_id) AS number FROM merge) "
        "AS numbered WHERE merge.amplitude_id = numbered.id"
    )
    connection.execute("DROP INDEX IF EXISTS merge_by_hour")
    for statement in SCHEMA.split(";"):
        connection.execute(statement)
    connection.execute(
        "INSERT INTO merge_hour SELECT hour, organization, count(*) FROM merge "
        "GROUP BY hour, organization"
    )


def without_file(connection: sqlite3.Connection, hour: int, limit: int) -> list[int]:
    """Return organizations with merges in an hour whose file has no row; none of blocked ones."""
    rows = connection.execute(
        "SELECT organization FROM merge_hour WHERE hour = ? AND NOT EXISTS (SELECT 1 FROM file "
        "WHERE file.scope = -merge_hour.organization AND file.hour = merge_hour.hour) "
        f"AND NOT {BLOCKED.format(scope='-organization')} ORDER BY organization LIMIT ?",
        (hour, limit),
    )
    return [organization for (organization,) in rows]


def lines(connection: sqlite3.Connection, organization: int, hour: int) -> Iterator[Line]:
    """Yield the merges of an organization's hour in the order of their records."""
    yield from connection.execute(
        "SELECT amplitude_id, merged_amplitude_id, merge_time, merge_server_time "
        f"{_OF_HOUR} ORDER BY sequence",
        (organization, hour),
    )


def accounting(
    connection: sqlite3.Connection, organization: int, hour: int
) -> ProjectHourRow | None:
    """Return an hour's merges as counted, and as found: equal unless something is wrong.

    None where there are neither. Times are of the merges' upload, as those of events are.
    """
    counted = connection.execute(
        "SELECT merges FROM merge_hour WHERE organization = ? AND hour = ?", (organization, hour)
    ).fetchone()
    found, first, last = connection.execute(
        f"SELECT count(*), min(merge_server_time), max(merge_server_time) {_OF_HOUR}",
        (organization, hour),
    ).fetchone()
    if counted is None and found == 0:
        return None
    return ProjectHourRow(
        project=-organization,
        hour=hour,
        organization=organization,
        settings="null",
        accepted=0 if counted is None else counted[0],
        exported=found,
        duplicates=0,
        identifies=0,
        filtered=0,
        held=0,
        first_stamp=(first or 0) * 1000,
        last_stamp=(last or 0) * 1000,
    )


def dates(connection: sqlite3.Connection, organization: int, hour: int) -> dict[str, int]:
    """Return how many merges have which UTC date of merge time, oldest date first."""
    today = hour // 24
    # Counted here: SQLite would sort the whole hour in memory to group it. The ends of the range
    # are far enough from the hour to be no dates of their own.
    days = Counter(
        day
        for (day,) in connection.execute(
            f"SELECT max(?, min(?, merge_time / {_DAY_MILLIS})) {_OF_HOUR}",
            (today - _FAR_DAYS, today + _FAR_DAYS, organization, hour),
        )
    )
    found = ((f"{_EPOCH + timedelta(days=day)}", count) for day, count in days.items())
    return dict(dates_of(Hour(hour), found))


def sealed_without(connection: sqlite3.Connection) -> list[tuple[int, Hour]]:
    """Return organizations with merges in hours that are sealed, and the oldest such hour of each.

    Only a release that wrote no merged-ID files leaves any: sealing drops the hour's count.
    """
    rows = connection.execute(
        "SELECT merge_hour.organization, min(hour) FROM merge_hour JOIN scope_activity "
        "ON scope = -merge_hour.organization WHERE hour <= last_sealed_hour "
        "GROUP BY merge_hour.organization ORDER BY merge_hour.organization"
    )
    return [(organization, Hour(hour)) for organization, hour in rows]
