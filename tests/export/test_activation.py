from __future__ import annotations

from typing import Any

import msgspec

from tailrace.demo import seaweed
from tailrace.export.activation import verify_and_activate
from tailrace.state.delivery import Capabilities
from tailrace.state.destinations import NewDestination


def add(world: Any, bucket: str, server: seaweed.Seaweed) -> int:
    new = NewDestination(
        project=world.project,
        bucket=bucket,
        region=seaweed.REGION,
        prefix="exports/",
        endpoint_url=server.endpoint_url,
        access_key_id=server.exporter.access_key_id,
        secret_encrypted=server.exporter.secret_access_key.encode(),
    )
    number: int = world.destinations.add(new).id
    return number


def test_a_destination_becomes_active_only_when_every_probe_passed(
    world: Any, bucket: str, server: seaweed.Seaweed
) -> None:
    number = add(world, bucket, server)
    world.seal()
    policy = seaweed.export_policy("exports/")
    server.put_policy(bucket, {**policy, "s3:GetObject": ["elsewhere/*"]})

    found = verify_and_activate(number, world.destinations, world.clients)
    assert found.missing_actions == ("s3:GetObject",)
    assert world.destinations.get(number).state == "setting_up"
    assert not world.exporter().deliver_next(), "it exports nothing"

    server.put_policy(bucket, policy)
    assert verify_and_activate(number, world.destinations, world.clients).passed
    active = world.destinations.get(number)
    assert active.state == "active"
    assert active.capabilities == Capabilities(
        conditional_put=True, conditional_complete=True, checksums=True
    )
    assert world.exporter().deliver_next(), "today's sealed hours go out at once"


def test_a_paused_destination_stays_paused(
    world: Any, bucket: str, server: seaweed.Seaweed
) -> None:
    number = add(world, bucket, server)
    verify_and_activate(number, world.destinations, world.clients)
    world.destinations.pause(number)

    assert verify_and_activate(number, world.destinations, world.clients).passed
    assert world.destinations.get(number).state == "paused"


def test_verifying_an_active_destination_keeps_its_interval(
    world: Any, bucket: str, server: seaweed.Seaweed
) -> None:
    number = add(world, bucket, server)
    verify_and_activate(number, world.destinations, world.clients)
    before = world.destinations.get(number)
    world.wait(48 * 3600)

    verify_and_activate(number, world.destinations, world.clients)

    assert world.destinations.get(number) == msgspec.structs.replace(before)


def test_a_conflict_waits_until_a_person_moved_the_object_away_and_verified(
    world: Any, bucket: str, server: seaweed.Seaweed, owner: Any
) -> None:
    number = add(world, bucket, server)
    verify_and_activate(number, world.destinations, world.clients)
    file = world.put_file(1, b"ours")
    world.seal(file)
    key = f"exports/{world.project}/{file.name}"
    owner.put_object(Bucket=bucket, Key=key, Body=b"theirs")
    exporter = world.exporter()
    assert exporter.deliver_next()
    assert f"tailrace verify {number}" in world.run().cause.fix
    verify_and_activate(number, world.destinations, world.clients)
    assert exporter.deliver_next()
    assert world.run().state == "conflict", "the object is still there"
    assert owner.get_object(Bucket=bucket, Key=key)["Body"].read() == b"theirs"

    owner.delete_object(Bucket=bucket, Key=key)
    world.wait(24 * 3600)
    assert not exporter.deliver_next(), "nobody has verified it"
    verify_and_activate(number, world.destinations, world.clients)

    assert exporter.deliver_next()
    assert world.run().state == "success"
