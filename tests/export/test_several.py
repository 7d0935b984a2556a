"""Several destinations of a project and several projects in a bucket, each on its own."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tailrace.accounts.projects import add_project
from tailrace.clock import SystemClock
from tailrace.demo import seaweed
from tailrace.hours import Hour
from tailrace.ids import SystemIds

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

DATA = b"sealed bytes"
# An hour is in the bucket within half a second here; a store that hangs holds a worker for 20.
PROMPT_SECONDS = 8.0


@pytest.fixture
def broken_bucket(server: seaweed.Seaweed) -> str:
    name = f"broken-{os.urandom(6).hex()}"
    server.create_bucket(name)
    server.put_policy(name, {"s3:ListBucket": [""]})
    return name


def seal(world: Any, hour: Hour) -> Hour:
    world.seal(world.put_file(1, DATA, hour), hour=hour)
    return hour


def markers(owner: S3Client, bucket: str) -> list[str]:
    found = owner.list_objects_v2(Bucket=bucket).get("Contents", [])
    return [one["Key"] for one in found if one["Key"].endswith("_complete")]


def test_a_bucket_that_refuses_delays_no_other_and_gets_all_once_it_is_mended(
    world: Any, bucket: str, broken_bucket: str, server: seaweed.Seaweed, owner: S3Client
) -> None:
    broken = world.add_destination(broken_bucket)
    good = world.add_destination(bucket)
    exporter = world.exporter()
    hours = [world.hour.plus(-number) for number in range(6)]
    for hour in hours:
        seal(world, hour)
    # Not a second passes, so whatever waited for the broken one would still wait.
    while exporter.deliver_next():
        pass

    assert len(markers(owner, bucket)) == len(hours)
    states = {run.state for run in world.ledger.runs(destination_id=broken.id)}
    assert states <= {"retrying", "failed", "pending"}
    assert {run.state for run in world.ledger.runs(destination_id=good.id)} == {"success"}

    server.put_policy(broken_bucket, seaweed.export_policy("exports/"))
    for _ in range(8):
        world.wait(1200)
        exporter.look_after()
        while exporter.deliver_next():
            pass
    assert len(markers(owner, broken_bucket)) == len(hours)


def test_a_store_that_hangs_delays_no_other(world: Any, bucket: str, owner: S3Client) -> None:
    world.clock = SystemClock()
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        port = silent.getsockname()[1]
        world.add_destination("silent", endpoint_url=f"http://127.0.0.1:{port}")
        world.add_destination(bucket)
        exporter = world.exporter(workers=4, per_destination=2)
        exporter.start()
        try:
            today = Hour.of_micros(world.clock.now_micros()).day_start()
            for number in range(4):
                began = time.monotonic()
                seal(world, today.plus(number))
                while len(markers(owner, bucket)) <= number:
                    assert time.monotonic() - began < PROMPT_SECONDS
                    threading.Event().wait(0.02)
        finally:
            # Its workers at the silent store are left behind.
            exporter.stop(0.1)


def test_projects_of_an_organization_share_a_bucket_and_a_prefix(
    world: Any, bucket: str, keys: Callable[[], list[str]]
) -> None:
    world.add_destination(bucket)
    first = world.project
    seal(world, world.hour)
    world.project = add_project(
        world.engine, world.organization, "Other", ids=SystemIds(), clock=world.clock
    ).project_id
    world.add_destination(bucket, project=world.project)
    seal(world, world.hour)
    exporter = world.exporter()
    while exporter.deliver_next():
        pass
    folders = {key.split("/")[1] for key in keys() if "_manifests" not in key}
    assert folders == {str(first), str(world.project)}
    assert len(keys()) == 6


def test_a_project_goes_to_several_buckets_each_with_its_own_switches(
    world: Any, bucket: str, server: seaweed.Seaweed, owner: S3Client
) -> None:
    other = f"other-{os.urandom(6).hex()}"
    server.create_bucket(other)
    server.put_policy(other, seaweed.export_policy("exports/"))
    world.add_destination(bucket)
    bare = world.add_destination(other, manifest=False, marker=False)
    seal(world, world.hour)
    exporter = world.exporter()
    while exporter.deliver_next():
        pass
    found = [owner.list_objects_v2(Bucket=name)["KeyCount"] for name in (bucket, other)]
    assert found == [3, 1]
    world.destinations.pause(bare.id)
    seal(world, world.hour.previous())
    while exporter.deliver_next():
        pass
    found = [owner.list_objects_v2(Bucket=name)["KeyCount"] for name in (bucket, other)]
    assert found == [6, 1]
