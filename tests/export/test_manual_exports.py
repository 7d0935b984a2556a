"""Manual exports over the real ledger, archive and S3 server: what is put, replaced and left."""

from __future__ import annotations

import gzip
import hashlib
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tailrace import killpoints
from tailrace.demo import seaweed
from tailrace.export.deliver import LEASE_SECONDS
from tailrace.hours import Hour
from tailrace.state.delivery import Capabilities, Destination, ManualExport
from tailrace.state.manual_exports import ManualExports, NewManualExport

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

MIB = 1024**2
SLOW = pytest.mark.slow(reason="several parts of 16 MiB go through a real server")
DATA = gzip.compress(b'{"event_type":"one"}\n', mtime=0)
SIZES = [len(DATA), pytest.param(20 * MIB, marks=SLOW)]
OLD = Hour.parse("2026-03-01T00")


class Died(BaseException):
    """Not an Exception: nothing may catch it, as nothing catches a kill."""


def exports_of(world: Any) -> ManualExports:
    return ManualExports(world.engine, world.clock, by="test")


def start(world: Any, to: Destination, *, hours: int = 24, overwrite: bool = False) -> ManualExport:
    return exports_of(world).start(
        NewManualExport(
            destination_id=to.id,
            from_hour=OLD,
            until_hour=OLD.plus(hours),
            include_events=True,
            include_merged_ids=False,
            overwrite=overwrite,
        )
    )


def seal(world: Any, number: int = 0, *datas: bytes) -> Hour:
    """Seal an hour of long ago, which no destination owes by itself."""
    hour = OLD.plus(number)
    files = [world.put_file(at, data, hour) for at, data in enumerate(datas or (DATA,), start=1)]
    world.seal(*files, hour=hour)
    return hour


def deliver_all(world: Any) -> None:
    exporter = world.exporter()
    while exporter.deliver_next():
        pass


def keys_of(world: Any, hour: Hour) -> dict[str, str]:
    stem = f"{world.project}_{hour.date}_{hour.of_day}"
    folder = f"exports/{world.project}/{stem}"
    return {
        "file": f"{folder}#1.json.gz",
        "manifest": f"exports/_manifests/{world.project}/{stem}.json",
        "marker": f"{folder}_complete",
    }


def states(world: Any, export: ManualExport) -> dict[Hour, str]:
    return {run.hour: run.state for run in world.ledger.runs(manual_export=export.id)}


def how(world: Any, export: ManualExport, hour: Hour) -> list[str]:
    files = world.ledger.delivered_files(
        export.destination_id, "events", hour, manual_export=export.id
    )
    return [file.how for file in files]


def test_hours_of_the_past_get_files_manifests_and_markers(
    world: Any, bucket: str, owner: S3Client, keys: Callable[[], list[str]]
) -> None:
    added = world.add_destination(bucket)
    hours = [seal(world, 0), seal(world, 1)]
    export = start(world, added)

    deliver_all(world)

    assert states(world, export) == dict.fromkeys(hours, "success")
    assert sorted(keys()) == sorted(key for hour in hours for key in keys_of(world, hour).values())
    got = owner.get_object(Bucket=bucket, Key=keys_of(world, hours[0])["file"])
    assert got["Body"].read() == DATA
    assert exports_of(world).get(export.id).state == "finished"


def test_what_is_there_with_our_bytes_is_left_and_what_is_missing_is_put(
    world: Any, bucket: str, owner: S3Client, proxy: Any
) -> None:
    added = world.add_destination(bucket, endpoint_url=proxy.url)
    hours = [seal(world, 0), seal(world, 1)]
    start(world, added)
    deliver_all(world)
    owner.delete_object(Bucket=bucket, Key=keys_of(world, hours[1])["file"])

    for overwrite in (False, True):
        again = start(world, added, overwrite=overwrite)
        deliver_all(world)
        expected = ["found"] if overwrite else ["put"]
        assert (how(world, again, hours[0]), how(world, again, hours[1])) == (["found"], expected)
    puts = [
        one for one in proxy.headers if "if-none-match" not in one and "x-amz-checksum-crc32" in one
    ]
    assert puts == [], "nothing was put over what is there"


@pytest.mark.parametrize("name", ["file", "manifest", "marker"])
def test_other_content_is_a_conflict_and_is_replaced_only_when_asked_to(
    world: Any, bucket: str, owner: S3Client, name: str
) -> None:
    added = world.add_destination(bucket)
    hour = seal(world)
    key = keys_of(world, hour)[name]
    owner.put_object(Bucket=bucket, Key=key, Body=b"theirs")
    export = start(world, added)

    deliver_all(world)

    assert states(world, export) == {hour: "conflict"}
    assert owner.get_object(Bucket=bucket, Key=key)["Body"].read() == b"theirs"

    over = start(world, added, overwrite=True)
    deliver_all(world)

    assert states(world, over) == {hour: "success"}
    assert owner.get_object(Bucket=bucket, Key=key)["Body"].read() != b"theirs"
    assert how(world, over, hour) == ["replaced" if name == "file" else "found"]
    assert states(world, export) == {hour: "success"}, "what was in conflict finds ours now"


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("conditional", [True, False])
@pytest.mark.parametrize("checksums", [True, False])
def test_overwriting_replaces_every_size_whatever_the_store_can_do(
    world: Any, bucket: str, owner: S3Client, size: int, conditional: bool, checksums: bool
) -> None:
    can = Capabilities(
        conditional_put=conditional, conditional_complete=conditional, checksums=checksums
    )
    added = world.add_destination(bucket, capabilities=can)
    data = os.urandom(size)
    hour = seal(world, 0, data)
    key = keys_of(world, hour)["file"]
    owner.put_object(Bucket=bucket, Key=key, Body=b"theirs")

    export = start(world, added, overwrite=True)
    deliver_all(world)

    assert states(world, export) == {hour: "success"}
    assert how(world, export, hour) == ["replaced"]
    got = owner.get_object(Bucket=bucket, Key=key)
    assert got["Body"].read() == data
    assert got["Metadata"] == {"tailrace-sha256": hashlib.sha256(data).hexdigest()}
    assert not owner.list_multipart_uploads(Bucket=bucket).get("Uploads")


def test_a_file_that_is_named_like_ours_and_is_not_stays(
    world: Any, bucket: str, owner: S3Client, keys: Callable[[], list[str]]
) -> None:
    added = world.add_destination(bucket)
    hour = seal(world)
    foreign = keys_of(world, hour)["file"].replace("#1", "#7")
    owner.put_object(Bucket=bucket, Key=foreign, Body=b"theirs")

    start(world, added, overwrite=True)
    deliver_all(world)

    assert len(keys()) == 4
    assert owner.get_object(Bucket=bucket, Key=foreign)["Body"].read() == b"theirs"


@pytest.mark.parametrize("size", [100, pytest.param(40 * MIB, marks=SLOW)])
@pytest.mark.parametrize(
    "point",
    [
        "export.put",
        "export.part",
        "export.completed",
        "export.manifest",
        "ledger.file_delivered",
        "ledger.succeeded",
    ],
)
def test_a_death_while_overwriting_leaves_every_object_once_and_no_upload(
    world: Any,
    bucket: str,
    owner: S3Client,
    keys: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
    point: str,
    size: int,
) -> None:
    if size < MIB and point in {"export.part", "export.completed"}:
        pytest.skip("only an upload in parts reaches this point")
    added = world.add_destination(bucket)
    data = os.urandom(size)
    hour = seal(world, 0, data, DATA)
    for key in keys_of(world, hour).values():
        owner.put_object(Bucket=bucket, Key=key, Body=b"theirs")
    export = start(world, added, overwrite=True)

    def die(name: str) -> None:
        if name == point:
            raise Died(name)

    with monkeypatch.context() as patched:
        patched.setattr(killpoints, "reached", die)
        with pytest.raises(Died):
            world.exporter().deliver_next()
    world.wait(LEASE_SECONDS + 1)
    deliver_all(world)

    assert states(world, export) == {hour: "success"}
    assert len(keys()) == 4
    assert not owner.list_multipart_uploads(Bucket=bucket).get("Uploads")
    got = owner.get_object(Bucket=bucket, Key=keys_of(world, hour)["file"])
    assert got["Body"].read() == data


def test_automatic_runs_go_before_manual_ones(world: Any, bucket: str) -> None:
    added = world.add_destination(bucket)
    old = [seal(world, 0), seal(world, 1)]
    start(world, added)
    exporter = world.exporter()
    assert exporter.deliver_next()
    world.seal()
    assert exporter.deliver_next()
    done = {run.hour: run.state for run in world.ledger.runs()}
    assert done == {old[1]: "success", world.hour: "success", old[0]: "pending"}


def test_a_broken_bucket_of_a_manual_export_delays_no_other(
    world: Any, bucket: str, server: seaweed.Seaweed
) -> None:
    other = f"acme-{os.urandom(6).hex()}"
    server.create_bucket(other)
    server.put_policy(other, seaweed.export_policy("exports/"))
    broken, fine = world.add_destination(bucket), world.add_destination(other)
    server.put_policy(bucket, {"s3:ListBucket": [""]})
    seal(world)
    exports = [start(world, broken), start(world, fine)]

    deliver_all(world)

    found = [set(states(world, export).values()) for export in exports]
    assert found == [{"retrying"}, {"success"}]


@SLOW
@pytest.mark.parametrize("verb", ["pause", "cancel"])
def test_a_run_in_the_middle_of_an_upload_lets_go_before_its_next_part(
    world: Any, bucket: str, owner: S3Client, proxy: Any, keys: Callable[[], list[str]], verb: str
) -> None:
    added = world.add_destination(bucket, endpoint_url=proxy.url)
    data = os.urandom(40 * MIB)
    hour = seal(world, 0, DATA, data)
    export = start(world, added)
    exports = exports_of(world)
    proxy.add("PUT", "partNumber=1", before=lambda: getattr(exports, verb)(export.id))

    world.exporter().deliver_next()

    assert not [line for line in proxy.requests if "partNumber=2" in line]
    assert keys() == [keys_of(world, hour)["file"]], "what was delivered stays"
    if verb == "cancel":
        assert states(world, export) == {hour: "cancelled"}
        assert not owner.list_multipart_uploads(Bucket=bucket).get("Uploads")
        assert not world.exporter().deliver_next()
        return
    assert states(world, export) == {hour: "pending"}
    assert not world.exporter().deliver_next()
    exports.resume(export.id)
    deliver_all(world)
    assert states(world, export) == {hour: "success"}
    assert not owner.list_multipart_uploads(Bucket=bucket).get("Uploads")
    assert how(world, export, hour) == ["put", "put"]


@SLOW
def test_an_upload_of_a_holder_that_died_is_aborted_after_the_export_is_cancelled(
    world: Any, bucket: str, owner: S3Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    added = world.add_destination(bucket)
    hour = seal(world, 0, os.urandom(40 * MIB))
    export = start(world, added)

    def die(name: str) -> None:
        raise Died(name)

    with monkeypatch.context() as patched:
        patched.setattr(killpoints, "reached", die)
        with pytest.raises(Died):
            world.exporter().deliver_next()
    assert owner.list_multipart_uploads(Bucket=bucket)["Uploads"]
    exports_of(world).cancel(export.id)
    assert not world.exporter().deliver_next()
    world.wait(LEASE_SECONDS + 1)
    assert world.exporter().deliver_next()
    assert states(world, export) == {hour: "cancelled"}
    assert not owner.list_multipart_uploads(Bucket=bucket).get("Uploads")


def test_an_abort_that_is_refused_is_tried_again_after_a_cancelling(
    world: Any, bucket: str, proxy: Any
) -> None:
    added = world.add_destination(bucket, endpoint_url=proxy.url)
    hour = seal(world)
    export = start(world, added)
    held = world.ledger.claim_manual(
        now_micros=world.clock.now_micros(), lease_micros=1, destination_limit=1, manual_limit=1
    )
    world.ledger.upload_started(held, "exports/k", "no-such-upload")
    exports_of(world).cancel(export.id)
    world.wait(1)
    proxy.add("DELETE", "uploadId", answer=(503, b""))
    assert world.exporter().deliver_next()
    assert states(world, export) == {hour: "retrying"}
    world.wait(10)
    assert world.exporter().deliver_next()
    assert states(world, export) == {hour: "cancelled"}


class TestDroppedFiles:
    """Hours of which the archive has dropped a file, because all that was owed was delivered."""

    @pytest.fixture
    def hours(self, world: Any, bucket: str) -> list[Hour]:
        """Three hours, delivered; the files of the middle one are dropped."""
        self.added = world.add_destination(bucket)
        hours = [seal(world, number) for number in range(3)]
        start(world, self.added)
        deliver_all(world)
        (file,) = world.ledger.files_of_hour(world.project, hours[1])
        assert world.ledger.mark_removed(file)
        world.archive.remove_file(file.scope, file.hour, file.name)
        return hours

    def test_they_are_found_where_the_bucket_still_holds_them(
        self, world: Any, hours: list[Hour]
    ) -> None:
        again = start(world, self.added)
        deliver_all(world)
        assert set(states(world, again).values()) == {"success"}
        assert how(world, again, hours[1]) == ["found"]

    @pytest.mark.parametrize("overwrite", [False, True])
    def test_they_fail_by_name_and_hold_nothing_up(
        self, world: Any, hours: list[Hour], owner: S3Client, bucket: str, overwrite: bool
    ) -> None:
        for hour in hours:
            owner.delete_object(Bucket=bucket, Key=keys_of(world, hour)["file"])
        if overwrite:
            owner.put_object(Bucket=bucket, Key=keys_of(world, hours[1])["file"], Body=b"theirs")
        again = start(world, self.added, overwrite=overwrite)

        deliver_all(world)

        assert states(world, again) == {
            hours[0]: "success",
            hours[1]: "failed",
            hours[2]: "success",
        }
        (run,) = world.ledger.runs(manual_export=again.id, states=("failed",))
        assert run.cause.code == "Dropped"
        assert str(hours[1]) in run.cause.sentence
        assert keys_of(world, hours[1])["file"] in run.cause.sentence
        assert world.destinations.get(self.added.id).outage_since_micros is None

        name = f"{world.project}_{hours[1].date}_1#1.json.gz"
        world.archive.put_file(world.project, hours[1], name, [DATA])
        exports_of(world).resume(again.id)
        deliver_all(world)
        assert set(states(world, again).values()) == {"success"}, "put back, it is read"


def test_what_is_owed_by_hand_is_not_dropped(world: Any, bucket: str) -> None:
    added = world.add_destination(bucket)
    hour = seal(world)
    start(world, added)
    deliver_all(world)
    (file,) = world.ledger.files_of_hour(world.project, hour)
    again = start(world, added)
    assert not world.ledger.mark_removed(file)
    exports_of(world).cancel(again.id)
    assert world.ledger.mark_removed(file)
