from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tailrace.accounts.projects import add_organization, add_project
from tailrace.app.switching import resume
from tailrace.demo import seaweed
from tailrace.errors import BadRequest
from tailrace.export.activation import verify_and_activate
from tailrace.ids import SystemIds
from tailrace.state.delivery import Capabilities
from tailrace.state.destinations import NewDestination
from tailrace.state.manual_exports import ManualExports, NewManualExport


def add(
    world: Any,
    bucket: str,
    server: seaweed.Seaweed,
    endpoint_url: str | None = None,
    *,
    project: int | None = None,
) -> int:
    new = NewDestination(
        project=project or world.project,
        bucket=bucket,
        region=seaweed.REGION,
        prefix="exports/",
        endpoint_url=endpoint_url or server.endpoint_url,
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


def test_a_rival_that_only_names_the_bucket_does_not_shut_its_owner_out(
    world: Any, bucket: str, server: seaweed.Seaweed, keys: Any
) -> None:
    rival = add_organization(world.engine, "Squatter", clock=world.clock)
    theirs = add_project(world.engine, rival, "X", ids=SystemIds(), clock=world.clock).project_id
    named = add(world, bucket, server, project=theirs)
    owned = add(world, bucket, server)
    assert verify_and_activate(owned, world.destinations, world.clients).passed
    world.destinations.pause(owned)
    assert verify_and_activate(owned, world.destinations, world.clients).passed
    assert resume(world.destinations, world.clients, owned).destination.state == "active"
    before = keys()

    with pytest.raises(BadRequest, match="another organization") as refusal:
        verify_and_activate(named, world.destinations, world.clients)

    assert "Acme" not in str(refusal.value)
    assert world.destinations.get(named).state == "setting_up"
    assert keys() == before


def test_of_two_whose_probes_pass_together_the_second_is_refused(
    world: Any, bucket: str, server: seaweed.Seaweed, proxy: Any
) -> None:
    rival = add_organization(world.engine, "Rival", clock=world.clock)
    theirs = add_project(world.engine, rival, "X", ids=SystemIds(), clock=world.clock).project_id
    second = add(world, bucket, server, proxy.url, project=theirs)
    first = add(world, bucket, server, proxy.url)
    proxy.add(
        "DELETE",
        "access-check",
        before=lambda: verify_and_activate(first, world.destinations, world.clients),
    )

    with pytest.raises(BadRequest, match="another organization"):
        verify_and_activate(second, world.destinations, world.clients)

    states = [world.destinations.get(number).state for number in (first, second)]
    assert states == ["active", "setting_up"]


def test_a_paused_destination_stays_paused(
    world: Any, bucket: str, server: seaweed.Seaweed
) -> None:
    number = add(world, bucket, server)
    verify_and_activate(number, world.destinations, world.clients)
    world.destinations.pause(number)

    assert verify_and_activate(number, world.destinations, world.clients).passed
    assert world.destinations.get(number).state == "paused"


def test_verifying_a_paused_destination_ends_its_outage_and_what_is_exported_by_hand_goes_on(
    world: Any, bucket: str, server: seaweed.Seaweed
) -> None:
    number = add(world, bucket, server)
    verify_and_activate(number, world.destinations, world.clients)
    world.seal(world.put_file(1, b"ours"))
    world.destinations.pause(number)
    exports = ManualExports(world.engine, world.clock)
    export = exports.start(
        NewManualExport(
            destination_id=number,
            from_hour=world.hour,
            until_hour=world.hour.next(),
            include_events=True,
            include_merged_ids=False,
        )
    )
    policy = seaweed.export_policy("exports/")
    server.put_policy(bucket, {**policy, "s3:PutObject": ["elsewhere/*"]})
    exporter = world.exporter()
    while world.destinations.get(number).outage_since_micros is None:
        assert exporter.deliver_next()
        world.wait(21 * 60)
    assert not verify_and_activate(number, world.destinations, world.clients).passed
    assert world.destinations.get(number).outage_since_micros is not None

    server.put_policy(bucket, policy)
    assert verify_and_activate(number, world.destinations, world.clients).passed

    verified = world.destinations.get(number)
    assert (verified.state, verified.outage_since_micros) == ("paused", None)
    assert exporter.deliver_next()
    assert exports.get(export.id).state == "finished"
    assert not exporter.deliver_next(), "automatic exports are still off"
    assert world.ledger.runs(manual_export=0)[0].state == "pending"


def test_a_paused_destination_that_is_resumed_while_its_probes_run_is_left_alone(
    world: Any, bucket: str, server: seaweed.Seaweed, proxy: Any
) -> None:
    number = add(world, bucket, server, proxy.url)
    capabilities = verify_and_activate(number, world.destinations, world.clients).capabilities
    paused = world.destinations.pause(number)
    proxy.add(
        "DELETE",
        "access-check",
        before=lambda: world.destinations.resume(paused, capabilities),
    )

    with pytest.raises(BadRequest, match="changed it meanwhile"):
        verify_and_activate(number, world.destinations, world.clients)

    assert world.destinations.get(number).state == "active"


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


def lies_in(proxy: Any, bucket: str, region: str) -> None:
    proxy.add("HEAD", bucket, answer=(200, b""), headers=(("x-amz-bucket-region", region),))


def test_the_right_region_is_taken_only_when_a_person_names_it(
    world: Any, bucket: str, server: seaweed.Seaweed, proxy: Any
) -> None:
    number = add(world, bucket, server, endpoint_url=proxy.url)
    destinations, clients = world.destinations, world.clients

    lies_in(proxy, bucket, "eu-north-1")
    found = verify_and_activate(number, destinations, clients)
    assert found.cause is not None
    assert found.cause.fix == f'Run "tailrace verify {number} --region eu-north-1".'
    assert destinations.get(number).region == seaweed.REGION

    lies_in(proxy, bucket, "eu-north-1")
    found = verify_and_activate(number, destinations, clients, region="eu-west-1")
    assert not found.passed
    assert destinations.get(number).region == seaweed.REGION, "the bucket is not there either"

    lies_in(proxy, bucket, "eu-north-1")
    assert verify_and_activate(number, destinations, clients, region="eu-north-1").passed
    taken = destinations.get(number)
    assert (taken.region, taken.state) == ("eu-north-1", "active")


def test_a_region_is_kept_while_permissions_are_missing_but_not_for_a_bucket_that_is_not_met(
    world: Any, bucket: str, server: seaweed.Seaweed, proxy: Any
) -> None:
    number = add(world, bucket, server, endpoint_url=proxy.url)
    destinations = world.destinations
    proxy.add("HEAD", bucket, answer=(404, b""))
    verify_and_activate(number, destinations, world.clients, region="eu-north-1")
    assert destinations.get(number).region == seaweed.REGION

    server.put_policy(bucket, {"s3:ListBucket": [""]})
    found = verify_and_activate(number, destinations, world.clients, region="eu-north-1")
    assert found.missing_actions == ("s3:PutObject",)
    assert destinations.get(number).region == "eu-north-1"
    assert destinations.get(number).state == "setting_up"
    with pytest.raises(BadRequest, match="region"):
        verify_and_activate(number, destinations, world.clients, region="eu north")
