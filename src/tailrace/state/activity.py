"""`Activity`: what happened at a destination, and who did it, in one list of several tables.

Called by the pages; the newest comes first. What people change is in the audit trail, what happens
by itself in the rows of outages and manual exports.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import msgspec
import sqlalchemy as sa

from tailrace.hours import Hour
from tailrace.state.audit import SERVICE
from tailrace.state.book import ReadingBook
from tailrace.state.database import reading
from tailrace.state.tables import audit, manual_export, outage

ActivityKind = Literal["settings", "manual export", "access"]
ACTIVITY_KINDS: tuple[ActivityKind, ...] = get_args(ActivityKind)

# No page and no download asks for more at once.
HAPPENINGS_MAX = 10_000
# What the rows are called that nobody wrote into the trail.
REFUSED, BACK, FINISHED = "access refused", "access back", "finished"


class Happening(msgspec.Struct, frozen=True):
    """One thing that happened, at `at_micros` of the service's time.

    `number` is that of the manual export, or of the outage, which began at `since_micros`; `detail`
    is what the trail says of a change, and of an outage its cause.
    """

    at_micros: int
    kind: ActivityKind
    number: int
    since_micros: int | None
    who: str
    what: str
    detail: dict[str, Any]


class Activity(ReadingBook):
    """What happened at destinations."""

    def happenings(
        self,
        destination_id: int,
        *,
        kind: ActivityKind | None = None,
        who: str | None = None,
        since: Hour | None = None,
        before: Hour | None = None,
        skip: int = 0,
        limit: int = HAPPENINGS_MAX,
    ) -> list[Happening]:
        """Return what happened, the newest first; each filter that is given narrows it.

        Times are from the beginning of the hour `since` on, and before that of the hour `before`.
        The first `skip` are left out.
        """
        found = self._all(destination_id).subquery()
        statement = (
            sa.select(found)
            .order_by(found.c.at_micros.desc(), found.c.by_itself.desc(), found.c.order.desc())
            .offset(skip)
            .limit(min(limit, HAPPENINGS_MAX))
        )
        if kind is not None:
            statement = statement.where(found.c.kind == kind)
        if who is not None:
            statement = statement.where(found.c.who == who)
        if since is not None:
            statement = statement.where(found.c.at_micros >= since.start_micros)
        if before is not None:
            statement = statement.where(found.c.at_micros < before.start_micros)
        with reading(self.engine) as connection:
            return [_happening(row) for row in connection.execute(statement)]

    def actors(self, destination_id: int) -> list[str]:
        """Return who did something at a destination, by name; also what happens by itself."""
        found = self._all(destination_id).subquery()
        with reading(self.engine) as connection:
            statement = sa.select(found.c.who).distinct().order_by(found.c.who)
            return list(connection.execute(statement).scalars())

    def _all(self, destination_id: int) -> sa.CompoundSelect[Any]:
        return sa.union_all(
            *(
                one.where(self._own_destination(sa.literal(destination_id)))
                for one in (
                    _changes(destination_id),
                    _manual_exports(destination_id),
                    _finished(destination_id),
                    _refused(destination_id),
                    _back(destination_id),
                )
            )
        )


def _columns(
    at: sa.ColumnElement[Any],
    order: sa.ColumnElement[Any],
    kind: ActivityKind,
    number: sa.ColumnElement[Any],
    what: sa.ColumnElement[str],
    *,
    since: sa.ColumnElement[Any] | None = None,
    who: sa.ColumnElement[str] | None = None,
    detail: sa.ColumnElement[str] | None = None,
) -> sa.Select[Any]:
    return sa.select(
        at.label("at_micros"),
        # Of what happened in the same moment, what followed by itself is newer than what a person
        # did, and of the same table what was written last.
        sa.literal(0 if who is not None else 1).label("by_itself"),
        order.label("order"),
        sa.literal(kind).label("kind"),
        number.label("number"),
        (sa.cast(sa.null(), sa.BigInteger) if since is None else since).label("since_micros"),
        (sa.literal(SERVICE) if who is None else who).label("who"),
        what.label("what"),
        (sa.literal("{}") if detail is None else detail).label("detail"),
    )


def _trail(kind: ActivityKind, number: sa.ColumnElement[Any]) -> sa.Select[Any]:
    at, order = audit.c.at_micros, audit.c.id
    return _columns(at, order, kind, number, audit.c.what, who=audit.c.who, detail=audit.c.detail)


def _changes(destination_id: int) -> sa.Select[Any]:
    return _trail("settings", sa.literal(0)).where(
        audit.c.object == f"destination {destination_id}"
    )


def _manual_exports(destination_id: int) -> sa.Select[Any]:
    named = sa.literal("manual export ") + sa.cast(manual_export.c.id, sa.Text)
    return (
        _trail("manual export", manual_export.c.id)
        .join_from(manual_export, audit, audit.c.object == named)
        .where(manual_export.c.destination_id == destination_id)
    )


def _finished(destination_id: int) -> sa.Select[Any]:
    # One that was cancelled has an end as well, and its entry in the trail.
    ended, number = manual_export.c.finished_micros, manual_export.c.id
    return _columns(ended, number, "manual export", number, sa.literal(FINISHED)).where(
        manual_export.c.destination_id == destination_id,
        manual_export.c.state == "finished",
        ended.is_not(None),
    )


def _refused(destination_id: int) -> sa.Select[Any]:
    return _outages(outage.c.began_micros, REFUSED, destination_id)


def _back(destination_id: int) -> sa.Select[Any]:
    ended = outage.c.ended_micros
    return _outages(ended, BACK, destination_id).where(ended.is_not(None))


def _outages(at: sa.ColumnElement[Any], what: str, destination_id: int) -> sa.Select[Any]:
    number, since, cause = outage.c.id, outage.c.began_micros, outage.c.cause
    return _columns(
        at, number, "access", number, sa.literal(what), since=since, detail=cause
    ).where(outage.c.destination_id == destination_id)


def _happening(row: sa.Row[Any]) -> Happening:
    return Happening(
        at_micros=row.at_micros,
        kind=row.kind,
        number=row.number,
        since_micros=row.since_micros,
        who=row.who,
        what=row.what,
        detail=msgspec.json.decode(row.detail),
    )
