"""Manual exports: what people asked to export of the past, and what they said of it since.

Called by `app.backfill` for the command line and the pages. A manual export's runs are made in the
transaction that starts it, and wait in the ledger behind the automatic ones.
"""

from __future__ import annotations

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tailrace.errors import BadRequest
from tailrace.hours import Hour
from tailrace.state.audited import Audited
from tailrace.state.database import next_number, reading
from tailrace.state.delivery import OWED_STATES, ManualExport, ManualExportState
from tailrace.state.derive import derive_manual
from tailrace.state.destination_book import find_destination
from tailrace.state.rows import UNTRIED, manual_export_of
from tailrace.state.sharing import refuse_shared_bucket
from tailrace.state.tables import delivery, destination, manual_export, sealed_hour

# A page or a command shows no more at once.
EXPORTS_MAX = 1000


class NewManualExport(msgspec.Struct, frozen=True, kw_only=True):
    """What a person asks for: the hours `[from_hour, until_hour)` of a destination's data types."""

    destination_id: int
    from_hour: Hour
    until_hour: Hour
    include_events: bool
    include_merged_ids: bool
    overwrite: bool = False


class ManualExports(Audited):
    """Start, find, pause, resume and cancel them."""

    KIND = "manual export"

    def start(self, new: NewManualExport) -> ManualExport:
        """Owe every hour of the range that is sealed; later ones are left out (D23).

        A range without any is no error: the export is finished at once (R26). Raise `BadRequest`
        for an unknown destination, for one that was never verified, and where another organization
        has taken over the bucket meanwhile (D45).
        """
        now = self.clock.now_micros()
        with self._change() as connection:
            project, organization = self._owner_of(connection, new.destination_id)
            number = next_number(connection, "manual_export")
            scopes = {
                "events_until": project if new.include_events else None,
                "merged_ids_until": -organization if new.include_merged_ids else None,
            }
            connection.execute(
                manual_export.insert().values(
                    id=number,
                    destination_id=new.destination_id,
                    from_hour=new.from_hour.number,
                    until_hour=new.until_hour.number,
                    overwrite=new.overwrite,
                    state="running",
                    created_by=self.by,
                    created_micros=now,
                    **{
                        column: _sealed_until(connection, scope, new)
                        for column, scope in scopes.items()
                    },
                )
            )
            runs = derive_manual(connection, number, now_micros=now)
            finish_if_done(connection, number, now)
            detail = {
                "destination": new.destination_id,
                "from_hour": str(new.from_hour),
                "until_hour": str(new.until_hour),
                "overwrite": new.overwrite,
                "runs": runs,
            }
            self._note(connection, number, "started", detail)
            return self._get(connection, number)

    def check_destination(self, destination_id: int) -> None:
        """Raise `BadRequest` as `start` would for the destination."""
        with reading(self.engine) as connection:
            self._owner_of(connection, destination_id)

    def get(self, export_id: int) -> ManualExport:
        """Return a manual export; raise `BadRequest` if there is none of that number."""
        with reading(self.engine) as connection:
            return self._get(connection, export_id)

    def list(
        self,
        *,
        destination_id: int | None = None,
        since: Hour | None = None,
        before: Hour | None = None,
        states: tuple[ManualExportState, ...] = (),
        skip: int = 0,
        limit: int = EXPORTS_MAX,
    ) -> list[ManualExport]:
        """Return manual exports, the newest first; the first `skip` are left out.

        With `since` and `before` those that asked for an hour in `[since, before)`.
        """
        statement = (
            sa.select(manual_export)
            .order_by(manual_export.c.id.desc())
            .offset(skip)
            .limit(min(limit, EXPORTS_MAX))
        )
        if states:
            statement = statement.where(manual_export.c.state.in_(states))
        if self.within is not None:
            statement = statement.where(_of_organization(self.within))
        if since is not None:
            statement = statement.where(manual_export.c.until_hour > since.number)
        if before is not None:
            statement = statement.where(manual_export.c.from_hour < before.number)
        if destination_id is not None:
            statement = statement.where(manual_export.c.destination_id == destination_id)
        with reading(self.engine) as connection:
            return [manual_export_of(row) for row in connection.execute(statement)]

    def pause(self, export_id: int) -> ManualExport:
        """Let no run of it be taken; one in work ends, or lets go before it next writes."""
        with self._change() as connection:
            self._expect(connection, export_id, "pause", ("running",))
            _set(connection, export_id, state="paused")
            self._note(connection, export_id, "paused", {})
            return self._get(connection, export_id)

    def resume(self, export_id: int) -> ManualExport:
        """Go on with a paused export; runs that failed or met other content are tried again."""
        with self._change() as connection:
            self._expect(connection, export_id, "resume", ("running", "paused"))
            _set(connection, export_id, state="running")
            again = connection.execute(
                delivery.update()
                .where(of_export(export_id), delivery.c.state.in_(("failed", "conflict")))
                .values(state="retrying", due_micros=0, **UNTRIED)
            )
            self._note(connection, export_id, "resumed", {"tried_again": again.rowcount})
            return self._get(connection, export_id)

    def cancel(self, export_id: int) -> ManualExport:
        """Owe nothing of it any more; what was delivered stays in the bucket.

        A run in work ends, or lets go before it next writes. One that has begun an upload is taken
        once more, to abort that.
        """
        with self._change() as connection:
            self._expect(connection, export_id, "cancel", ("running", "paused"))
            cancel(connection, export_id, self.clock.now_micros())
            self._note(connection, export_id, "cancelled", {})
            return self._get(connection, export_id)

    def _get(self, connection: Connection, export_id: int) -> ManualExport:
        statement = sa.select(manual_export).where(manual_export.c.id == export_id)
        if self.within is not None:
            statement = statement.where(_of_organization(self.within))
        row = connection.execute(statement).one_or_none()
        if row is None:
            raise BadRequest(
                f'There is no manual export {export_id}. List them with "tailrace backfill list".'
            )
        return manual_export_of(row)

    def _owner_of(self, connection: Connection, destination_id: int) -> tuple[int, int]:
        """Return the destination's project and organization; raise if it can't be exported to."""
        found = find_destination(connection, destination_id, within=self.within)
        if found.state == "deleted":
            raise BadRequest(f"Cannot export to destination {destination_id}: it is deleted.")
        if found.state not in ("active", "paused"):
            raise BadRequest(
                f"Cannot export to destination {destination_id}: it is "
                f"{found.state.replace('_', ' ')}, and its access was never verified. "
                f'Run "tailrace verify {destination_id}" first.'
            )
        refuse_shared_bucket(connection, found.organization, found.bucket, found.endpoint_url)
        return found.project, found.organization

    def _expect(
        self, connection: Connection, export_id: int, verb: str, states: tuple[str, ...]
    ) -> None:
        found = self._get(connection, export_id)
        if found.state not in states:
            raise BadRequest(
                f"Cannot {verb} the manual export {export_id}: it is {found.state}, "
                f"not {' or '.join(states)}."
            )


def of_export(export_id: int) -> sa.ColumnElement[bool]:
    """Return the condition that names a manual export's runs, so that their index is used."""
    # The index is a partial one: SQLite takes it only where the statement itself says so.
    by_hand = delivery.c.manual_export > sa.literal_column("0", sa.BigInteger)
    return sa.and_(delivery.c.manual_export == export_id, by_hand)


def finish_if_done(connection: Connection, export_id: int, now_micros: int) -> None:
    """End a manual export that owes nothing any more, inside the caller's transaction."""
    owed = sa.exists().where(of_export(export_id), delivery.c.state.in_(OWED_STATES))
    connection.execute(
        manual_export.update()
        .where(
            manual_export.c.id == export_id,
            manual_export.c.state.in_(("running", "paused")),
            ~owed,
        )
        .values(state="finished", finished_micros=now_micros)
    )


def cancel(connection: Connection, export_id: int, now_micros: int) -> None:
    """Cancel a manual export inside the caller's transaction."""
    _set(connection, export_id, state="cancelled", finished_micros=now_micros)
    idle = sa.and_(
        of_export(export_id),
        delivery.c.state.in_(tuple(state for state in OWED_STATES if state != "running")),
    )
    connection.execute(
        delivery.update()
        .where(idle, delivery.c.upload_id.is_(None))
        .values(state="cancelled", due_micros=None, finished_micros=now_micros)
    )
    connection.execute(
        delivery.update()
        .where(idle, delivery.c.upload_id.is_not(None))
        .values(
            state=sa.case((delivery.c.state == "pending", "pending"), else_="retrying"),
            due_micros=0,
        )
    )


def _set(
    connection: Connection, export_id: int, *, state: ManualExportState, **values: int | None
) -> None:
    connection.execute(
        manual_export.update().where(manual_export.c.id == export_id).values(state=state, **values)
    )


def _of_organization(organization: int) -> sa.ColumnElement[bool]:
    own = sa.select(destination.c.id).where(destination.c.organization == organization)
    return manual_export.c.destination_id.in_(own)


def _sealed_until(connection: Connection, scope: int | None, new: NewManualExport) -> int | None:
    """Return the first hour of the range that is not sealed yet, or the range's end."""
    if scope is None:
        return None
    newest = connection.execute(
        sa.select(sa.func.max(sealed_hour.c.hour)).where(
            sealed_hour.c.scope == scope, sealed_hour.c.hour < new.until_hour.number
        )
    ).scalar_one()
    # Hours of a scope are sealed in their order, so what comes later is not yet sealed.
    return new.from_hour.number if newest is None else max(new.from_hour.number, newest + 1)
