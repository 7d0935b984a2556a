"""Merged IDs from requests to the bucket: one person, one id, for whoever joins the files.

The real processor, closer and exporter, and a real S3 server.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import msgspec
import pytest

from tailrace import killpoints
from tailrace.accounts.projects import add_organization, add_project
from tailrace.demo import seaweed
from tailrace.export.deliver import LEASE_SECONDS
from tailrace.files import Files
from tailrace.hours import HOUR_MICROS, Hour
from tailrace.ids import SystemIds
from tailrace.log.record import Entry, Position, Record
from tailrace.process.loop import Processor
from tailrace.seal.closer import Closer
from tailrace.seal.names import file_key, manifest_key, marker_key
from tailrace.seal.proof import check_chain
from tailrace.state.delivery import Destination
from tailrace.state.manual_exports import ManualExports, NewManualExport
from tailrace.state.processing import HourSettings, ProcessingStore

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

PREFIX = "exports/"
FIRST = Hour.parse("2026-11-23T06")

# Real syncs of four hours, and some dozens of requests to the S3 server.
pytestmark = pytest.mark.slow


class Site:
    """An organization with a shop and a site, and another one, whose devices have the same ids."""

    def __init__(self, world: Any, folder: Path) -> None:
        self.world = world
        self.organization, self.shop = world.organization, world.project
        self.site = self._project(self.organization)
        self.other = add_organization(world.engine, "Other", clock=world.clock)
        self.other_shop = self._project(self.other)
        self.as_older_release = False
        self._folder = folder
        self._entries: list[Entry] = []
        self._hidden: list[tuple[str, tuple[int, ...]]] = []

    def _project(self, organization: int) -> int:
        world = self.world
        made = add_project(world.engine, organization, "P", ids=SystemIds(), clock=world.clock)
        return made.project_id

    def send(self, hour: Hour, project: int, *events: tuple[str, str | None, str]) -> None:
        """Append one request with events of (device, user, person)."""
        body = json.dumps(
            {
                "events": [
                    {
                        "event_type": "e",
                        "device_id": device,
                        "user_id": user,
                        "event_properties": {"person": person},
                    }
                    for device, user, person in events
                ]
            }
        ).encode()
        organization = self.other if project == self.other_shop else self.organization
        stamp = hour.start_micros + (len(self._entries) + 1) * 1_000_000
        self._append(
            stamp,
            Record(
                organization, project, "/2/httpapi", stamp, None, "203.0.113.7", len(events), body
            ),
        )

    def _append(self, stamp: int, record: Record | None) -> None:
        at = len(self._entries) + 1
        self._entries.append(Entry(1, at, at + 1, stamp, record))

    def read_round(self, positions: Mapping[int, Position], limit_bytes: int) -> Sequence[Entry]:
        return self._entries[positions[1].position - 1 if 1 in positions else 0 :]

    def seal(self, hour: Hour) -> None:
        """Let the log leave the hour, process it all and seal it."""
        self._append(hour.end_micros, None)
        world = self.world
        store = ProcessingStore.open(self._folder / "processing.sqlite", SystemIds())
        processor = Processor(
            self, store, world.archive, world.clock, Files(), lambda _: HourSettings(),
            self._folder / "processing.lock",
        )  # fmt: skip
        closer = Closer(
            store,
            world.archive,
            world.ledger,
            epoch=processor.epoch,
            partition_bytes=10**6,
            partitions=lambda: [1],
        )
        try:
            closer.recover()
            while processor.run_round():
                pass
            processor.checkpoint()
            if self.as_older_release:
                self._hide_merges(store)
            closer.finish()
        finally:
            closer.close()
            processor.close()
            store.close()

    def _hide_merges(self, store: ProcessingStore) -> None:
        """Seal as a release did that recorded merges and wrote no files of them."""
        with store.transaction() as connection:
            for table in ("merge", "merge_hour"):
                rows = connection.execute(f"SELECT * FROM {table}").fetchall()
                self._hidden += [(table, row) for row in rows]
                connection.execute(f"DELETE FROM {table}")

    def upgrade(self) -> None:
        """Go on with this release, over what the older one left."""
        self.as_older_release = False
        store = ProcessingStore.open(self._folder / "processing.sqlite", SystemIds())
        with store.transaction() as connection:
            for table, row in self._hidden:
                marks = ", ".join("?" * len(row))
                connection.execute(f"INSERT INTO {table} VALUES ({marks})", row)
        store.close()

    def live(self) -> None:
        """Live through four hours in which devices turn out to be known people's."""
        shop, site, other = self.shop, self.site, self.other_shop
        self.send(FIRST, shop, ("phone", None, "jo"), ("phone", "jo", "jo"))
        self.send(FIRST, shop, ("kiosk", None, "nobody"))
        self.seal(FIRST)
        second = FIRST.plus(1)
        # Known in the shop, then anonymous and known on the site, on three devices at once.
        self.send(second, site, *((name, None, "jo") for name in ("tv", "laptop", "car")))
        self.send(second, site, ("tv", "jo", "jo"), ("car", "jo", "jo"), ("laptop", "jo", "jo"))
        self.send(second, other, ("tv", None, "ann"), ("tv", "jo", "ann"), ("tv2", None, "ann"))
        self.send(second, other, ("tv2", "jo", "ann"))
        self.seal(second)
        self.send(FIRST.plus(2), shop, ("phone", None, "jo"), ("kim-1", "kim", "kim"))
        self.seal(FIRST.plus(2))
        self.send(FIRST.plus(3), shop, ("kim-2", None, "kim"), ("kim-2", "kim", "kim"))
        self.seal(FIRST.plus(3))


@pytest.fixture
def lived(world: Any, tmp_path: Path) -> Site:
    site = Site(world, tmp_path)
    site.live()
    return site


class Bucket:
    """A bucket as its owner reads it."""

    def __init__(self, owner: S3Client, name: str, prefix: str = PREFIX) -> None:
        self._owner = owner
        self._name = name
        self._prefix = prefix

    def listed(self) -> set[str]:
        contents = self._owner.list_objects_v2(Bucket=self._name).get("Contents", [])
        return {one["Key"].removeprefix(self._prefix) for one in contents}

    def body(self, key: str) -> bytes:
        return self._owner.get_object(Bucket=self._name, Key=self._prefix + key)["Body"].read()

    def lines(self, key: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in gzip.decompress(self.body(key)).splitlines()]

    def merged(self, organization: int) -> dict[Hour, list[dict[str, Any]]]:
        """Return the lines of each merged-ID file."""
        found = {}
        for offset in range(4):
            key = file_key("", -organization, FIRST.plus(offset), 0)
            if key in self.listed():
                found[FIRST.plus(offset)] = self.lines(key)
        return found

    def check_hours(self, organization: int, offsets: Sequence[int]) -> None:
        """Check that these hours of merged IDs, and no others, have manifest and marker."""
        hours = [FIRST.plus(offset) for offset in offsets]
        manifests = [manifest_key("", -organization, hour) for hour in hours]
        markers = {marker_key("", -organization, hour) for hour in hours}
        keys = self.listed()
        assert {key for key in keys if key.startswith(f"_manifests/-{organization}/")} == set(
            manifests
        )
        assert {key for key in keys if key.endswith("_complete") and key[0] == "-"} == markers
        checked = check_chain(self.body(key) for key in manifests)
        for one in checked:
            for file in one.record.files:
                assert len(self.lines(f"-{organization}/{file.name}")) == file.lines
                assert f"{self._prefix}-{organization}/{file.name}" in one.keys

    def people(self, folder: Path, *projects: int) -> dict[str, int]:
        """Return how many ids each person has, joined as a data engineer does."""
        folder.mkdir()
        for key in self.listed():
            if key.endswith(".json.gz"):
                (folder / key.replace("/", "__")).write_bytes(self.body(key))
        events = [str(path) for one in projects for path in folder.glob(f"{one}__*")]
        merged = [str(path) for path in folder.glob("-*")]
        rows = duckdb.execute(
            "select json_extract_string(event_properties, '$.person') as person, "
            "count(distinct coalesce(merged_amplitude_id, amplitude_id)) "
            "from read_json($events, format = 'newline_delimited', "
            "columns = {amplitude_id: 'bigint', event_properties: 'json'}) as events "
            "left join read_json($merged, format = 'newline_delimited', "
            "columns = {amplitude_id: 'bigint', merged_amplitude_id: 'bigint'}) as merged "
            "using (amplitude_id) group by 1",
            {"events": events, "merged": merged},
        ).fetchall()
        return dict(rows)


def deliver_all(world: Any) -> None:
    exporter = world.exporter()
    while exporter.deliver_next():
        pass


def states(world: Any) -> set[str]:
    return {run.state for run in world.ledger.runs()}


def test_one_person_of_two_projects_has_one_id_in_the_bucket(
    world: Any, lived: Site, bucket: str, owner: S3Client, tmp_path: Path
) -> None:
    world.add_destination(bucket, include_merged_ids=True)
    world.add_destination(bucket, project=lived.site)
    deliver_all(world)

    seen = Bucket(owner, bucket)
    assert states(world) == {"success"}
    second, fourth = FIRST.plus(1), FIRST.plus(3)
    merged = seen.merged(lived.organization)
    assert {hour: len(lines) for hour, lines in merged.items()} == {second: 3, fourth: 1}
    keys = ["scope", "merge_time", "merge_server_time", "amplitude_id", "merged_amplitude_id"]
    assert all(list(line) == keys for lines in merged.values() for line in lines)
    assert {line["scope"] for lines in merged.values() for line in lines} == {-lived.organization}
    # In the order in which the devices were recognised: tv, car, laptop.
    first = merged[second][0]["amplitude_id"]
    assert [line["amplitude_id"] - first for line in merged[second]] == [0, 2, 1]
    seen.check_hours(lived.organization, range(4))
    assert not any(f"-{lived.other}" in key for key in seen.listed())

    people = seen.people(tmp_path / "read", lived.shop, lived.site)
    assert people == {"jo": 1, "kim": 1, "nobody": 1}


def test_two_destinations_on_one_prefix_find_each_others_files(
    world: Any, lived: Site, bucket: str, owner: S3Client
) -> None:
    world.add_destination(bucket, include_merged_ids=True)
    deliver_all(world)
    seen = Bucket(owner, bucket)
    before = {key: seen.body(key) for key in seen.listed() if key[0] == "-" or "/-" in key}
    both = world.add_destination(bucket, project=lived.site, include_merged_ids=True)
    deliver_all(world)
    assert states(world) == {"success"}
    files = world.ledger.delivered_files(both.id, "merged-ids", FIRST.plus(1))
    assert [file.how for file in files] == ["found"]
    assert {key: seen.body(key) for key in before} == before
    seen.check_hours(lived.organization, range(4))


def test_each_organization_gets_its_own(
    world: Any, lived: Site, server: Any, bucket: str, owner: S3Client, tmp_path: Path
) -> None:
    theirs = f"{bucket}-other"
    server.create_bucket(theirs)
    server.put_policy(theirs, seaweed.export_policy(PREFIX))
    world.add_destination(bucket, include_merged_ids=True)
    world.add_destination(theirs, project=lived.other_shop, include_merged_ids=True)
    deliver_all(world)
    ours, other = Bucket(owner, bucket), Bucket(owner, theirs)
    assert states(world) == {"success"}
    assert {key.split("/")[-2] for key in ours.listed()} == {
        str(lived.shop),
        str(-lived.organization),
    }
    assert {key.split("/")[-2] for key in other.listed()} == {
        str(lived.other_shop),
        f"-{lived.other}",
    }
    assert [line["scope"] for lines in other.merged(lived.other).values() for line in lines] == [
        -lived.other
    ]
    assert other.people(tmp_path / "read", lived.other_shop) == {"ann": 1}


def test_merged_ids_that_are_switched_on_later_come_with_all_past_ones(
    world: Any, lived: Site, bucket: str, owner: S3Client, tmp_path: Path
) -> None:
    first = world.add_destination(bucket)
    deliver_all(world)
    seen = Bucket(owner, bucket)
    assert seen.merged(lived.organization) == {}
    seen.check_hours(lived.organization, [])

    # Days later, so that no hour with merges is of today.
    world.clock.advance(5 * 24 * HOUR_MICROS)
    seen_so_far = world.destinations.get(first.id)
    wanted = msgspec.structs.replace(seen_so_far, include_merged_ids=True)
    world.destinations.edit(seen_so_far, wanted, None, now_micros=0)
    deliver_all(world)
    # The empty hour that its interval covers as well.
    seen.check_hours(lived.organization, range(4))
    assert {hour: len(lines) for hour, lines in seen.merged(lived.organization).items()} == {
        FIRST.plus(1): 3,
        FIRST.plus(3): 1,
    }
    assert seen.people(tmp_path / "read", lived.shop) == {"jo": 1, "kim": 1, "nobody": 1}

    added = world.add_destination(bucket, prefix="exports/later/", include_merged_ids=True)
    deliver_all(world)
    later = Bucket(owner, bucket, "exports/later/")
    # From the first hour with merges on; the empty one in between is a link of the chain.
    later.check_hours(lived.organization, [1, 2, 3])
    assert later.merged(lived.organization) == seen.merged(lived.organization)
    assert {run.data_type for run in world.ledger.runs(destination_id=added.id)} == {"merged-ids"}
    assert world.ledger.check_derived() == 0


def start_by_hand(world: Any, to: Destination, *types: str, overwrite: bool = False) -> int:
    """Start a manual export of the four hours that were lived; return its number."""
    export = ManualExports(world.engine, world.clock, by="test").start(
        NewManualExport(
            destination_id=to.id,
            from_hour=FIRST,
            until_hour=FIRST.plus(4),
            include_events="events" in types,
            include_merged_ids="merged-ids" in types,
            overwrite=overwrite,
        )
    )
    return export.id


def test_merged_ids_are_exported_by_hand_as_events_are(
    world: Any, lived: Site, bucket: str, owner: S3Client, tmp_path: Path
) -> None:
    # So late that the destination owes none of these hours by itself.
    world.clock.advance(5 * 24 * HOUR_MICROS)
    shop = world.add_destination(bucket)
    deliver_all(world)
    seen = Bucket(owner, bucket)
    assert seen.listed() == set()

    both = start_by_hand(world, shop, "events", "merged-ids")
    deliver_all(world)

    runs = world.ledger.runs(manual_export=both)
    assert {(run.data_type, run.state) for run in runs} == {
        ("events", "success"),
        ("merged-ids", "success"),
    }
    seen.check_hours(lived.organization, range(4))
    assert {hour: len(lines) for hour, lines in seen.merged(lived.organization).items()} == {
        FIRST.plus(1): 3,
        FIRST.plus(3): 1,
    }
    assert seen.people(tmp_path / "read", lived.shop) == {"jo": 1, "kim": 1, "nobody": 1}
    assert not any(f"-{lived.other}" in key for key in seen.listed())
    assert world.ledger.check_derived() == 0


def test_other_content_in_place_of_merged_ids_is_replaced_only_when_asked_to(
    world: Any, lived: Site, bucket: str, owner: S3Client
) -> None:
    world.clock.advance(5 * 24 * HOUR_MICROS)
    added = world.add_destination(bucket)
    key = file_key("", -lived.organization, FIRST.plus(1), 0)
    owner.put_object(Bucket=bucket, Key=PREFIX + key, Body=b"of another")
    seen = Bucket(owner, bucket)

    left = start_by_hand(world, added, "merged-ids")
    deliver_all(world)

    (conflict,) = world.ledger.runs(manual_export=left, states=("conflict",))
    assert (conflict.hour, conflict.cause.key) == (FIRST.plus(1), PREFIX + key)
    assert seen.body(key) == b"of another"
    start_by_hand(world, added, "merged-ids", overwrite=True)
    deliver_all(world)
    (file,) = world.ledger.delivered_files(
        added.id, "merged-ids", FIRST.plus(1), manual_export=left + 1
    )
    assert file.how == "replaced"
    seen.check_hours(lived.organization, range(4))
    assert len(seen.merged(lived.organization)[FIRST.plus(1)]) == 3


@pytest.mark.parametrize("included", [False, True])
def test_past_merges_of_an_older_folder_come_out_in_their_hours(
    world: Any, tmp_path: Path, bucket: str, owner: S3Client, included: bool
) -> None:
    site = Site(world, tmp_path)
    site.as_older_release = True
    site.live()
    added = world.add_destination(bucket, include_merged_ids=included)
    deliver_all(world)
    seen = Bucket(owner, bucket)
    assert states(world) == {"success"}
    assert seen.merged(site.organization) == {}

    site.upgrade()
    site.send(FIRST.plus(4), site.shop, ("kim-2", None, "kim"))
    site.seal(FIRST.plus(4))
    seen_so_far = world.destinations.get(added.id)
    wanted = msgspec.structs.replace(seen_so_far, include_merged_ids=True)
    world.destinations.edit(seen_so_far, wanted, None, now_micros=0)
    deliver_all(world)
    if included:
        # Hours that were delivered as empty are not: a person has to move their manifests away.
        runs = world.ledger.runs(states=("conflict",))
        keys = [manifest_key("", -site.organization, FIRST.plus(offset)) for offset in (3, 2, 1)]
        assert [run.cause.key for run in runs] == [PREFIX + key for key in keys]
        for key in keys:
            owner.delete_object(Bucket=bucket, Key=PREFIX + key)
        world.destinations.activate(added.id, added.capabilities)
        deliver_all(world)
    assert states(world) == {"success"}
    seen.check_hours(site.organization, range(5))
    assert {hour: len(lines) for hour, lines in seen.merged(site.organization).items()} == {
        FIRST.plus(1): 3,
        FIRST.plus(3): 1,
    }
    assert seen.people(tmp_path / "read", site.shop) == {"jo": 1, "kim": 1, "nobody": 1}


class Died(BaseException):
    """Not an Exception: nothing may catch it, as nothing catches a kill."""


@pytest.mark.parametrize(
    "point", ["export.put", "export.manifest", "ledger.file_delivered", "ledger.succeeded"]
)
def test_a_death_while_merged_ids_are_delivered_leaves_every_object_once(
    world: Any,
    lived: Site,
    bucket: str,
    owner: S3Client,
    monkeypatch: pytest.MonkeyPatch,
    point: str,
) -> None:
    world.add_destination(bucket, include_events=False, include_merged_ids=True)

    def die(name: str) -> None:
        if name == point:
            raise Died(name)

    deaths = 0
    for _ in range(4):
        with monkeypatch.context() as patched:
            patched.setattr(killpoints, "reached", die)
            try:
                world.exporter().deliver_next()
            except Died:
                deaths += 1
        world.wait(LEASE_SECONDS + 1)
    assert deaths
    deliver_all(world)
    seen = Bucket(owner, bucket)
    assert states(world) == {"success"}
    seen.check_hours(lived.organization, range(4))
    assert len(seen.listed()) == 4 * 2 + 2
