"""The owners of buckets: they add, move, pause and delete destinations, break and mend policies.

They also export by hand what was exported already, and halt that.
"""

from __future__ import annotations

import contextlib
import json
import random
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec

from tailrace.clock import Clock
from tailrace.demo import seaweed
from tailrace.demo.seaweed import Seaweed
from tailrace.errors import BadRequest
from tailrace.folder import DataFolder
from tailrace.hours import Hour
from tailrace.state.database import open_database
from tailrace.state.delivery import DataType, Destination, DestinationState
from tailrace.state.destinations import Destinations
from tailrace.state.manual_exports import ManualExports, NewManualExport
from torture.changes import Changes
from torture.service import Service

ADD_TRIES_MAX = 20
CHANGE_SECONDS = (1.0, 4.0)
# So many of those that are added move before they have what they owe.
MOVED_AT_ONCE = 0.5
# What a run of some length sees of each.
CHANGES = (
    "added",
    "removed",
    "moved",
    "deleted",
    "paused",
    "gone on",
    "left out",
    "policy broken",
    "policy mended",
    "exported by hand",
    "halted by hand",
)


class Owned(msgspec.Struct, frozen=True):
    """A place that some destination exports to; `main` ones never change and prove the rest."""

    project: int
    bucket: str
    prefix: str
    main: bool


class Owners:
    """Change destinations from a thread until told to stop, and remember which there are."""

    def __init__(
        self, service: Service, server: Seaweed, organizations: dict[int, int], seed: int
    ) -> None:
        """Make the buckets; `organizations` maps each project to the one that it belongs to."""
        self._service = service
        self._server = server
        self._chance = random.Random(f"{seed}-owners")
        self.organizations = organizations
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._change_on, name="owners", daemon=True)
        self._secret = service.folder / "secret"
        self._secret.write_text(server.exporter.secret_access_key)
        self._copies = 0
        self._broken: str | None = None
        self.owned: list[Owned] = []
        # Where each destination's objects went, the present place last.
        self.places: dict[int, list[Owned]] = {}
        # What was missed while paused, and was not to go out.
        self.left_out: set[tuple[int, DataType, Hour]] = set()
        self.changes: dict[str, int] = {}
        self._made = Changes(service, self._chance, self._count)
        self.failures: list[str] = []
        name = f"o{seed % 10_000_000}"
        self.buckets = {number: f"{name}-{number}" for number in set(organizations.values())}
        self._fickle = {number: f"{name}-{number}-fickle" for number in self.buckets}
        for bucket in (*self.buckets.values(), *self._fickle.values()):
            server.create_bucket(bucket)
            self._allow(bucket)

    def start(self) -> None:
        """Let the owners begin."""
        self._thread.start()

    def _begin(self) -> None:
        """Give each project its main destination, and some one whose policy breaks now and then."""
        for project, organization in self.organizations.items():
            owned = Owned(project, self.buckets[organization], f"main/{project}/", main=True)
            self._add(owned)
            # "Today" may have begun only after the first events.
            with self.opened() as destinations:
                found = self._find(owned)
                assert found is not None
                destinations.set_interval(found.id, self._service.first_hour(), None)
        firsts = {number: project for project, number in reversed(self.organizations.items())}
        for organization, project in firsts.items():
            self._add(Owned(project, self._fickle[organization], "", main=False))

    def stop(self) -> None:
        """Change no more; what was broken is mended, and who paused goes on."""
        self._stop.set()
        self._thread.join()
        if self._broken is not None:
            self._mend()
        with self.opened() as destinations:
            for found in destinations.list():
                if found.state == "paused" and found.capabilities is not None:
                    destinations.activate(found.id, found.capabilities)
            exports = _exports(destinations)
            for export in exports.list():
                if export.state == "paused":
                    with contextlib.suppress(BadRequest):
                        exports.resume(export.id)

    def opened(self) -> _Opened:
        """Return the destinations, as the pages will use them."""
        return _Opened(self._service.data, self._service.clock)

    def _change_on(self) -> None:
        # With what is counted of each.
        changes = {
            self._add_copy: "added",
            self._pause: "paused",
            self._go_on: "left out",
            self._end: "removed",
            self._move: "moved",
            self._delete: "deleted",
            self._break: "policy broken",
            self._mend: "policy mended",
            self._export_by_hand: "exported by hand",
            self._halt_by_hand: "halted by hand",
        }
        change: Callable[[], None] = self._begin
        try:
            change()
            while not self._stop.wait(self._chance.uniform(*CHANGE_SECONDS)):
                # The rarer ones the rather: some need that others came before.
                weights = [1 / (1 + self.changes.get(name, 0)) for name in changes.values()]
                (change,) = self._chance.choices(list(changes), weights)
                change()
        except Exception as error:
            self.failures.append(f"{change.__name__}: {error!r}")

    def _count(self, what: str) -> None:
        self.changes[what] = self.changes.get(what, 0) + 1

    def _add_copy(self) -> None:
        with self.opened() as destinations:
            if sum(found.until_hour is None for found in destinations.list()) >= 7:
                # As many copies as this machine can deliver beside the rest.
                return
        self._copies += 1
        project = self._chance.choice(list(self.organizations))
        bucket = self.buckets[self.organizations[project]]
        owned = Owned(project, bucket, f"copy-{self._copies}/", main=False)
        self._add(owned)
        self._count("added")
        added = self._find(owned)
        if added is not None and self._chance.random() < MOVED_AT_ONCE:
            # It still owes most of its first day.
            self._move_one(added)

    def _add(self, owned: Owned) -> None:
        """Add as the command line does; sometimes it is killed on the way, and done again."""
        self.owned.append(owned)
        kill_after = self._chance.choice((None, None, self._chance.uniform(0.5, 2.5)))
        for _ in range(ADD_TRIES_MAX):
            found = self._find(owned)
            if found is None:
                code, out, err = self._service.command(
                    *("destination", "add", "amazon-s3", "--project", str(owned.project)),
                    *("--bucket", owned.bucket, "--region", seaweed.REGION),
                    *("--prefix", owned.prefix, "--endpoint-url", self._server.endpoint_url),
                    *("--access-key-id", self._server.exporter.access_key_id),
                    *("--secret-access-key-file", str(self._secret)),
                    *("--include", "events,merged-ids", "--json"),
                    kill_after=kill_after,
                )
            elif found.state == "setting_up":
                code, out, err = self._service.command(
                    "verify", str(found.id), "--json", kill_after=kill_after
                )
            else:
                self.places[found.id] = [owned]
                return
            if code != 0 and kill_after is None:
                raise AssertionError(f"{owned} was not added: {out[-600:]} {err[-600:]}")
            if code != 0:
                self._count("killed while added")
            kill_after = None
        raise AssertionError(f"{owned} was not added in {ADD_TRIES_MAX} tries")

    def _find(self, owned: Owned) -> Destination | None:
        with self.opened() as destinations:
            for found in destinations.list(project=owned.project):
                if (found.bucket, found.prefix) == (owned.bucket, owned.prefix):
                    return found
        return None

    def _some(self, *states: DestinationState) -> Destination | None:
        with self.opened() as destinations:
            found = [
                one
                for one in destinations.list(states=states)
                if one.prefix.startswith("copy-") and one.until_hour is None
            ]
        return self._chance.choice(found) if found else None

    def _now(self, number: int) -> Destination:
        with self.opened() as destinations:
            return destinations.get(number)

    def _pause(self) -> None:
        found = self._some("active")
        if found is not None and self._made.make(
            ("pause", str(found.id)), lambda: self._now(found.id).state == "paused"
        ):
            self._count("paused")

    def _go_on(self) -> None:
        """Switch automatic exports on again; by turns without the hours that were missed."""
        found = self._some("paused")
        if found is None:
            return
        words = ("resume", str(found.id), "--json")
        if self.changes.get("gone on", 0) <= self.changes.get("left out", 0):
            if self._made.make(words, lambda: self._now(found.id).state == "active"):
                self._count("gone on")
            return
        told = self._made.told((*words, "--leave-out", "all"))
        missed = [] if told is None else json.loads(told)["missed"]
        for one in missed:
            first, last = Hour.parse(one["from"]), Hour.parse(one["to"])
            for number in range(first.number, last.number + 1):
                self.left_out.add((found.id, one["data_type"], Hour(number)))
        if missed:
            self._count("left out")

    def _move(self) -> None:
        found = self._some("active", "paused")
        if found is not None:
            self._move_one(found)

    def _move_one(self, found: Destination) -> None:
        """Give a destination another prefix; what it owes goes there."""
        self._copies += 1
        owned = Owned(found.project, found.bucket, f"copy-{self._copies}/", main=False)
        self.owned.append(owned)
        if self._made.make(
            ("destination", "edit", str(found.id), "--prefix", owned.prefix),
            lambda: self._now(found.id).prefix == owned.prefix,
        ):
            self.places[found.id].append(owned)
            self._count("moved")

    def _delete(self) -> None:
        found = self._some("active", "paused")
        if found is not None and self._made.make(
            ("destination", "delete", str(found.id), "--yes"),
            lambda: self._now(found.id).state == "deleted",
        ):
            self._count("deleted")

    def _end(self) -> None:
        """Let a destination owe nothing from the next hour on."""
        found = self._some("active")
        with self.opened() as destinations:
            if found is not None and found.from_hour is not None and self._chance.random() < 0.5:
                destinations.set_interval(found.id, found.from_hour, self._service.hour().next())
                self._count("removed")

    def _export_by_hand(self) -> None:
        """Export hours by hand that a destination gets anyway: nothing may come of it."""
        with self.opened() as destinations:
            active = [one for one in destinations.list() if one.state == "active"]
            if not active:
                return
            found = self._chance.choice(active)
            assert found.from_hour is not None
            until = self._service.hour().next()
            first = max(found.from_hour, until.plus(-self._chance.randint(1, 24)))
            if found.until_hour is not None:
                until = min(until, found.until_hour)
            if first < until:
                _exports(destinations).start(
                    NewManualExport(
                        destination_id=found.id,
                        from_hour=first,
                        until_hour=until,
                        include_events=found.include_events,
                        include_merged_ids=found.include_merged_ids,
                        overwrite=self._chance.random() < 0.5,
                    )
                )
                self._count("exported by hand")

    def _halt_by_hand(self) -> None:
        """Pause a manual export or cancel it; one that is paused goes on."""
        with self.opened() as destinations:
            exports = _exports(destinations)
            for export in exports.list():
                # It may have finished at this very moment.
                with contextlib.suppress(BadRequest):
                    if export.state == "paused":
                        exports.resume(export.id)
                    elif export.state == "running":
                        self._chance.choice((exports.pause, exports.cancel))(export.id)
                        self._count("halted by hand")

    def _break(self) -> None:
        if self._broken is None:
            self._broken = self._chance.choice(list(self._fickle.values()))
            without = self._chance.choice(("s3:PutObject", "s3:GetObject", "s3:ListBucket"))
            self._allow(self._broken, without)
            self._count("policy broken")

    def _mend(self) -> None:
        if self._broken is not None:
            self._allow(self._broken)
            self._broken = None
            self._count("policy mended")

    def _allow(self, bucket: str, without: str = "") -> None:
        policy = seaweed.export_policy("")
        policy["s3:DeleteObject"] = ["*_tailrace/access-check-*"]
        policy.pop(without, None)
        self._server.put_policy(bucket, policy)


class _Opened:
    """The destinations' database, open for the time of a `with` block."""

    def __init__(self, data: Path, clock: Clock) -> None:
        self._engine = open_database(DataFolder(data).database)
        self._clock = clock

    def __enter__(self) -> Destinations:
        return Destinations(self._engine, self._clock, by="torture")

    def __exit__(self, *_: object) -> None:
        self._engine.dispose()


def _exports(destinations: Destinations) -> ManualExports:
    return ManualExports(destinations.engine, destinations.clock, by="torture")


def covers(destination: Destination, hour: Hour) -> bool:
    """Say whether an hour is in a destination's interval, and the destination still there."""
    if destination.state == "deleted":
        return False
    if destination.from_hour is None or hour < destination.from_hour:
        return False
    return destination.until_hour is None or hour < destination.until_hour
