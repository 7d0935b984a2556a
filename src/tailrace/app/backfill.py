"""Manual exports as the command line and the pages handle them: plan, start, and look after.

The command line's verb for a manual export is `backfill`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Literal, get_args

import msgspec
from botocore.exceptions import BotoCoreError, ClientError
from sqlalchemy.engine import Engine

from tailrace.accounts.projects import find_project
from tailrace.app.destinations import open_clients
from tailrace.app.layout import LAYOUT
from tailrace.app.no_data import NoData, no_data
from tailrace.clock import Clock
from tailrace.errors import BadRequest, NeedsCustomer, NeedsOperator, TailraceError, Transient
from tailrace.export.backfill import Plan, plan
from tailrace.export.diagnose import diagnose
from tailrace.export.objects import store_of
from tailrace.export.ranges import HourRange, parse_open_range, parse_range
from tailrace.folder import DataFolder
from tailrace.hours import Hour
from tailrace.settings import Settings
from tailrace.state.database import reading
from tailrace.state.delivery import Cause, DataType, Destination, ManualExport, ManualExportState
from tailrace.state.destinations import Destinations
from tailrace.state.ledger_view import LedgerView
from tailrace.state.manual_exports import EXPORTS_MAX, ManualExports, NewManualExport
from tailrace.state.manual_reports import Progress
from tailrace.state.projects import refuse_portfolio

Status = Literal["running", "paused", "cancelled", "success", "failed", "conflict"]
STATUSES: tuple[Status, ...] = get_args(Status)
# What is kept of one of which a status is told.
_STATES: dict[Status, ManualExportState] = {
    "running": "running",
    "paused": "paused",
    "cancelled": "cancelled",
    "success": "finished",
    "failed": "running",
    "conflict": "running",
}
# So many are read at once.
BATCH = 100


class Asked(msgspec.Struct, frozen=True):
    """What a person asks for. `data_types` None: those that the destination receives."""

    destination_id: int
    first: str
    last: str
    data_types: tuple[DataType, ...] | None = None
    overwrite: bool = False


class ListAsked(msgspec.Struct, frozen=True):
    """Which manual exports to list; what is None or empty narrows nothing.

    Of a range from `first` to `last` those that asked for any hour in it. The first `skip` are left
    out.
    """

    destination_id: int | None = None
    statuses: tuple[str, ...] = ()
    first: str | None = None
    last: str | None = None
    skip: int = 0
    limit: int = EXPORTS_MAX


class Planned(msgspec.Struct, frozen=True):
    """A plan, the first date with data of each type (R47), and why the range has none."""

    plan: Plan
    first_dates: dict[DataType, str | None]
    no_data: NoData | None


class Shown(msgspec.Struct, frozen=True):
    """A manual export and how far it is; with an `outage` nothing moves until access is back."""

    export: ManualExport
    progress: Progress
    outage: Cause | None

    @property
    def status(self) -> Status:
        """One word for people: `running`, or what keeps it from going on, or how it ended.

        `conflict` and `failed` mean that nothing but such runs is left: a person decides, or
        access has to come back.
        """
        if self.export.state == "finished":
            return "success"
        if self.export.state == "running" and self.progress.under_way == 0:
            return "conflict" if self.progress.runs.get("conflict") else "failed"
        return self.export.state

    @property
    def minutes_left(self) -> float | None:
        """How long it still takes at its pace; None where it does not go on, or no pace is known.

        A pause or a stop among its last runs makes the pace look slower than it is.
        """
        going_on = self.status == "running" and self.outage is None
        return self.progress.minutes_left if going_on else None


class Started(msgspec.Struct, frozen=True):
    """A manual export that was just started, and what is known about a range without data."""

    shown: Shown
    not_sealed_from: Hour | None
    no_data: NoData | None


class Backfills:
    """Manual exports of one installation; `by` names who acts in the audit trail.

    `within` is the organization whose person acts; None is the operator. What another one has is to
    it as if it did not exist.
    """

    def __init__(
        self,
        folder: DataFolder,
        settings: Settings,
        engine: Engine,
        clock: Clock,
        *,
        by: str,
        within: int | None = None,
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._engine = engine
        self._clock = clock
        self._within = within
        self._destinations = Destinations(engine, clock, by=by, within=within)
        self._exports = ManualExports(engine, clock, by=by, within=within)
        self._ledger = LedgerView(engine, clock, within=within)

    def plan(self, asked: Asked) -> Planned:
        """Compare what is asked for with the bucket, and change nothing.

        Raise `BadRequest` for what can't be asked for, and what `diagnose` makes of a bucket that
        can't be read.
        """
        destination, hours, types = self._check(asked)
        try:
            client = open_clients(self._folder, self._settings).of(destination)
            store = store_of(client, destination)
            made = plan(
                destination, hours, types, self._ledger, store, LAYOUT, overwrite=asked.overwrite
            )
        except (ClientError, BotoCoreError) as error:
            raise _trouble(error, destination) from error
        empty = sum(made.lines.values()) == 0
        first_dates = {
            name: self._ledger.first_date_with_data(destination.scope_of(name)) for name in types
        }
        found = self._no_data(destination, hours, types) if empty else None
        return Planned(made, first_dates, found)

    def start(self, asked: Asked) -> Started:
        """Owe the sealed hours of the range; the service delivers them behind its hourly work."""
        destination, hours, types = self._check(asked)
        export = self._exports.start(
            NewManualExport(
                destination_id=destination.id,
                from_hour=hours.from_hour,
                until_hour=hours.until_hour,
                include_events="events" in types,
                include_merged_ids="merged-ids" in types,
                overwrite=asked.overwrite,
            )
        )
        newest = self._ledger.newest_sealed_hour()
        open_from = hours.from_hour if newest is None else max(hours.from_hour, newest.next())
        empty = not any(self._has_lines(destination, hours, name) for name in types)
        return Started(
            shown=self._shown(export),
            not_sealed_from=open_from if open_from < hours.until_hour else None,
            no_data=self._no_data(destination, hours, types) if empty else None,
        )

    def list(self, asked: ListAsked) -> list[Shown]:
        """Return manual exports, the newest first.

        Raise `BadRequest` for a destination or a status that there is not, and for no range.
        """
        for status in asked.statuses:
            if status not in STATUSES:
                raise BadRequest(f"The status {status!r}: choose from {', '.join(STATUSES)}.")
        if asked.destination_id is not None:
            self._destinations.get(asked.destination_id)
        now = Hour.of_micros(self._clock.now_micros())
        hours = parse_open_range(asked.first, asked.last, now)
        return list(islice(self._matching(asked, hours), min(asked.limit, EXPORTS_MAX)))

    def get(self, export_id: int) -> Shown:
        """Return one; raise `BadRequest` for a number that there is not."""
        return self._shown(self._exports.get(export_id))

    def pause(self, export_id: int) -> Shown:
        """Let no further run of it begin."""
        return self._shown(self._exports.pause(export_id))

    def resume(self, export_id: int) -> Shown:
        """Go on, and try again what failed or met other content."""
        return self._shown(self._exports.resume(export_id))

    def cancel(self, export_id: int) -> Shown:
        """Owe nothing of it any more; what was delivered stays."""
        return self._shown(self._exports.cancel(export_id))

    def _matching(self, asked: ListAsked, hours: HourRange) -> Iterator[Shown]:
        """Yield what is asked for, without the first `skip`; read as far as somebody takes."""
        states = {_STATES[one] for one in STATUSES if one in asked.statuses}
        # How one that is running goes on is known only from its runs, so each is looked at.
        exact = "running" not in states
        place, left = (asked.skip, 0) if exact else (0, asked.skip)
        while True:
            batch = self._exports.list(
                destination_id=asked.destination_id,
                since=hours.from_hour,
                before=hours.until_hour,
                states=tuple(sorted(states)),
                skip=place,
                limit=BATCH,
            )
            for one in batch:
                shown = self._shown(one)
                if not exact and shown.status not in asked.statuses:
                    continue
                if left:
                    left -= 1
                else:
                    yield shown
            place += len(batch)
            if len(batch) < BATCH:
                return

    def _shown(self, export: ManualExport) -> Shown:
        destination = self._destinations.get(export.destination_id)
        return Shown(export, self._ledger.progress(export.id), destination.outage_cause)

    def _check(self, asked: Asked) -> tuple[Destination, HourRange, Sequence[DataType]]:
        self._refuse_project(asked.destination_id)
        self._exports.check_destination(asked.destination_id)
        destination = self._destinations.get(asked.destination_id)
        now = Hour.of_micros(self._clock.now_micros())
        hours = parse_range(asked.first, asked.last, now)
        return destination, hours, asked.data_types or destination.data_types

    def _refuse_project(self, number: int) -> None:
        """Say it in so many words where somebody gives a project's number for a destination's."""
        with reading(self._engine) as connection:
            refuse_portfolio(connection, number, within=self._within)
        known = self._destinations.list()
        if any(one.id == number for one in known):
            return
        try:
            project = find_project(self._engine, number, within=self._within)
        except TailraceError:
            return
        of_project = ", ".join(str(one.id) for one in known if one.project == project.id)
        raise BadRequest(
            f"{number} is the number of a project, not of a destination. "
            f"Its destinations are: {of_project or 'none yet'}."
        )

    def _has_lines(self, destination: Destination, hours: HourRange, data_type: DataType) -> bool:
        scope = destination.scope_of(data_type)
        return self._ledger.has_lines(scope, hours.from_hour, hours.until_hour)

    def _no_data(
        self, destination: Destination, hours: HourRange, types: Sequence[DataType]
    ) -> NoData:
        now = self._clock.now_micros()
        return no_data(destination, hours, types, self._ledger, now)


def _trouble(error: Exception, destination: Destination) -> TailraceError:
    cause = diagnose(error, destination)
    text = f"{cause.sentence} {cause.fix}"
    if cause.kind == "access":
        return NeedsCustomer(text)
    return NeedsOperator(text) if cause.kind == "operator" else Transient(text)
