"""Deliveries over the real ledger, archive and S3 server."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tailrace.clock import MICROS, SystemClock
from tailrace.errors import LeaseLost
from tailrace.export.client import Clients, ClientSettings
from tailrace.export.deliver import LEASE_SECONDS, RENEW_SECONDS
from tailrace.state.delivery import Capabilities, Delivery
from tailrace.state.ledger import Ledger

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

MIB = 1024**2
SLOW = pytest.mark.slow(reason="several parts of 16 MiB go through a real server")
DATA = gzip.compress(b'{"event_type":"one"}\n', mtime=0)
OTHER = gzip.compress(b'{"event_type":"two"}\n', mtime=0)


def names_of(world: Any, number: int) -> str:
    return f"exports/{world.project}/{world.project}_2026-11-23_9#{number}.json.gz"


def test_a_sealed_hour_is_delivered_with_manifest_and_marker(
    world: Any, bucket: str, owner: S3Client, keys: Callable[[], list[str]]
) -> None:
    world.add_destination(bucket)
    first, second = world.put_file(1, DATA), world.put_file(2, OTHER)
    sealed = world.seal(first, second)

    assert world.exporter().deliver_next()

    stem = f"{world.project}_2026-11-23_9"
    assert keys() == [
        f"exports/{world.project}/{stem}#1.json.gz",
        f"exports/{world.project}/{stem}#2.json.gz",
        f"exports/{world.project}/{stem}_complete",
        f"exports/_manifests/{world.project}/{stem}.json",
    ]
    got = owner.get_object(Bucket=bucket, Key=names_of(world, 1))
    assert got["Body"].read() == DATA
    assert got["Metadata"] == {"tailrace-sha256": hashlib.sha256(DATA).hexdigest()}
    assert got["ContentType"] == "application/json"
    headers = got["ResponseMetadata"]["HTTPHeaders"]
    assert "content-encoding" not in headers
    body = owner.get_object(Bucket=bucket, Key=f"exports/_manifests/{world.project}/{stem}.json")
    manifest = json.loads(body["Body"].read())
    assert manifest["seal_sha256"] == sealed.digest
    assert [one["key"] for one in manifest["objects"]] == [names_of(world, 1), names_of(world, 2)]
    marker = owner.head_object(Bucket=bucket, Key=f"exports/{world.project}/{stem}_complete")
    assert marker["ContentLength"] == 0
    assert marker["Metadata"] == {"tailrace-sha256": hashlib.sha256(b"").hexdigest()}
    run = world.run()
    assert (run.state, run.files, run.files_delivered) == ("success", 2, 2)
    assert not world.exporter().deliver_next()


def test_an_hour_without_files_is_a_success_with_manifest_and_marker(
    world: Any, bucket: str, keys: Callable[[], list[str]]
) -> None:
    world.add_destination(bucket)
    world.seal()

    world.exporter().deliver_next()

    assert world.run().state == "success"
    assert [key.rpartition("_")[2] for key in keys()] == ["complete", "9.json"]


def test_manifest_and_marker_can_be_switched_off(
    world: Any, bucket: str, keys: Callable[[], list[str]]
) -> None:
    world.add_destination(bucket, manifest=False, marker=False)
    world.seal(world.put_file(1, DATA))

    world.exporter().deliver_next()

    assert keys() == [names_of(world, 1)]


def test_files_of_an_open_hour_go_out_early_and_the_marker_only_when_it_is_sealed(
    world: Any, bucket: str, keys: Callable[[], list[str]]
) -> None:
    world.add_destination(bucket)
    exporter = world.exporter()
    first = world.put_file(1, DATA)

    assert exporter.deliver_next()
    assert keys() == [names_of(world, 1)]
    assert world.run().state == "pending"
    assert not exporter.deliver_next()

    second = world.put_file(2, OTHER)
    assert exporter.deliver_next()
    assert keys() == [names_of(world, 1), names_of(world, 2)]

    world.seal(first, second)
    assert exporter.deliver_next()
    assert len(keys()) == 4
    assert world.run().state == "success"


def test_objects_that_are_there_with_our_bytes_are_found_and_not_put_again(
    world: Any, bucket: str, proxy: Any, owner: S3Client
) -> None:
    one = world.add_destination(bucket)
    world.seal(world.put_file(1, DATA))
    exporter = world.exporter()
    exporter.deliver_next()
    before = owner.head_object(Bucket=bucket, Key=names_of(world, 1))["LastModified"]

    two = world.add_destination(bucket)
    exporter.deliver_next()

    runs = {run.destination_id: run.state for run in world.ledger.runs()}
    assert runs == {one.id: "success", two.id: "success"}
    (file,) = world.ledger.delivered_files(two.id, "events", world.hour)
    assert file.how == "found"
    assert owner.head_object(Bucket=bucket, Key=names_of(world, 1))["LastModified"] == before


@pytest.mark.parametrize("name", ["file", "manifest", "marker"])
def test_an_object_of_other_content_is_a_conflict_that_names_it_and_stays(
    world: Any, bucket: str, owner: S3Client, name: str, keys: Callable[[], list[str]]
) -> None:
    world.add_destination(bucket)
    stem = f"{world.project}_2026-11-23_9"
    key = {
        "file": names_of(world, 1),
        "manifest": f"exports/_manifests/{world.project}/{stem}.json",
        "marker": f"exports/{world.project}/{stem}_complete",
    }[name]
    owner.put_object(Bucket=bucket, Key=key, Body=b"theirs")
    world.seal(world.put_file(1, DATA))

    world.exporter().deliver_next()

    run = world.run()
    assert run.state == "conflict"
    assert run.cause.kind == "conflict"
    assert run.cause.key == key
    assert key in run.cause.sentence
    assert owner.get_object(Bucket=bucket, Key=key)["Body"].read() == b"theirs"
    assert name == "marker" or not [one for one in keys() if one.endswith("_complete")]


@pytest.mark.parametrize("size", [len(DATA), pytest.param(20 * MIB, marks=SLOW)])
@pytest.mark.parametrize("conditional", [True, False])
@pytest.mark.parametrize("checksums", [True, False])
def test_every_size_arrives_whole_whatever_the_store_can_do(
    world: Any, bucket: str, owner: S3Client, size: int, conditional: bool, checksums: bool
) -> None:
    capabilities = Capabilities(
        conditional_put=conditional, conditional_complete=conditional, checksums=checksums
    )
    world.add_destination(bucket, capabilities=capabilities)
    data = DATA if size == len(DATA) else os.urandom(size)
    world.seal(world.put_file(1, data))

    world.exporter().deliver_next()

    assert world.run().state == "success", world.run().cause
    got = owner.get_object(Bucket=bucket, Key=names_of(world, 1))
    assert hashlib.sha256(got["Body"].read()).digest() == hashlib.sha256(data).digest()
    assert got["Metadata"] == {"tailrace-sha256": hashlib.sha256(data).hexdigest()}
    assert not owner.list_multipart_uploads(Bucket=bucket).get("Uploads")


@pytest.mark.parametrize("conditional", [True, False])
@pytest.mark.parametrize("size", [len(DATA), pytest.param(20 * MIB, marks=SLOW)])
def test_other_content_is_never_replaced(
    world: Any, bucket: str, owner: S3Client, size: int, conditional: bool
) -> None:
    capabilities = Capabilities(
        conditional_put=conditional, conditional_complete=conditional, checksums=True
    )
    world.add_destination(bucket, capabilities=capabilities)
    owner.put_object(Bucket=bucket, Key=names_of(world, 1), Body=DATA)
    world.seal(world.put_file(1, b"x" * size))

    world.exporter().deliver_next()

    assert world.run().state == "conflict"
    assert owner.get_object(Bucket=bucket, Key=names_of(world, 1))["Body"].read() == DATA
    assert not owner.list_multipart_uploads(Bucket=bucket).get("Uploads")


class ForgetfulLedger(Ledger):
    """A ledger whose worker dies at a named call, as a crash would end it."""

    dies_at = ""

    def __getattribute__(self, name: str) -> Any:
        if name == object.__getattribute__(self, "dies_at"):
            raise Died
        return object.__getattribute__(self, name)


class Died(BaseException):
    """Not an Exception: nothing may catch it, as nothing catches a kill."""


@SLOW
def test_the_next_holder_aborts_the_upload_of_one_that_died_between_two_parts(
    world: Any, bucket: str, owner: S3Client
) -> None:
    world.add_destination(bucket)
    world.seal(world.put_file(1, os.urandom(20 * MIB)))
    ledger = ForgetfulLedger(world.engine, world.clock)
    ledger.dies_at = "renew"
    with pytest.raises(Died):
        world.exporter(ledger).deliver_next()
    (left,) = owner.list_multipart_uploads(Bucket=bucket)["Uploads"]
    assert not world.exporter().deliver_next(), "the lease still runs"

    world.wait(LEASE_SECONDS + 1)
    held: list[Delivery] = []
    watched = WatchedLedger(world.engine, world.clock)
    watched.held = held
    assert world.exporter(watched).deliver_next()

    assert held[0].upload_id == left["UploadId"]
    assert world.run().state == "success"
    assert not owner.list_multipart_uploads(Bucket=bucket).get("Uploads")


class WatchedLedger(Ledger):
    """A ledger that notes the runs it gave out."""

    held: list[Delivery]

    def claim(self, **limits: Any) -> Delivery | None:
        taken = super().claim(**limits)
        if taken is not None:
            self.held.append(taken)
        return taken


@pytest.mark.parametrize("size", [len(DATA), pytest.param(20 * MIB, marks=SLOW)])
def test_a_death_between_put_and_ledger_ends_as_found(world: Any, bucket: str, size: int) -> None:
    destination = world.add_destination(bucket)
    world.seal(world.put_file(1, os.urandom(size)))
    ledger = ForgetfulLedger(world.engine, world.clock)
    ledger.dies_at = "file_delivered" if size < MIB else "upload_ended"
    with pytest.raises(Died):
        world.exporter(ledger).deliver_next()

    world.wait(LEASE_SECONDS + 1)
    world.exporter().deliver_next()

    assert world.run().state == "success"
    (file,) = world.ledger.delivered_files(destination.id, "events", world.hour)
    assert file.how == "found"


@SLOW
def test_a_holder_that_lost_its_lease_completes_nothing(
    world: Any, bucket: str, proxy: Any, owner: S3Client, keys: Callable[[], list[str]]
) -> None:
    world.add_destination(bucket, endpoint_url=proxy.url)
    world.seal(world.put_file(1, os.urandom(20 * MIB)))

    def another_takes_over() -> None:
        later = world.clock.now_micros() + (LEASE_SECONDS + 1) * MICROS
        assert world.ledger.claim(now_micros=later, lease_micros=10**9, destination_limit=2)

    proxy.add("PUT", "partNumber=2", before=another_takes_over)

    world.exporter().deliver_next()

    assert keys() == []
    run = world.run()
    assert (run.state, run.lease) == ("running", 2)
    assert not [line for line in proxy.requests if line.startswith("POST") and "uploadId=" in line]
    # The upload is the next holder's to abort.
    assert len(owner.list_multipart_uploads(Bucket=bucket)["Uploads"]) == 1


def test_a_lost_lease_stops_before_the_manifest(
    world: Any, bucket: str, keys: Callable[[], list[str]]
) -> None:
    world.add_destination(bucket)
    world.seal(world.put_file(1, DATA))

    class LosingLedger(Ledger):
        def renew(self, held: Delivery, until_micros: int, *, now_micros: int) -> None:
            raise LeaseLost("Lost.")

    world.exporter(LosingLedger(world.engine, world.clock)).deliver_next()

    assert keys() == [names_of(world, 1)]


def test_a_damaged_archive_file_is_never_delivered(
    world: Any, bucket: str, keys: Callable[[], list[str]]
) -> None:
    for checksums in (True, False):
        capabilities = Capabilities(
            conditional_put=True, conditional_complete=True, checksums=checksums
        )
        world.add_destination(bucket, capabilities=capabilities)
    file = world.put_file(1, DATA)
    world.seal(file)
    damaged = bytes([DATA[0] ^ 1]) + DATA[1:]
    world.archive.file_path(file.scope, file.hour, file.name).write_bytes(damaged)
    exporter = world.exporter()

    assert exporter.deliver_next()
    assert exporter.deliver_next()

    assert keys() == []
    assert [run.state for run in world.ledger.runs()] == ["retrying", "retrying"]
    assert {run.cause.kind for run in world.ledger.runs()} == {"operator"}


def test_a_store_in_ones_own_network_waits_until_the_operator_allows_it(
    world: Any, bucket: str, keys: Callable[[], list[str]]
) -> None:
    """Also one that was added while such stores were allowed."""
    world.add_destination(bucket)
    world.seal(world.put_file(1, DATA))
    allowed = world.clients
    refusing = ClientSettings(private_endpoints=False)
    world.clients = Clients(refusing, lambda secret: secret.decode(), SystemClock())
    assert world.exporter().deliver_next()

    run = world.run()
    assert (run.state, run.cause.kind) == ("retrying", "operator")
    assert "export.private_endpoints = true" in run.cause.sentence
    assert keys() == []

    world.clients = allowed
    world.wait(301)
    assert world.exporter().deliver_next()
    assert world.run().state == "success"


def test_no_request_can_outlast_a_lease() -> None:
    settings = ClientSettings(private_endpoints=False)
    silence = max(settings.read_timeout_seconds, settings.connect_timeout_seconds)
    assert silence + RENEW_SECONDS < LEASE_SECONDS
