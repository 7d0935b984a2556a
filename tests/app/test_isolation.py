"""Whatever a person of one organization asks for, what another one has does not exist.

One table of all functions that commands and pages call; a function that is not in it is a failure.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from tailrace.accounts.portfolios import add_portfolio
from tailrace.app import describing, failures, runs, sealed_file, switching
from tailrace.app.backfill import Asked, Backfills, ListAsked
from tailrace.app.describing import describe
from tailrace.app.editing import Edit, Editor
from tailrace.app.runs import RunsAsked, hour_detail, list_runs
from tailrace.app.setting_up import SettingUp
from tailrace.clock import SteppedClock
from tailrace.errors import TailraceError
from tailrace.folder import DataFolder
from tailrace.hours import Hour
from tailrace.seal.manifest import LineSchema, SealRecord, record_bytes
from tailrace.settings import Settings
from tailrace.state.audit import entries
from tailrace.state.database import open_database, writing
from tailrace.state.delivery import Cause, Destination
from tailrace.state.destinations import Destinations, NewDestination
from tailrace.state.drafts import Choices, Drafts
from tailrace.state.ledger_view import LedgerView
from tailrace.state.mails import Mails, NewMail, keep_mail
from tailrace.state.manual_exports import ManualExports, NewManualExport
from tailrace.state.sealed import SealedHour
from tests.state.conftest import Books

FIRST, LAST = "2026-11-20", "2026-11-23"
# Nothing listens there, and tailrace may not even ask.
ENDPOINT = "http://127.0.0.1:9"
BUSY = Cause("temporary", "SlowDown", "S3 answered 503.", "Wait.")
FAILURE = failures.Failure(
    name=failures.failure_name(BUSY),
    cause=BUSY,
    needs="nothing",
    began_micros=0,
    ended_micros=None,
    outage=None,
    runs=(),
    next_try_micros=None,
)


class Things(msgspec.Struct, frozen=True):
    """What an organization has, by number; or numbers of what nobody has."""

    organization: int
    project: int
    portfolio: int
    destination: int
    paused: int
    export: int
    mail: int
    draft: int
    # As it was seen; nobody has one that was.
    seen: Destination | None
    seen_paused: Destination | None

    @property
    def numbers(self) -> dict[str, set[int]]:
        """Its numbers, by the names of the fields that hold them."""
        destinations, projects = {self.destination, self.paused}, {self.project}
        return {
            "organization": {self.organization},
            "project": projects,
            "scope": {self.project, -self.organization},
            "destination_id": destinations,
        }


class World:
    """Two organizations with the same things, seen by a person of the first one."""

    def __init__(self, folder: Path) -> None:
        self.engine = open_database(folder / "tailrace.sqlite")
        self._books = Books(self.engine)
        self.hour = self._books.today.plus(1)
        self.clock: SteppedClock = self._books.clock
        self.ours = self._fill(self._books.organization, self._books.project, "acme")
        rival = self._books.add_organization("Rival")
        self.theirs = self._fill(rival, self._books.add_project(rival), "rival")
        assert self.ours.seen is not None
        assert self.theirs.seen is not None
        self.nobodys = Things(
            199_999,
            399_999,
            499_999,
            77,
            78,
            79,
            80,
            81,
            msgspec.structs.replace(self.theirs.seen, id=77),
            msgspec.structs.replace(self.theirs.seen, id=78),
        )
        own = self.ours.organization
        self.destinations = Destinations(self.engine, self.clock, by="dana", within=own)
        self.exports = ManualExports(self.engine, self.clock, by="dana", within=own)
        self.ledger = LedgerView(self.engine, self.clock, within=own)
        self.mails = Mails(self.engine, self.clock, within=own)
        self.backfills = Backfills(
            DataFolder(folder), Settings(), self.engine, self.clock, by="dana", within=own
        )
        # Another project's set-ups do not exist for one, whoever's project it is.
        self.setting_up = SettingUp(
            self.ours.project,
            Drafts(self.engine, self.clock, by="dana", within=own),
            self.destinations,
            cast("Any", None),
            Settings(),
            machine=self.clock,
        )
        # With these no store is asked: an edit of what is exported probes nothing.
        unused = cast("Any", None)
        self.editor = Editor(
            self.destinations, unused, unused, Settings(), machine=self.clock, sleep=lambda _: None
        )

    def _fill(self, organization: int, project: int, name: str) -> Things:
        books = self._books
        operator = Destinations(self.engine, self.clock)
        active, paused = (
            operator.add(
                NewDestination(
                    project=project, bucket=f"{name}-{bucket}", endpoint_url=ENDPOINT,
                    include_merged_ids=True,
                )
            )
            for bucket in ("active", "paused")
        )  # fmt: skip
        for added in (active, paused):
            operator.activate(added.id, books.capabilities)
        operator.pause(paused.id)
        own = [books.hour(self.hour, scope=scope) for scope in (project, -organization)]
        books.ledger.add_hours([_recorded(one, organization) for one in own])
        while (held := books.claim()) is not None:
            books.deliver(held)
        exports = ManualExports(self.engine, self.clock)
        export = exports.start(
            NewManualExport(
                destination_id=active.id,
                from_hour=self.hour,
                until_hour=self.hour.plus(1),
                include_events=True,
                include_merged_ids=True,
            )
        )
        new = NewMail(
            kind="outage", subject=name, text=name, html=name, recipients=("a@b.example",),
            organization=organization, destination_id=active.id,
        )  # fmt: skip
        with writing(self.engine) as connection:
            mail = keep_mail(connection, new, made_micros=1, message_id=f"<{name}>")
        draft = Drafts(self.engine, self.clock).begin(project, Choices(bucket=name))
        portfolio = add_portfolio(self.engine, name, [project], clock=self.clock)
        return Things(
            organization,
            project,
            portfolio.id,
            active.id,
            paused.id,
            export.id,
            mail,
            draft.id,
            operator.get(active.id),
            operator.get(paused.id),
        )


Use = Callable[[World, Things], Any]


def seen(things: Things) -> Destination:
    assert things.seen is not None
    return things.seen


def seen_paused(things: Things) -> Destination:
    assert things.seen_paused is not None
    return things.seen_paused


CAPABLE = Books.capabilities

# Everything that is asked for by what it is about.
USES: dict[str, Use] = {
    "Destinations.activate": lambda w, t: w.destinations.activate(t.paused, CAPABLE),
    "Destinations.add": lambda w, t: w.destinations.add(
        NewDestination(project=t.project, bucket="another")
    ),
    "Destinations.add of a portfolio project": lambda w, t: w.destinations.add(
        NewDestination(project=t.portfolio, bucket="another")
    ),
    "Destinations.check_name": lambda w, t: w.destinations.check_name(t.project, "Lake"),
    "Destinations.delete": lambda w, t: w.destinations.delete(
        t.destination, aborted=(), now_micros=0
    ),
    "Destinations.earlier_places": lambda w, t: w.destinations.earlier_places(t.destination),
    "Destinations.edit": lambda w, t: w.destinations.edit(
        seen(t), msgspec.structs.replace(seen(t), manifest=False), None, now_micros=0
    ),
    "Destinations.free_name": lambda w, t: w.destinations.free_name(t.project),
    "Destinations.get": lambda w, t: w.destinations.get(t.destination),
    "Destinations.hold": lambda w, t: w.destinations.hold(t.destination, 1),
    "Destinations.manual_exports_under_way": lambda w, t: w.destinations.manual_exports_under_way(
        t.destination
    ),
    "Destinations.missed": lambda w, t: w.destinations.missed(t.destination),
    "Destinations.owed_runs": lambda w, t: w.destinations.owed_runs(t.destination),
    "Destinations.pause": lambda w, t: w.destinations.pause(t.destination),
    "Destinations.refuse_move": lambda w, t: w.destinations.refuse_move(t.destination),
    "Destinations.release": lambda w, t: w.destinations.release(t.destination),
    "Destinations.resume": lambda w, t: w.destinations.resume(seen_paused(t), CAPABLE),
    "Destinations.set_capabilities": lambda w, t: w.destinations.set_capabilities(
        t.destination, CAPABLE
    ),
    "Destinations.set_interval": lambda w, t: w.destinations.set_interval(
        t.destination, w.hour, None
    ),
    "Destinations.set_region": lambda w, t: w.destinations.set_region(t.destination, "eu-west-1"),
    "Destinations.try_now": lambda w, t: w.destinations.try_now(
        t.destination, lambda _: True, title="busy"
    ),
    "Destinations.under_way": lambda w, t: w.destinations.under_way(t.destination, 0),
    "Destinations.verified_paused": lambda w, t: w.destinations.verified_paused(
        seen_paused(t), CAPABLE
    ),
    "ManualExports.cancel": lambda w, t: w.exports.cancel(t.export),
    "ManualExports.check_destination": lambda w, t: w.exports.check_destination(t.destination),
    "ManualExports.get": lambda w, t: w.exports.get(t.export),
    "ManualExports.pause": lambda w, t: w.exports.pause(t.export),
    "ManualExports.resume": lambda w, t: w.exports.resume(t.export),
    "ManualExports.start": lambda w, t: w.exports.start(
        NewManualExport(
            destination_id=t.destination,
            from_hour=w.hour,
            until_hour=w.hour.next(),
            include_events=True,
            include_merged_ids=False,
        )
    ),
    "LedgerView.actors": lambda w, t: w.ledger.actors(t.destination),
    "LedgerView.dates_with_data": lambda w, t: w.ledger.dates_with_data(t.project),
    "LedgerView.delivered_files": lambda w, t: w.ledger.delivered_files(
        t.destination, "events", w.hour
    ),
    "LedgerView.files_of_hour": lambda w, t: w.ledger.files_of_hour(t.project, w.hour),
    "LedgerView.first_date_with_data": lambda w, t: w.ledger.first_date_with_data(t.project),
    "LedgerView.happenings": lambda w, t: w.ledger.happenings(t.destination),
    "LedgerView.has_lines": lambda w, t: w.ledger.has_lines(t.project, Hour(0), w.hour.plus(1)),
    "LedgerView.hours_of": lambda w, t: w.ledger.hours_of(t.destination, w.hour, w.hour.next()),
    "LedgerView.known_hours": lambda w, t: w.ledger.known_hours(
        t.project, w.hour, w.hour.plus(1), [t.destination]
    ),
    "LedgerView.progress": lambda w, t: w.ledger.progress(t.export),
    "LedgerView.sealed_count": lambda w, t: w.ledger.sealed_count(
        t.project, Hour(0), w.hour.plus(1)
    ),
    "LedgerView.sealed_hour": lambda w, t: w.ledger.sealed_hour(-t.organization, w.hour),
    "LedgerView.sealed_span": lambda w, t: w.ledger.sealed_span(t.project, Hour(0), w.hour.next()),
    "LedgerView.sharing_destinations": lambda w, t: w.ledger.sharing_destinations(t.destination),
    "Mails.get": lambda w, t: w.mails.get(t.mail),
    "Backfills.cancel": lambda w, t: w.backfills.cancel(t.export),
    "Backfills.get": lambda w, t: w.backfills.get(t.export),
    "Backfills.pause": lambda w, t: w.backfills.pause(t.export),
    "Backfills.plan": lambda w, t: w.backfills.plan(Asked(t.destination, FIRST, LAST)),
    "Backfills.resume": lambda w, t: w.backfills.resume(t.export),
    "Backfills.start": lambda w, t: w.backfills.start(Asked(t.destination, FIRST, LAST)),
    "Editor.delete": lambda w, t: w.editor.delete(t.destination),
    "Editor.edit": lambda w, t: w.editor.edit(t.destination, Edit(manifest=False)),
    "Editor.plan_deletion": lambda w, t: w.editor.plan_deletion(t.destination),
    "SettingUp.choose_data": lambda w, t: w.setting_up.choose_data(
        t.draft, Choices(name="Lake", include_events=False, include_merged_ids=True)
    ),
    "SettingUp.discard": lambda w, t: w.setting_up.discard(t.draft),
    "SettingUp.get": lambda w, t: w.setting_up.get(t.draft),
    "SettingUp.keep": lambda w, t: w.setting_up.keep(t.draft, Choices(bucket="mine")),
    "pause": lambda w, t: switching.pause(w.destinations, t.destination),
    "missed": lambda w, t: switching.missed(w.destinations, t.paused),
    "resume": lambda w, t: switching.resume(w.destinations, cast("Any", None), t.paused, ("?",)),
    "failures": lambda w, t: failures.failures(
        w.engine, w.clock, t.destination, within=w.ours.organization
    ),
    "try_now": lambda w, t: failures.try_now(w.destinations, t.destination, FAILURE),
    "was_met": lambda w, t: failures.was_met(
        w.engine, w.clock, t.destination, FAILURE.name, within=w.ours.organization
    ),
    "sealed_file": lambda w, t: sealed_file.sealed_file(w.ledger, t.project, w.hour, 1),
    "describe": lambda w, t: describe(w.engine, w.clock, t.destination, within=w.ours.organization),
    "list_runs of a destination": lambda w, t: list_runs(
        w.engine, w.clock, RunsAsked(destination_id=t.destination), within=w.ours.organization
    ),
    "list_runs of a manual export": lambda w, t: list_runs(
        w.engine, w.clock, RunsAsked(manual_export=t.export), within=w.ours.organization
    ),
    "hour_detail of a destination": lambda w, t: hour_detail(
        w.engine, w.clock, w.hour, t.destination, within=w.ours.organization
    ),
    "Backfills.list of a destination": lambda w, t: w.backfills.list(ListAsked(t.destination)),
    "Backfills.plan of a project": lambda w, t: w.backfills.plan(Asked(t.project, FIRST, LAST)),
    "Backfills.plan of a portfolio project": lambda w, t: w.backfills.plan(
        Asked(t.portfolio, FIRST, LAST)
    ),
    "ManualExports.list of a destination": lambda w, t: w.exports.list(
        destination_id=t.destination
    ),
    "LedgerView.runs of a destination": lambda w, t: w.ledger.runs(destination_id=t.destination),
    "Mails.newest of a destination": lambda w, t: w.mails.newest(destination_id=t.destination),
}

# Everything that lists what there is.
LISTS: dict[str, Callable[[World], Any]] = {
    "Destinations.list": lambda w: w.destinations.list(),
    "ManualExports.list": lambda w: w.exports.list(),
    "LedgerView.lags": lambda w: w.ledger.lags(),
    "LedgerView.run_counts": lambda w: w.ledger.run_counts(),
    "LedgerView.runs": lambda w: w.ledger.runs(),
    "LedgerView.sealed_counts": lambda w: w.ledger.sealed_counts(),
    "Mails.newest": lambda w: w.mails.newest(),
    "Backfills.list": lambda w: [one.export for one in w.backfills.list(ListAsked())],
    "list_runs": lambda w: (
        list_runs(w.engine, w.clock, RunsAsked(), within=w.ours.organization).runs
    ),
    "hour_detail": lambda w: [
        one.run
        for one in hour_detail(
            w.engine, w.clock, w.hour, None, within=w.ours.organization
        ).runs
    ],
}  # fmt: skip

# What needs no row in a table, and why.
LEFT_OUT = {
    "Destinations.refuse_bucket": "it has to know of other organizations' buckets (D45)",
    "Destinations.start_all_from": "the service calls it at a folder's first start",
    "SettingUp.begin": "it begins one of the project that it is for, whose visitor was let in",
    "SettingUp.data_rules": "it looks at what is typed, and Destinations.check_name at whose it is",
    "SettingUp.destination_of": "it asks Destinations.get, of a draft that was found",
    "SettingUp.go_on": "of a destination that was found, and Drafts.begin looks once more",
    "SettingUp.keeps": "of a draft that was found",
    "SettingUp.name_of": "of a draft that was found; it asks Destinations.free_name",
    "SettingUp.rules": "it looks at what is typed",
    "SettingUp.save": "of a draft that was found; it asks Destinations.add",
    "failure_name": "it is a name",
    "joined": "it only joins hours",
    "look": "it reads an open file",
    "open_sealed": "of a file that was found",
    "LedgerView.newest_sealed_hour": "which hours are over is the same for everybody",
    "Mails.counts": "of the operator's status",
    "Mails.due": "the service sends them",
    "Mails.forget_old": "the service calls it",
    "Mails.tried": "the service sends them",
    "Mails.wake_beyond": "the service calls it",
}

FACADES = (Destinations, ManualExports, LedgerView, Mails, Backfills, Editor, SettingUp)
FUNCTIONS = {
    describing: ("describe",),
    failures: ("failure_name", "failures", "try_now", "was_met"),
    runs: ("list_runs", "hour_detail"),
    sealed_file: ("look", "open_sealed", "sealed_file"),
    switching: ("joined", "missed", "pause", "resume"),
}


@pytest.fixture
def world(tmp_path: Path, empty_database: bytes) -> Iterator[World]:
    (tmp_path / "tailrace.sqlite").write_bytes(empty_database)
    made = World(tmp_path)
    yield made
    made.engine.dispose()


def test_every_function_is_in_a_table() -> None:
    there = {
        f"{facade.__name__}.{name}"
        for facade in FACADES
        for name, _ in inspect.getmembers(facade, inspect.isfunction)
        if not name.startswith("_")
    }
    for module, names in FUNCTIONS.items():
        found = {
            name
            for name, one in inspect.getmembers(module, inspect.isfunction)
            if one.__module__ == module.__name__ and not name.startswith("_")
        }
        assert found == set(names)
        there |= found
    assert there == {name.partition(" of ")[0] for name in USES} | set(LISTS) | set(LEFT_OUT)


@pytest.mark.parametrize("name", USES)
def test_what_is_anothers_is_as_if_it_did_not_exist(world: World, name: str) -> None:
    trail = entries(world.engine)
    nobodys = _answer(world, name, world.nobodys)

    assert _answer(world, name, world.theirs) == nobodys

    assert entries(world.engine) == trail
    # The same question about what is there has another answer, or it would prove nothing.
    assert _answer(world, name, world.ours) != nobodys


@pytest.mark.parametrize("name", LISTS)
def test_lists_hold_what_is_ones_own(world: World, name: str) -> None:
    rows = LISTS[name](world)

    assert rows
    for row in rows:
        names = [field for field in world.ours.numbers if hasattr(row, field)]
        assert names, row
        for field in names:
            assert getattr(row, field) in world.ours.numbers[field], row


def test_the_operators_own_mails_are_nobodys(world: World) -> None:
    new = NewMail(kind="disk", subject="disk", text="", html="", recipients=("ops@b.example",))
    with writing(world.engine) as connection:
        number = keep_mail(connection, new, made_micros=1, message_id="<disk>")

    assert Mails(world.engine, world.clock).get(number).kind == "disk"
    with pytest.raises(TailraceError, match=f"There is no mail {number}"):
        world.mails.get(number)
    assert number not in [one.id for one in world.mails.newest()]


def _recorded(hour: SealedHour, organization: int) -> SealedHour:
    record = record_bytes(
        SealRecord(
            format=1,
            scope=hour.scope,
            organization=organization,
            hour=str(hour.hour),
            files=(),
            accepted=10,
            exported=10,
            duplicates=0,
            identifies=0,
            filtered=0,
            held=0,
            first_server_upload_time=None,
            last_server_upload_time=None,
            event_dates={},
            settings=msgspec.Raw(b"null"),
            schema=LineSchema(1, 49),
            previous=None,
        )
    )
    return msgspec.structs.replace(hour, organization=organization, record=record)


def _answer(world: World, name: str, things: Things) -> tuple[str, object]:
    """Return what is said, with the numbers that were asked for taken out of it."""
    try:
        found = USES[name](world, things)
    except TailraceError as error:
        said = str(error)
        asked = (
            *(things.project, things.portfolio, things.destination),
            *(things.paused, things.export, things.mail, things.draft),
        )
        for number in asked:
            said = said.replace(str(number), "N")
        return type(error).__name__, said
    return "value", found
