"""Policies that are broken and mended, through the real exporter and two real servers."""

from __future__ import annotations

import gzip
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tailrace.export import policy
from tailrace.export.activation import verify_and_activate
from tailrace.export.client import Clients
from tailrace.export.parts import MULTIPART_BYTES
from tailrace.state.delivery import Destination
from tailrace.state.destinations import NewDestination
from tests.export.conftest import PREFIX, World
from tests.export.policies.conftest import ACTIONS, without

SMALL = gzip.compress(b'{"event_type":"one"}\n', mtime=0)
MINUTE = 60
# The six tries within 38 minutes after which an outage begins.
WAITS_MINUTES = (0, 1, 2, 5, 10, 20)


@pytest.fixture
def life(
    tmp_path: Path, empty_database: bytes, clients: Clients, enforcing: Any
) -> Iterator[World]:
    made = World(tmp_path, empty_database, clients, enforcing)
    yield made
    made.engine.dispose()


@pytest.fixture
def added(life: World, enforcing: Any, place: policy.Place) -> Destination:
    """A destination that is only being set up, at a bucket without a policy."""
    return life.destinations.add(
        NewDestination(
            project=life.project,
            bucket=place.bucket,
            region=place.region,
            prefix=PREFIX,
            endpoint_url=place.endpoint_url,
            access_key_id=enforcing.exporter.access_key_id,
            secret_encrypted=enforcing.exporter.secret_access_key.encode(),
        )
    )


def bytes_in(enforcing: Any, place: policy.Place) -> dict[str, bytes]:
    """Return what lies in the bucket under the prefix, as the exporter may read it."""
    store = enforcing.client(enforcing.exporter)
    listed = store.list_objects_v2(Bucket=place.bucket).get("Contents", [])
    return {
        one["Key"]: store.get_object(Bucket=place.bucket, Key=one["Key"])["Body"].read()
        for one in listed
    }


def test_a_destination_with_a_broken_policy_exports_only_once_it_is_mended(
    enforcing: Any, life: World, place: policy.Place, added: Destination
) -> None:
    file = life.put_file(1, SMALL)
    life.seal(file)
    exporter = life.exporter()
    # Two at a time, since each server asks no policy for one of them.
    for first, second in itertools.pairwise(ACTIONS):
        enforcing.put_document(place.bucket, without(place, first, second))
        found = verify_and_activate(added.id, life.destinations, life.clients)
        assert not found.passed
        assert set(found.missing_actions) <= {first, second}
        assert life.destinations.get(added.id).state == "setting_up"
        assert not exporter.deliver_next()

    enforcing.put_document(place.bucket, policy.as_json(policy.bucket_policy(place)))
    found = verify_and_activate(added.id, life.destinations, life.clients)

    assert found.passed
    assert exporter.deliver_next()
    assert life.run().state == "success"
    stored = bytes_in(enforcing, place)
    assert stored.pop(f"{PREFIX}{life.project}/{file.name}") == SMALL
    assert len(stored) == 2, "the manifest and the marker"


def test_a_policy_that_breaks_and_is_mended_costs_one_outage_and_no_bytes(
    enforcing: Any, life: World, place: policy.Place, added: Destination
) -> None:
    whole = policy.as_json(policy.bucket_policy(place))
    enforcing.put_document(place.bucket, whole)
    verify_and_activate(added.id, life.destinations, life.clients)
    large = os.urandom(MULTIPART_BYTES + 1)
    files = [life.put_file(1, SMALL), life.put_file(2, large)]
    life.seal(*files)
    later = life.hour.plus(1)
    exporter = life.exporter()

    enforcing.put_document(place.bucket, without(place, "s3:PutObject", "s3:ListBucket"))
    for minutes in WAITS_MINUTES:
        life.wait(minutes * MINUTE)
        assert exporter.deliver_next()
    run = life.run()
    assert run.state == "failed"
    assert run.cause is not None
    assert (run.cause.kind, run.cause.permission) == ("access", "s3:PutObject")
    life.seal(life.put_file(1, SMALL, later), hour=later)
    assert not exporter.deliver_next()

    # The first probe names all that is missing.
    life.wait(15 * MINUTE)
    exporter.look_after()
    outage = life.destinations.get(added.id).outage_cause
    assert outage is not None
    assert outage.missing_actions == ("s3:ListBucket", "s3:PutObject")

    # One of the two is mended: the outage goes on and names the other.
    enforcing.put_document(place.bucket, without(place, "s3:PutObject"))
    life.wait(15 * MINUTE)
    exporter.look_after()
    outage = life.destinations.get(added.id).outage_cause
    assert outage is not None
    assert outage.missing_actions == ("s3:PutObject",)

    enforcing.put_document(place.bucket, whole)
    life.wait(15 * MINUTE)
    exporter.look_after()
    assert life.destinations.get(added.id).outage_since_micros is None
    assert exporter.deliver_next()
    assert exporter.deliver_next()

    assert {one.state for one in life.ledger.runs()} == {"success"}
    stored = bytes_in(enforcing, place)
    folder = f"{PREFIX}{life.project}/"
    assert stored[folder + files[0].name] == SMALL
    assert stored[folder + files[1].name] == large
    assert len(stored) == 3 + 4, "two hours' files, manifests and markers, and no probe"
    owner = enforcing.client(enforcing.owner)
    assert not owner.list_multipart_uploads(Bucket=place.bucket).get("Uploads")
