"""One run: a service is set up, lives some days under kills, comes to rest, and is proven."""

from __future__ import annotations

import json
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec

from tailrace.accounts.projects import add_organization, add_project
from tailrace.clock import MICROS, SystemClock
from tailrace.demo import seaweed
from tailrace.demo.seaweed import Seaweed
from tailrace.folder import DataFolder
from tailrace.hours import Hour
from tailrace.ids import SystemIds
from tailrace.seal.names import marker_key
from tailrace.state.database import open_database
from tailrace.state.delivery import Cause
from tailrace.state.ledger import Ledger
from torture import inside
from torture.buckets import CHANGES, Owners
from torture.copies import copies_of, prove_copies, unfinished_uploads
from torture.journal import Journal
from torture.killer import Killer, seconds_since
from torture.landed import Copy, Found
from torture.load import Load
from torture.order import prove_order
from torture.persons import prove_persons
from torture.points import kill_points
from torture.proof import Sums, prove_project
from torture.service import ROLES, Service, pause

CLIENTS = 4
# A machine that does much else takes its time.
UP_SECONDS = 180
# After the last kill everything that is owed is delivered within this time.
REST_SECONDS = 600
# `tailrace init` dies at each of its points, one after the other.
INIT_STEMS = ("file", "secrets")
# What the very first start of each process puts into the folder.
FIRST_START = (
    ("serve", "file.written"),
    ("serve", "file.durable"),
    ("collector-1", "partitions.written"),
    ("collector-1", "partitions.renamed"),
    ("collector-2", "partitions.durable"),
)
TOLD_KILLS = 50
# No probe ends an outage that is only played.
PLAYED_SECONDS = 1800


class Options(msgspec.Struct, frozen=True):
    """What a run is asked for; `seconds_max` ends the killing early, however few died.

    The very first processes die in so many `births`. The long form has to kill at every point.
    """

    kills: int
    seed: int
    rate: int
    seconds_max: float
    rest_seconds: float = REST_SECONDS
    births: int = 1
    source: Path | None = None
    long: bool = False


class Result(msgspec.Struct):
    """What came of a run: it holds if there are no faults."""

    seed: int
    kills: int
    hours: float
    seconds: float
    at_points: dict[tuple[str, str], int]
    at_random: dict[str, int]
    restarts: int
    never_reached: list[str]
    never_killed: list[str]
    changes: dict[str, int]
    sums: Sums
    sealed_hours: int
    objects: int
    unfinished_uploads: int
    faults: list[str]


def torture(options: Options, tell: Callable[[str], None]) -> Result:
    """Run once, in a folder that is removed, and return what came of it."""
    with ExitStack() as put_away:
        folder = Path(put_away.enter_context(tempfile.TemporaryDirectory(prefix="torture-")))
        server = put_away.enter_context(seaweed.start(SystemIds()))
        service = Service(folder, options.source, options.rate)
        put_away.callback(service.end)
        run = _Run(options, tell, service, server)
        put_away.callback(run.journal.end)
        return run.run()


def undone(result: Result, kills: int) -> list[str]:
    """Return what a long run was to do and did not: it proves nothing of that."""
    wanted = [
        *(f"killed at {point}" for point in result.never_killed),
        *(f"killed {role} at random" for role in ROLES if not result.at_random.get(role)),
        *(change for change in CHANGES if not result.changes.get(change)),
        *(["restarted in order"] if not result.restarts else []),
    ]
    faults = [f"never: {', '.join(wanted)}"] if wanted else []
    if result.kills < kills:
        faults.append(f"only {result.kills} kills instead of {kills}")
    return faults


def end_on_a_signal() -> None:
    """Let SIGTERM do what Ctrl-C does: no process and no folder stays behind."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))


class _Run:
    def __init__(
        self, options: Options, tell: Callable[[str], None], service: Service, server: Seaweed
    ) -> None:
        self._options = options
        self._tell = tell
        self._service = service
        self._server = server
        self._chance = random.Random(f"{options.seed}-killer")
        self._began = time.monotonic()
        self._faults: list[str] = []
        self._told = 0
        self.journal = Journal(server)

    def run(self) -> Result:
        service, options = self._service, self._options
        self._be_born()
        projects = self._projects()
        self._start()
        load = Load(service, {p: key for p, (_, key) in projects.items()}, options.seed, CLIENTS)
        killer = Killer(service, load, self._chance, options.kills)
        organizations = {project: number for project, (number, _) in projects.items()}
        owners = Owners(service, self._server, organizations, options.seed)
        load.start()
        owners.start()
        self._tell("the service is up; the killing begins")
        until = time.monotonic() + options.seconds_max
        killer.run(lambda: self._goes_on(killer, load, owners, until))
        self._tell(f"{killer.kills()} kills; the owners come to an end")
        owners.stop()
        if self._options.births:
            self._rare_points(owners)
        self._tell("the last hour has to end, and all be delivered")
        last = self._come_to_rest(load, owners)
        self._faults += owners.failures
        self._faults += load.failures
        self._faults += service.deaths_of_its_own()
        code = service.stop()
        if code != 0:
            self._faults.append(f"serve was stopped and ended with {code}")
        return self._prove(load, owners, killer, last)

    def _be_born(self) -> None:
        """Make the data folder; `init` is killed at its points and done again."""
        ways = [("written", "renamed"), ("written", "durable")]
        self._chance.shuffle(ways)
        for way in ways[: self._options.births]:
            shutil.rmtree(self._service.data, ignore_errors=True)
            self._bear(way)
        if not self._options.births:
            self._bear(())

    def _bear(self, suffixes: Sequence[str]) -> None:
        # What was renamed is not written again: it can't die there and after that.
        self._arm(("command", f"{stem}.{suffix}") for stem in INIT_STEMS for suffix in suffixes)
        for _ in range(len(INIT_STEMS) * len(suffixes) + 1):
            code, _, err = self._service.command("init")
            if code == 0:
                break
            if code != -signal.SIGKILL:
                raise AssertionError(f"init failed with {code}: {err}")
        self._disarm()

    def _arm(self, places: Iterable[tuple[str, str]]) -> None:
        for role, point in places:
            inside.armed_file(self._service.folder, role, point).touch()

    def _disarm(self) -> None:
        for path in (self._service.folder / inside.ARMED).iterdir():
            path.unlink(missing_ok=True)

    def _projects(self) -> dict[int, tuple[int, str]]:
        """Return three projects of two organizations: project, organization and API key."""
        folder = DataFolder(self._service.data)
        code, out, err = self._service.command("project", "add", "--name", "second", "--json")
        if code != 0:
            raise AssertionError(f"project add failed: {err}")
        second = json.loads(out)
        engine = open_database(folder.database)
        try:
            clock, ids = folder.clock(), SystemIds()
            other = add_organization(engine, "another", clock=clock)
            third = add_project(engine, other, "third", ids=ids, clock=clock)
            first = add_project(engine, second["org_id"], "first", ids=ids, clock=clock)
        finally:
            engine.dispose()
        return {
            first.project_id: (second["org_id"], first.api_key),
            second["project_id"]: (second["org_id"], second["api_key"]),
            third.project_id: (other, third.api_key),
        }

    def _start(self) -> None:
        """Start for the first time, with deaths at points that no later start reaches."""
        if self._options.births:
            self._arm(FIRST_START)
        self._service.start()
        armed = self._service.folder / inside.ARMED
        self._service.wait_for(lambda: not any(armed.iterdir()), UP_SECONDS)
        if not self._service.wait_for(self._is_up, UP_SECONDS):
            raise AssertionError(f"the service did not come up: {self._service.log.read_text()}")
        self._disarm()

    def _is_up(self) -> bool:
        return {role for _, role in self._service.processes()} >= set(ROLES)

    def _goes_on(self, killer: Killer, load: Load, owners: Owners, until: float) -> bool:
        kills = killer.kills()
        if kills >= self._told + TOLD_KILLS:
            self._told = kills
            self._tell(f"{kills} kills, {self._service.hours_run():.1f} hours")
        return not (owners.failures or load.failures) and time.monotonic() < until

    def _rare_points(self, owners: Owners) -> None:
        """Kill at points that nothing else reaches, or hardly."""
        for suffix in ("written", "renamed", "durable"):
            self._arm([("command", f"clock_accepted.{suffix}")])
            self._service.command("clock", "accept")
        self._disarm()
        self._mail_of_an_outage(owners)

    def _mail_of_an_outage(self, owners: Owners) -> None:
        """Let an outage begin and kill who makes its mail; then it ends.

        Real ones need half an hour in which an exporter lives.
        """
        played = Cause("access", "Played", "The torture plays an outage.", "It ends by itself.")
        place = ("exporter", "mail.before_commit")
        before = self._service.counts(inside.POINT_KILLS).get(place, 0)
        self._arm([place])
        with owners.opened() as destinations:
            ledger = Ledger(destinations.engine, destinations.clock)
            found = next(one for one in destinations.list() if one.state == "active")
            probe = SystemClock().now_micros() + PLAYED_SECONDS * MICROS
            ledger.begin_outage(found.id, played, probe)
            self._service.wait_for(
                lambda: self._service.counts(inside.POINT_KILLS).get(place, 0) > before, UP_SECONDS
            )
            ledger.end_outage(found.id)
        self._disarm()

    def _come_to_rest(self, load: Load, owners: Owners) -> Hour:
        """Let the last hour end and all be delivered; return the last hour with events."""
        if not self._service.wait_for(self._is_up, UP_SECONDS):
            self._faults.append("the service did not come up after the last kill")
        before = load.memory.acknowledged
        if not self._service.wait_for(lambda: load.memory.acknowledged > before, UP_SECONDS):
            self._faults.append(
                f"no request was answered 200 in {UP_SECONDS} s after the last kill"
            )
        load.stop()
        last = self._service.hour()
        self._service.wait_for(lambda: self._service.hour() > last, UP_SECONDS)
        self._service.slow_down()
        mains = [owned for owned in owners.owned if owned.main]
        began = time.monotonic()
        wanted = [(one.bucket, marker_key(one.prefix, one.project, last)) for one in mains]
        while missing := [place for place in wanted if not self._exists(*place)]:
            if seconds_since(began) > self._options.rest_seconds:
                waited = f"{self._options.rest_seconds:.0f} s after the last kill"
                self._faults.append(f"not delivered {waited}: {missing}")
                return last
            pause(0.2)
        while owed := self._is_owed(last):
            if seconds_since(began) > self._options.rest_seconds:
                self._faults.append(
                    f"owed {self._options.rest_seconds:.0f} s after the last kill: {owed}"
                )
                return last
            pause(1.0)
        return last

    def _exists(self, bucket: str, key: str) -> bool:
        found = self._server.client(self._server.owner).list_objects_v2(
            Bucket=bucket, Prefix=key, MaxKeys=1
        )
        return found["KeyCount"] == 1

    def _is_owed(self, last: Hour) -> str | None:
        """Return the oldest hour up to the last one that a destination lacks, as the service says.

        This only tells when to read the buckets; what they lack is seen there.
        """
        code, out, err = self._service.command("status", "--json")
        if code != 0:
            return f"status failed with {code}: {err}"
        oldest = json.loads(out)["oldest_owed_hour"]
        return None if oldest is None or Hour.parse(oldest) > last else str(oldest)

    def _prove(self, load: Load, owners: Owners, killer: Killer, last: Hour) -> Result:
        self._tell("the service has stopped; the buckets are read")
        faults = self._faults
        happenings = self.journal.stop()
        copies = copies_of(owners, self._server)
        faults += prove_copies(copies, owners, last)
        attempts = load.memory.all()
        sums = Sums()
        lines_of: dict[int, list[Found]] = {}
        merged_in: dict[int, Copy] = {}
        for one in owners.owned:
            if one.main:
                main = copies[one.bucket, one.prefix]
                records = main.records(one.project)
                lines = list(main.lines(one.project))
                faults += prove_project(one.project, lines, records, attempts, sums)
                organization = owners.organizations[one.project]
                lines_of.setdefault(organization, []).extend(lines)
                merged_in[organization] = main
        for organization, lines in lines_of.items():
            merged = merged_in[organization].merged(organization)
            faults += prove_persons(organization, lines, merged, sums)
        faults += prove_order(happenings, copies.values(), self._service.timeline)
        points = kill_points()
        reached = {point for _, point in self._service.counts(inside.REACHED)}
        at_points = dict(self._service.counts(inside.POINT_KILLS))
        killed = {point for _, point in at_points}
        never_reached = sorted(set(points) - reached)
        never_killed = sorted(set(points) - killed)
        result = Result(
            seed=self._options.seed,
            kills=killer.kills(),
            hours=self._service.hours_run(),
            seconds=seconds_since(self._began),
            at_points=at_points,
            at_random=dict(killer.at_random),
            restarts=killer.restarts,
            never_reached=never_reached,
            never_killed=never_killed,
            changes=owners.changes,
            sums=sums,
            sealed_hours=sum(len(copy.manifests) for copy in copies.values()),
            objects=sum(len(copy.keys) for copy in copies.values()),
            unfinished_uploads=unfinished_uploads(owners, self._server),
            faults=faults,
        )
        if self._options.long:
            result.faults += undone(result, self._options.kills)
        return result
