"""Try at once what waits because of one cause, as a person asks. A part of `Destinations`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from tailrace.errors import BadRequest
from tailrace.state.delivery import AUTOMATIC, Cause, Destination, RunState
from tailrace.state.destination_book import DestinationBook
from tailrace.state.rows import cause_of
from tailrace.state.tables import delivery, manual_export

# A run in work is held by somebody: only who holds it says when it may be taken again.
_WAITING: tuple[RunState, ...] = ("retrying", "failed", "conflict")
# A paused manual export's runs wait for a person, whatever they met; those of a cancelled one are
# taken once more where something is left in the bucket.
_GOING_ON = ("running", "cancelled")


class Trying(DestinationBook):
    """Bring the next try of runs forward."""

    def try_now(self, destination_id: int, meets: Callable[[Cause], bool], *, title: str) -> int:
        """Make the runs due whose last cause `meets` names; return how many that are.

        Runs in work and those that are due already stay as they are, and so do those of a paused
        destination or manual export. Each keeps the number of its tries, so that asking often makes
        no schedule begin anew. `title` is what the trail calls the cause.

        Raise `BadRequest` for a deleted destination, and while access is refused: then one probe
        decides for all.
        """
        with self._change() as connection:
            found = self._find_living(connection, destination_id, "export to")
            if found.outage_since_micros is not None:
                raise BadRequest(
                    f"Cannot try destination {destination_id} now: its access is refused. Check it "
                    "again; once access is back, all that waits goes out."
                )
            waiting = [
                row
                for row in connection.execute(_waiting(found))
                if (cause := cause_of(row.cause)) is not None and meets(cause)
            ]
            changed = [connection.execute(_make_due(row)).rowcount for row in waiting]
            if any(changed):
                detail = {"cause": title, "runs": sum(changed)}
                self._note(connection, destination_id, "tried again", detail)
            return sum(changed)


def _waiting(found: Destination) -> sa.Select[Any]:
    hourly = delivery.c.manual_export == AUTOMATIC if found.state == "active" else sa.false()
    return (
        sa.select(delivery)
        .outerjoin(manual_export, manual_export.c.id == delivery.c.manual_export)
        .where(
            delivery.c.destination_id == found.id,
            delivery.c.state.in_(_WAITING),
            delivery.c.due_micros.is_distinct_from(0),
            delivery.c.cause.is_not(None),
            sa.or_(hourly, manual_export.c.state.in_(_GOING_ON)),
        )
    )


def _make_due(row: Row[Any]) -> sa.Update:
    # Where workers claim beside this change, one of them may just have taken the run.
    return (
        delivery.update()
        .where(
            delivery.c.destination_id == row.destination_id,
            delivery.c.data_type == row.data_type,
            delivery.c.hour == row.hour,
            delivery.c.manual_export == row.manual_export,
            delivery.c.lease == row.lease,
            delivery.c.state.in_(_WAITING),
        )
        .values(state="retrying", due_micros=0)
    )
