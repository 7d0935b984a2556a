"""The plan of a manual export: what it reads from the bucket, and what it makes of it."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

import pytest

from tailrace.app.editing import Edit
from tailrace.demo import seaweed
from tailrace.errors import BadRequest
from tailrace.export.backfill import Plan, plan
from tailrace.export.deliver import Layout
from tailrace.export.objects import store_of
from tailrace.export.ranges import HourRange, parse_range
from tailrace.export.tally import NAMED_MAX, Amount, Tally
from tailrace.hours import Hour
from tailrace.seal import manifest, names
from tailrace.state.delivery import DataType, Destination
from tailrace.state.manual_reports import KnownFile, KnownHour
from tailrace.state.sealed import SealedFile
from tests.export.editing import editor_of
from tests.export.test_manual_exports import OLD, deliver_all, keys_of, seal, start, states

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

DATA = gzip.compress(b'{"event_type":"one"}\n', mtime=0)
OTHER = gzip.compress(b'{"event_type":"another"}\n', mtime=0)
LAYOUT = Layout(names.file_key, names.manifest_key, names.marker_key, manifest.manifest_body)
NOW = Hour.parse("2026-03-05T10")
NOTHING = Amount(0, 0)


def plan_of(
    world: Any, to: Destination, *, hours: int = 24, overwrite: bool = False, **options: Any
) -> Plan:
    store = store_of(world.clients.of(to), to)
    asked = HourRange(OLD, OLD.plus(hours))
    types = options.get("types", ("events",))
    return plan(to, asked, types, world.ledger, store, LAYOUT, overwrite=overwrite)


def test_an_empty_bucket_is_to_get_everything_and_then_has_it(world: Any, bucket: str) -> None:
    added = world.add_destination(bucket)
    for number in (0, 9, 10, 30):
        seal(world, number, DATA, OTHER)
    before = plan_of(world, added, hours=48)
    assert (before.hours, before.lines, before.bytes) == (
        {"events": 4},
        {"events": 8},
        4 * len(DATA + OTHER),
    )
    assert before.already_there == before.conflicts == NOTHING
    assert before.to_write.objects == 16
    assert before.to_write.bytes > before.bytes, "manifests have bytes as well"

    start(world, added, hours=48)
    deliver_all(world)

    after = plan_of(world, added, hours=48)
    assert (after.already_there, after.to_write) == (before.to_write, NOTHING)
    assert after.not_sealed_from == OLD.plus(31)


def test_the_range_bounds_what_is_counted(world: Any, bucket: str) -> None:
    added = world.add_destination(bucket)
    for number in (0, 5, 6, 24):
        seal(world, number)
    start(world, added, hours=48)
    deliver_all(world)
    found = plan_of(world, added, hours=6)
    assert (found.hours, found.already_there.objects) == ({"events": 2}, 6)
    assert found.not_sealed_from is None


def test_what_is_missing_and_what_is_other_are_told_apart_by_size(
    world: Any, bucket: str, owner: S3Client, proxy: Any
) -> None:
    added = world.add_destination(bucket, endpoint_url=proxy.url)
    hours = [seal(world, number) for number in range(3)]
    start(world, added)
    deliver_all(world)
    owner.delete_object(Bucket=bucket, Key=keys_of(world, hours[0])["marker"])
    owner.put_object(Bucket=bucket, Key=keys_of(world, hours[1])["file"], Body=b"theirs")
    del proxy.requests[:]

    found = plan_of(world, added)

    assert (found.already_there.objects, found.to_write) == (7, Amount(1, 0))
    assert found.conflicts == Amount(1, len(DATA))
    assert found.conflict_keys == (keys_of(world, hours[1])["file"],)
    assert len(proxy.requests) == 2, "one list of files, one of manifests, and nothing else"


def test_objects_that_the_ledger_does_not_know_are_looked_at(
    world: Any, bucket: str, owner: S3Client, proxy: Any
) -> None:
    added = world.add_destination(bucket, endpoint_url=proxy.url)
    ours, theirs = seal(world, 0), seal(world, 1)
    metadata = {"tailrace-sha256": world.ledger.files_of_hour(world.project, ours)[0].sha256}
    for hour, known in ((ours, metadata), (theirs, {})):
        owner.put_object(Bucket=bucket, Key=keys_of(world, hour)["file"], Body=DATA, Metadata=known)
    found = plan_of(world, added)
    assert (found.already_there.objects, found.to_write.objects) == (1, 4)
    assert found.conflict_keys == (keys_of(world, theirs)["file"],)
    assert len([line for line in proxy.requests if line.startswith("HEAD")]) == 2


def test_what_was_delivered_before_a_move_is_not_taken_for_known_at_the_new_place(
    world: Any, bucket: str, owner: S3Client, proxy: Any, server: seaweed.Seaweed
) -> None:
    added = world.add_destination(bucket, endpoint_url=proxy.url, prefix="before/")
    hour = seal(world)
    policy = seaweed.export_policy("")
    policy["s3:DeleteObject"] = ["*_tailrace/access-check-*"]
    server.put_policy(bucket, policy)
    start(world, added)
    deliver_all(world)
    theirs = keys_of(world, hour)["file"]
    owner.put_object(Bucket=bucket, Key=theirs, Body=b"x" * len(DATA))
    assert editor_of(world).edit(added.id, Edit(prefix="exports/")).changed == ("prefix",)
    moved = world.destinations.get(added.id)

    found = plan_of(world, moved)

    assert found.conflict_keys == (theirs,)
    assert (found.already_there, found.to_write.objects) == (NOTHING, 2)
    export = start(world, moved)
    deliver_all(world)
    assert states(world, export) == {hour: "conflict"}

    # Once it has the hour there, its objects are told by their size again.
    world.wait(1)
    start(world, moved, overwrite=True)
    deliver_all(world)
    del proxy.requests[:]
    assert plan_of(world, moved).already_there.objects == 3
    assert not any(line.startswith("HEAD") for line in proxy.requests)


def test_files_that_are_named_like_ours_are_counted_as_unknown(
    world: Any, bucket: str, owner: S3Client
) -> None:
    added = world.add_destination(bucket)
    hour = seal(world, 1)
    seal(world, 10)
    key = keys_of(world, hour)["file"]
    for number in range(2, 2 + NAMED_MAX + 1):
        owner.put_object(Bucket=bucket, Key=key.replace("#1", f"#{number}"), Body=b"theirs")
    owner.put_object(Bucket=bucket, Key=f"exports/{world.project}/notes.txt", Body=b"theirs")
    found = plan_of(world, added)
    assert (found.unknown, len(found.unknown_keys)) == (NAMED_MAX + 1, NAMED_MAX)
    assert found.to_write.objects == 6


@pytest.mark.parametrize("overwrite", [False, True])
def test_hours_that_the_archive_has_dropped_are_named_unless_the_bucket_holds_them(
    world: Any, bucket: str, owner: S3Client, overwrite: bool
) -> None:
    added = world.add_destination(bucket)
    hours = [seal(world, number) for number in range(4)]
    start(world, added)
    deliver_all(world)
    for hour in hours[:3]:
        (file,) = world.ledger.files_of_hour(world.project, hour)
        assert world.ledger.mark_removed(file)
    owner.delete_object(Bucket=bucket, Key=keys_of(world, hours[1])["file"])
    owner.put_object(Bucket=bucket, Key=keys_of(world, hours[2])["file"], Body=b"theirs")
    found = plan_of(world, added, overwrite=overwrite)
    gone = hours[1:3] if overwrite else hours[1:2]
    assert (found.dropped_hours, found.dropped) == (len(gone), tuple(gone))
    assert found.to_write == NOTHING
    assert found.conflicts.objects == (0 if overwrite else 1)


def test_an_hour_of_which_both_data_types_were_dropped_is_one_hour(world: Any, bucket: str) -> None:
    added = world.add_destination(bucket, manifest=False, marker=False)
    store = store_of(world.clients.of(added), added)
    tally = Tally(added, store, LAYOUT, overwrite=False)
    types: tuple[DataType, ...] = ("events", "merged-ids")
    for data_type in types:
        scope = added.scope_of(data_type)
        file = SealedFile(scope, OLD, 1, "name", 100, "ab" * 32, 7, 2, 300)
        hour = KnownHour(scope, OLD, b"", "ab" * 32, (KnownFile(file, dropped=True),), False)
        tally.add(data_type, [hour], [])
    assert (tally.dropped_hours, tally.dropped) == (1, [OLD])


def test_manifests_and_markers_that_are_switched_off_are_not_asked_for(
    world: Any, bucket: str
) -> None:
    added = world.add_destination(bucket, manifest=False, marker=False)
    seal(world)
    assert plan_of(world, added).to_write == Amount(1, len(DATA))


def test_a_year_is_read_a_thousand_objects_at_a_time(
    world: Any, bucket: str, owner: S3Client, proxy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    added = world.add_destination(bucket, endpoint_url=proxy.url)
    for number in range(0, 30 * 24, 24):
        seal(world, number)
    start(world, added, hours=720)
    deliver_all(world)
    del proxy.requests[:]
    found = plan_of(world, added, hours=720)
    assert (found.hours, found.already_there.objects) == ({"events": 30}, 90)
    assert len([line for line in proxy.requests if "list-type=2" in line]) == 2


class TestRanges:
    """Both ends are included, and what is wrong is told by its field."""

    @pytest.mark.parametrize(
        ("first", "last", "begin", "until"),
        [
            ("2026-01-02", "2026-01-02", "2026-01-02T00", "2026-01-03T00"),
            ("2026-01-02", "2026-02-28", "2026-01-02T00", "2026-03-01T00"),
            ("2026-01-02T15", "2026-01-02T15", "2026-01-02T15", "2026-01-02T16"),
            ("2026-01-02T15", "2026-01-02", "2026-01-02T15", "2026-01-03T00"),
            ("2026-03-05", "2026-03-05", "2026-03-05T00", "2026-03-06T00"),
            ("1970-01-01", "2026-03-05T10", "1970-01-01T00", "2026-03-05T11"),
        ],
    )
    def test_dates_are_whole_days_and_hours_are_hours(
        self, first: str, last: str, begin: str, until: str
    ) -> None:
        assert parse_range(first, last, NOW) == HourRange(Hour.parse(begin), Hour.parse(until))

    @pytest.mark.parametrize(
        ("first", "last", "sentence"),
        [
            ("yesterday", "2026-01-02", "start date 'yesterday' is no date"),
            ("2026-01-02", "2026-02-30", "end date '2026-02-30' is no date"),
            ("2026-1-2", "2026-01-02", "start date '2026-1-2' is no date"),
            ("2026-01-02", "2026-01-02T24", "end date '2026-01-02T24' is no date"),
            ("", "2026-01-02", "start date '' is no date"),
            ("2026-01-02 ", "2026-01-02", "start date '2026-01-02 ' is no date"),
            ("٢٠٢٦-01-02", "2026-01-02", "is no date"),
            ("2026-01-03", "2026-01-02", "end date 2026-01-02 is before the start date 2026-01-03"),
            ("2026-01-02T15", "2026-01-02T14", "is before the start date"),
            (
                "2026-01-02",
                "2026-03-06",
                "end date 2026-03-06 is in the future: it is 2026-03-05T10",
            ),
            ("2026-03-05T11", "2026-03-05T11", "start date 2026-03-05T11 is in the future"),
        ],
    )
    def test_what_is_no_range_is_refused_by_its_field(
        self, first: str, last: str, sentence: str
    ) -> None:
        with pytest.raises(BadRequest) as raised:
            parse_range(first, last, NOW)
        assert sentence in str(raised.value)
