"""Editing and deleting over a real server: what is delivered stays, the rest goes on elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from tailrace.app.destinations import Access
from tailrace.app.editing import Edit
from tailrace.clock import MICROS
from tailrace.demo import seaweed
from tailrace.errors import BadRequest, Transient
from tailrace.settings import ExportSettings, Settings
from tailrace.state.delivery import Destination
from tailrace.state.destinations import NewDestination
from tests.export.editing import DATA, claim, deliver_all, editor_of, keys_of, seal
from tests.export.editing import new_bucket as new_bucket
from tests.export.editing import objects as objects

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client


def test_another_bucket_gets_what_is_not_delivered_yet_and_nothing_twice(
    world: Any, bucket: str, new_bucket: str, objects: Any
) -> None:
    added = world.add_destination(bucket)
    old = seal(world, world.hour.previous())
    deliver_all(world)
    early = world.put_file(1, DATA)
    deliver_all(world)
    before = objects(bucket)

    done = editor_of(world).edit(added.id, Edit(bucket=new_bucket))

    assert (done.changed, done.left_behind) == (("bucket",), ())
    assert [(one.hour, one.files) for one in done.begun] == [(world.hour, 1)]
    world.seal(early)
    deliver_all(world)
    assert objects(new_bucket) == keys_of(world, world.hour)
    assert objects(bucket) == before, "nothing more went to the old one"
    assert set(keys_of(world, old)) < set(before)


def test_a_place_whose_probes_fail_changes_nothing(
    world: Any, bucket: str, new_bucket: str, server: seaweed.Seaweed, objects: Any
) -> None:
    added = world.add_destination(bucket)
    policy = seaweed.export_policy("exports/")
    server.put_policy(new_bucket, {**policy, "s3:GetObject": ["elsewhere/*"]})

    done = editor_of(world).edit(added.id, Edit(bucket=new_bucket))

    assert done.verification is not None
    assert done.verification.missing_actions == ("s3:GetObject",)
    assert done.changed == ()
    assert done.wanted is not None
    assert done.wanted.bucket == new_bucket
    assert world.destinations.get(added.id) == added
    seal(world, world.hour)
    deliver_all(world)
    assert objects(bucket) == keys_of(world, world.hour), "it goes on as before"


def test_of_a_place_in_another_region_no_command_is_advised_that_probes_the_present_one(
    world: Any, bucket: str, new_bucket: str, proxy: Any
) -> None:
    added = world.add_destination(bucket)
    edit = Edit(bucket=new_bucket, endpoint_url=proxy.url)
    lies_in = (("x-amz-bucket-region", "eu-north-1"),)
    editor = editor_of(world, settings=Settings(export=ExportSettings(private_endpoints=True)))
    for status in (200, 301):
        proxy.add("HEAD", new_bucket, answer=(status, b""), headers=lies_in)
        done = editor.edit(added.id, edit)
        assert done.verification is not None
        assert done.verification.cause is not None
        assert done.verification.cause.fix == "Make the same change with the region eu-north-1."
    taken = editor.edit(added.id, msgspec.structs.replace(edit, region="eu-north-1"))
    assert set(taken.changed) == {"bucket", "region", "endpoint_url"}


def test_another_prefix_of_the_same_bucket_is_another_place(
    world: Any, bucket: str, server: seaweed.Seaweed, objects: Any
) -> None:
    added = world.add_destination(bucket, prefix="exports/a/")
    seal(world, world.hour)
    server.put_policy(bucket, seaweed.export_policy("exports/b/"))
    editor_of(world).edit(added.id, Edit(prefix="exports/b"))
    deliver_all(world)
    assert len(objects(bucket)) == 3
    assert all(key.startswith("exports/b/") for key in objects(bucket))


def test_one_that_is_set_up_is_changed_at_once_and_then_probed(
    world: Any, bucket: str, server: seaweed.Seaweed
) -> None:
    added = world.add_destination(bucket)
    world.destinations.delete(added.id, aborted=(), now_micros=0)
    new = world.destinations.add(
        NewDestination(
            project=world.project,
            bucket="wrong",
            region=seaweed.REGION,
            prefix="exports/",
            endpoint_url=server.endpoint_url,
            access_key_id=server.exporter.access_key_id,
            secret_encrypted=server.exporter.secret_access_key.encode(),
        )
    )
    failed = editor_of(world).edit(new.id, Edit(bucket="wrong-too"))
    assert failed.changed == ("bucket",)
    assert (failed.destination.bucket, failed.destination.state) == ("wrong-too", "setting_up")
    done = editor_of(world).edit(new.id, Edit(bucket=bucket))
    assert (done.destination.bucket, done.destination.state) == (bucket, "active")


def test_a_paused_one_stays_paused(world: Any, bucket: str, new_bucket: str) -> None:
    added = world.add_destination(bucket)
    world.destinations.pause(added.id)
    seal(world, world.hour)
    done = editor_of(world).edit(added.id, Edit(bucket=new_bucket))
    assert (done.destination.bucket, done.destination.state) == (new_bucket, "paused")
    assert len(world.destinations.missed(added.id)) == 1


def test_switches_need_no_probe_and_hold_from_the_next_run_on(
    world: Any, proxy: Any, bucket: str, objects: Any
) -> None:
    added = world.add_destination(bucket, endpoint_url=proxy.url)
    done = editor_of(world).edit(added.id, Edit(manifest=False, marker=False))
    assert (done.verification, proxy.requests) == (None, [])
    seal(world, world.hour)
    deliver_all(world)
    assert objects(bucket) == [keys_of(world, world.hour)[0]]


@pytest.mark.parametrize("state", ["active", "setting_up"])
def test_another_name_needs_no_probe(world: Any, proxy: Any, bucket: str, state: str) -> None:
    added = world.add_destination(bucket, endpoint_url=proxy.url)
    if state == "setting_up":
        new = NewDestination(project=world.project, bucket=bucket, endpoint_url=proxy.url)
        added = world.destinations.add(new)
    done = editor_of(world).edit(added.id, Edit(name=" Lake "))
    assert (done.verification, proxy.requests) == (None, [])
    assert (done.changed, done.destination.name, done.destination.state) == (
        ("name",),
        "Lake",
        state,
    )
    with pytest.raises(BadRequest, match="Nothing to change"):
        editor_of(world).edit(added.id, Edit(name="Lake"))


def test_a_name_that_is_taken_is_refused_before_anything_is_probed(
    world: Any, proxy: Any, bucket: str, new_bucket: str
) -> None:
    added = world.add_destination(bucket, endpoint_url=proxy.url)
    new = NewDestination(project=world.project, bucket=bucket, name="Lake")
    world.destinations.add(new)
    with pytest.raises(BadRequest, match="is named 'Lake'"):
        editor_of(world).edit(added.id, Edit(name="LAKE", bucket=new_bucket))
    assert proxy.requests == []
    assert world.destinations.get(added.id) == added


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (Edit(name="a\tb"), "name the destination"),
        (Edit(bucket="No_Bucket"), "bucket 'No_Bucket'"),
        (Edit(prefix="a//b"), "segments is empty"),
        (Edit(prefix="../up"), "is . or .."),
        (Edit(prefix="a\nb"), "control character"),
        (Edit(region="Frankfurt am Main"), "region"),
        (Edit(region="RegionOne", endpoint_url=None), "in lower case"),
        (Edit(endpoint_url="http://10.0.0.1"), "no public address"),
        (Edit(endpoint_url="http://169.254.169.254"), "no public address"),
        (Edit(access=Access(access_key_id="AK")), "go together"),
        (Edit(access=Access(role_arn="role")), "the role 'role'"),
        (Edit(include_events=False), "receive nothing"),
        (Edit(prefix="exports/"), "Nothing to change"),
    ],
)
def test_what_can_not_be_is_refused_by_field(
    world: Any, bucket: str, edit: Edit, named: str
) -> None:
    added = world.add_destination(bucket)
    public = Settings(export=ExportSettings(private_endpoints=False))
    with pytest.raises(BadRequest, match=named):
        editor_of(world, settings=public).edit(added.id, edit)
    assert world.destinations.get(added.id) == added


def test_an_edit_waits_for_runs_in_work_and_they_begin_anew(
    world: Any, bucket: str, new_bucket: str, objects: Any
) -> None:
    added = world.add_destination(bucket)
    seal(world, world.hour)
    held = claim(world)
    slept = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            world.ledger.waiting(held)
        assert not world.exporter().deliver_next(), "it is on hold"

    editor_of(world, sleep).edit(added.id, Edit(bucket=new_bucket))
    assert len(slept) == 3
    deliver_all(world)
    assert (objects(bucket), objects(new_bucket)) == ([], keys_of(world, world.hour))


def test_runs_that_do_not_let_go_keep_a_destination_as_it_is(
    world: Any, bucket: str, new_bucket: str
) -> None:
    added = world.add_destination(bucket)
    seal(world, world.hour)
    held = claim(world)

    def sleep(_: float) -> None:
        world.wait(10)
        now = world.clock.now_micros()
        world.ledger.renew(held, now + 35 * MICROS, now_micros=now + 100 * MICROS)

    for change in (
        lambda: editor_of(world, sleep).edit(added.id, Edit(bucket=new_bucket)),
        lambda: editor_of(world, sleep).delete(added.id),
    ):
        with pytest.raises(Transient, match="do not let go"):
            change()
    assert world.destinations.get(added.id) == added
    world.ledger.waiting(held)
    assert world.exporter().deliver_next(), "nothing is on hold any more"


def test_a_run_on_its_way_lets_go_before_it_next_writes(
    world: Any, bucket: str, proxy: Any, objects: Any
) -> None:
    added = world.add_destination(bucket, endpoint_url=proxy.url)
    seal(world, world.hour)
    until = world.clock.now_micros() + 60 * MICROS
    proxy.add("PUT", "json.gz", before=lambda: world.destinations.hold(added.id, until))
    assert world.exporter().deliver_next()
    assert objects(bucket) == [keys_of(world, world.hour)[0]], "no manifest, no marker"
    assert world.run().state == "pending"
    assert world.run().tries[-1].outcome == "let go"
    assert not world.exporter().deliver_next()
    world.wait(61)
    deliver_all(world)
    assert objects(bucket) == keys_of(world, world.hour)


@pytest.mark.parametrize("verb", ["edit", "delete"])
def test_an_upload_that_was_begun_is_aborted_where_it_was(
    world: Any, bucket: str, new_bucket: str, owner: S3Client, verb: str
) -> None:
    added = world.add_destination(bucket)
    upload = begin_upload(world, bucket, owner)
    if verb == "edit":
        assert editor_of(world).edit(added.id, Edit(bucket=new_bucket)).left_behind == ()
    else:
        assert editor_of(world).delete(added.id).left_behind == ()
    assert uploads(owner, bucket, upload) == []


@pytest.mark.parametrize("verb", ["edit", "delete"])
def test_an_upload_that_can_not_be_aborted_any_more_is_named(
    world: Any,
    bucket: str,
    new_bucket: str,
    owner: S3Client,
    server: seaweed.Seaweed,
    verb: str,
) -> None:
    added = world.add_destination(bucket)
    upload = begin_upload(world, bucket, owner)
    server.put_policy(bucket, {"s3:ListBucket": [""]})
    done: Any = (
        editor_of(world).edit(added.id, Edit(bucket=new_bucket))
        if verb == "edit"
        else editor_of(world).delete(added.id)
    )
    (left,) = done.left_behind
    assert upload in left
    assert f"s3://{bucket}/exports/" in left
    after: Destination = world.destinations.get(added.id)
    assert (after.bucket, after.state) == (
        (new_bucket, "active") if verb == "edit" else (bucket, "deleted")
    )


def begin_upload(world: Any, bucket: str, owner: S3Client) -> str:
    """Leave a run behind whose holder began an upload and let go."""
    hour = seal(world, world.hour)
    held = claim(world)
    key = keys_of(world, hour)[0]
    upload = owner.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    world.ledger.upload_started(held, key, upload)
    world.ledger.waiting(held)
    return upload


def uploads(owner: S3Client, bucket: str, upload: str) -> list[str]:
    found = owner.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    return [one["UploadId"] for one in found if one["UploadId"] == upload]


def test_a_deleted_destination_gets_nothing_more_and_the_other_does(
    world: Any, bucket: str, new_bucket: str, objects: Any
) -> None:
    gone, kept = world.add_destination(bucket), world.add_destination(new_bucket)
    seal(world, world.hour.previous())
    deliver_all(world)
    before = objects(bucket)
    editor_of(world).delete(gone.id)
    seal(world, world.hour)
    deliver_all(world)
    assert objects(bucket) == before
    assert len(objects(new_bucket)) == 6
    assert [run.state for run in world.ledger.runs(destination_id=gone.id)] == ["success"]
    assert kept.state == "active"
