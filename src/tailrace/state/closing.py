"""Which hours are due to be sealed, the sealed ones with their chain, and the alarms of the rest.

Every function takes the processing database's connection, as those of `sealing.py` do; writes
belong inside one of its transactions.
"""
# ruff: noqa: S608 - the texts put together are constants of this package; values are bound.

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

import msgspec

from tailrace.hours import Hour
from tailrace.state.sealed import SealedHour
from tailrace.state.sealing import BLOCKED, files_of

# An hour without events is sealed, empty, while the scope had events within this many hours; a
# quieter scope gets no sealed hours until its next event (section 7 of the format: seven days).
QUIET_AFTER_HOURS = 7 * 24


class ProjectHourRow(msgspec.Struct, frozen=True):
    """The accounting of one project's hour, kept until the hour is sealed. Stamps are micros.

    Under minus an organization as `project` that of its merges, which are what is exported then.
    """

    project: int
    hour: int
    organization: int
    settings: str
    accepted: int
    exported: int
    duplicates: int
    identifies: int
    filtered: int
    held: int
    first_stamp: int
    last_stamp: int


class DueScope(msgspec.Struct, frozen=True):
    """A scope whose hour is to be sealed, and the newest hour of it that is."""

    scope: int
    organization: int
    with_events: bool
    last_sealed_hour: int | None
    last_digest: str | None


def project_hour(connection: sqlite3.Connection, project: int, hour: int) -> ProjectHourRow | None:
    """Return the accounting of a project's hour; None if nothing was accepted in it."""
    row = connection.execute(
        "SELECT project, hour, organization, settings, accepted, exported, duplicates, identifies, "
        "filtered, held, first_stamp, last_stamp FROM project_hour WHERE project = ? AND hour = ?",
        (project, hour),
    ).fetchone()
    return None if row is None else ProjectHourRow(*row)


def event_dates(connection: sqlite3.Connection, project: int, hour: int) -> dict[str, int]:
    """Return how many exported lines have which date of event time, oldest date first."""
    rows = connection.execute(
        "SELECT date, events FROM event_date WHERE project = ? AND hour = ? ORDER BY date",
        (project, hour),
    )
    return {date: int(events) for date, events in rows}


def oldest_hour_with_events(connection: sqlite3.Connection, after: int | None) -> int | None:
    """Return the oldest hour after `after` with something accepted, or a merge, to be sealed."""
    row = connection.execute(
        "SELECT min(hour) FROM (SELECT min(hour) AS hour FROM project_hour WHERE hour > :after "
        "UNION ALL SELECT min(hour) FROM merge_hour WHERE hour > :after)",
        {"after": -1 if after is None else after},
    ).fetchone()
    return None if row[0] is None else int(row[0])


def due_scopes(connection: sqlite3.Connection, hour: int, limit: int) -> list[DueScope]:
    """Return scopes whose `hour` is to be sealed now, organizations before their projects.

    A project is due if it accepted something in the hour, or if it is not quiet; an organization
    if any of its projects is. Blocked scopes wait, and so do all their later hours.
    """
    rows = connection.execute(
        f"""
        WITH with_events AS (
            SELECT project AS scope, organization FROM project_hour WHERE hour = :hour
            UNION
            SELECT -organization, organization FROM project_hour WHERE hour = :hour
            UNION
            SELECT -organization, organization FROM merge_hour WHERE hour = :hour
        ), candidate AS (
            SELECT scope, organization FROM with_events
            UNION
            SELECT scope, organization FROM scope_activity WHERE last_event_hour >= :not_quiet
        )
        SELECT candidate.scope, candidate.organization,
            candidate.scope IN (SELECT scope FROM with_events), last_sealed_hour, last_digest
        FROM candidate LEFT JOIN scope_activity USING (scope)
        WHERE coalesce(last_sealed_hour, :hour - 1) < :hour
            AND NOT {BLOCKED.format(scope="candidate.scope")}
        ORDER BY candidate.scope LIMIT :limit
        """,
        {"hour": hour, "not_quiet": hour - QUIET_AFTER_HOURS, "limit": limit},
    )
    return [
        DueScope(scope, organization, bool(with_events), last_hour, last_digest)
        for scope, organization, with_events, last_hour, last_digest in rows
    ]


def any_scope_awake(connection: sqlite3.Connection, hour: int) -> bool:
    """Say whether a scope had events so lately that `hour` is sealed for it without any."""
    row = connection.execute(
        "SELECT EXISTS (SELECT 1 FROM scope_activity WHERE last_event_hour >= ?)",
        (hour - QUIET_AFTER_HOURS,),
    ).fetchone()
    return bool(row[0])


def newest_links(connection: sqlite3.Connection) -> dict[int, tuple[Hour, str]]:
    """Return each scope's newest sealed hour and its digest."""
    rows = connection.execute("SELECT scope, last_sealed_hour, last_digest FROM scope_activity")
    return {scope: (Hour(hour), digest) for scope, hour, digest in rows}


def add_hour(connection: sqlite3.Connection, sealed: SealedHour, due: DueScope) -> None:
    """Record a sealed hour, not handed over, as the newest link of its scope's chain.

    The hour's accounting rows go in the same transaction: the seal record holds them now.
    """
    hour = sealed.hour.number
    connection.execute(
        "INSERT INTO sealed_hour (scope, hour, organization, record, digest) "
        "VALUES (?, ?, ?, ?, ?)",
        (sealed.scope, hour, sealed.organization, sealed.record, sealed.digest),
    )
    connection.execute(
        "INSERT INTO scope_activity "
        "(scope, organization, last_event_hour, last_sealed_hour, last_digest) "
        "VALUES (:scope, :organization, :hour, :hour, :digest) ON CONFLICT (scope) DO UPDATE SET "
        "last_event_hour = CASE WHEN :with_events THEN :hour ELSE last_event_hour END, "
        "last_sealed_hour = :hour, last_digest = :digest",
        {
            "scope": sealed.scope,
            "organization": sealed.organization,
            "hour": hour,
            "digest": sealed.digest,
            "with_events": due.with_events,
        },
    )
    for table in ("project_hour", "event_date"):
        connection.execute(
            f"DELETE FROM {table} WHERE project = ? AND hour = ?", (sealed.scope, hour)
        )
    connection.execute(
        "DELETE FROM merge_hour WHERE organization = ? AND hour = ?", (-sealed.scope, hour)
    )
    connection.execute("DELETE FROM alarm WHERE scope = ? AND hour = ?", (sealed.scope, hour))


def reopen(connection: sqlite3.Connection, scope: int, first: int) -> None:
    """Take back a scope's sealed hours from `first` on, so that they are sealed once more.

    Only for hours that were sealed without what belongs in them, and have no files.
    """
    connection.execute("DELETE FROM sealed_hour WHERE scope = ? AND hour >= ?", (scope, first))
    link = connection.execute(
        "SELECT hour, digest FROM sealed_hour WHERE scope = ? ORDER BY hour DESC LIMIT 1", (scope,)
    ).fetchone()
    if link is None:
        connection.execute("DELETE FROM scope_activity WHERE scope = ?", (scope,))
    else:
        connection.execute(
            "UPDATE scope_activity SET last_sealed_hour = ?, last_digest = ? WHERE scope = ?",
            (*link, scope),
        )


def hours_to_hand_over(connection: sqlite3.Connection, limit: int) -> list[SealedHour]:
    """Return sealed hours that the ledger may not know, oldest first, with their files."""
    rows = connection.execute(
        "SELECT scope, organization, hour, record, digest FROM sealed_hour "
        "WHERE handed_over = 0 ORDER BY hour, scope LIMIT ?",
        (limit,),
    ).fetchall()
    return [
        SealedHour(
            scope, organization, Hour(hour), record, digest, files_of(connection, scope, hour)
        )
        for scope, organization, hour, record, digest in rows
    ]


def mark_hours(connection: sqlite3.Connection, hours: Iterable[SealedHour]) -> None:
    """Note that the ledger holds these hours."""
    connection.executemany(
        "UPDATE sealed_hour SET handed_over = 1 WHERE scope = ? AND hour = ?",
        ((sealed.scope, sealed.hour.number) for sealed in hours),
    )


def sealed_digest(connection: sqlite3.Connection, scope: int, hour: int) -> str | None:
    """Return the digest of a sealed hour; None if this database does not know it."""
    row = connection.execute(
        "SELECT digest FROM sealed_hour WHERE scope = ? AND hour = ?", (scope, hour)
    ).fetchone()
    return None if row is None else str(row[0])


def raise_alarm(connection: sqlite3.Connection, scope: int, hour: int, sentence: str) -> None:
    """Keep a sentence for `status`, and let this scope's hours wait from `hour` on."""
    connection.execute(
        "INSERT INTO alarm (scope, hour, sentence) VALUES (?, ?, ?) "
        "ON CONFLICT (scope, hour) DO UPDATE SET sentence = excluded.sentence, blocking = 1",
        (scope, hour, sentence),
    )


def alarms(connection: sqlite3.Connection) -> list[tuple[int, Hour, str]]:
    """Return scope, hour and sentence of every hour that could not be sealed."""
    rows = connection.execute("SELECT scope, hour, sentence FROM alarm ORDER BY hour, scope")
    return [(scope, Hour(hour), sentence) for scope, hour, sentence in rows]


def oldest_alarm_hour(connection: sqlite3.Connection) -> int | None:
    """Return the oldest hour that could not be sealed."""
    row = connection.execute("SELECT min(hour) FROM alarm").fetchone()
    return None if row[0] is None else int(row[0])


def unblock(connection: sqlite3.Connection) -> None:
    """Let every alarmed hour be tried again; its alarm stays until it is sealed."""
    connection.execute("UPDATE alarm SET blocking = 0 WHERE blocking = 1")
