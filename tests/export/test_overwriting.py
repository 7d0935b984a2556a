"""What was in conflict once a manual export has overwritten it, over a real S3 server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tailrace.state.delivery import Destination
from tailrace.state.manual_exports import ManualExports, NewManualExport

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

DAY_SECONDS = 24 * 3600
NAMES = ["{0}/{0}_2026-11-23_9#1.json.gz", "_manifests/{0}/{0}_2026-11-23_9.json"]


def overwrite(world: Any, to: Destination) -> None:
    ManualExports(world.engine, world.clock).start(
        NewManualExport(
            destination_id=to.id,
            from_hour=world.hour,
            until_hour=world.hour.next(),
            include_events=True,
            include_merged_ids=False,
            overwrite=True,
        )
    )
    deliver_all(world)


def deliver_all(world: Any) -> None:
    exporter = world.exporter()
    while exporter.deliver_next():
        pass


def states(world: Any) -> dict[tuple[int, int], str]:
    return {(run.destination_id, run.manual_export): run.state for run in world.ledger.runs()}


@pytest.mark.parametrize("name", NAMES)
def test_the_hourly_run_ends_in_success_by_itself_at_each_destination_of_the_keys(
    world: Any, bucket: str, owner: S3Client, name: str
) -> None:
    one, two = world.add_destination(bucket), world.add_destination(bucket)
    key = "exports/" + name.format(world.project)
    owner.put_object(Bucket=bucket, Key=key, Body=b"theirs")
    world.seal(world.put_file(1, b"ours"))
    deliver_all(world)
    assert states(world) == {(one.id, 0): "conflict", (two.id, 0): "conflict"}
    assert "--overwrite" in world.ledger.runs()[0].cause.fix

    overwrite(world, one)

    assert states(world) == {(one.id, 0): "success", (two.id, 0): "success", (one.id, 1): "success"}
    assert [world.destinations.owed_runs(to.id) for to in (one, two)] == [0, 0]
    for to in (one, two):
        files = world.ledger.delivered_files(to.id, "events", world.hour)
        found = "#" in name
        assert [file.how for file in files] == ["found" if found or to == two else "put"]
    assert owner.get_object(Bucket=bucket, Key=key)["Body"].read() != b"theirs"


def test_an_object_that_was_not_overwritten_is_met_again(
    world: Any, bucket: str, owner: S3Client
) -> None:
    bare = world.add_destination(bucket, manifest=False)
    key = "exports/" + NAMES[1].format(world.project)
    whole = world.add_destination(bucket)
    owner.put_object(Bucket=bucket, Key=key, Body=b"theirs")
    world.seal(world.put_file(1, b"ours"))
    deliver_all(world)
    assert states(world) == {(bare.id, 0): "success", (whole.id, 0): "conflict"}

    overwrite(world, bare)

    assert states(world)[whole.id, 0] == "conflict"
    assert owner.get_object(Bucket=bucket, Key=key)["Body"].read() == b"theirs"
    world.wait(DAY_SECONDS)
    assert not world.exporter().deliver_next(), "it is tried once, not for ever"
