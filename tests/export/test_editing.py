"""Editing and deleting over a real server: what is delivered stays, the rest goes on elsewhere."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from tailrace.app.destinations import Access
from tailrace.app.editing import Edit, Editor
from tailrace.clock import MICROS, SystemClock
from tailrace.demo import seaweed
from tailrace.errors import BadRequest, Transient
from tailrace.export.verify import Step
from tailrace.hours import Hour
from tailrace.settings import ExportSettings, Settings
from tailrace.state.delivery import OWED_STATES, Destination
from tailrace.state.destinations import NewDestination
from tailrace.state.secrets import Secrets

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

DATA = b"sealed bytes"
CHILD = Path(__file__).with_name("editing_child.py")
SLOW = pytest.mark.slow(reason="processes are started, killed, and started again")


@pytest.fixture
def new_bucket(server: seaweed.Seaweed) -> str:
    name = f"new-{os.urandom(6).hex()}"
    server.create_bucket(name)
    server.put_policy(name, seaweed.export_policy("exports/"))
    return name


@pytest.fixture
def objects(owner: S3Client) -> Callable[[str], list[str]]:
    def list_objects(bucket: str) -> list[str]:
        found = owner.list_objects_v2(Bucket=bucket).get("Contents", [])
        return sorted(one["Key"] for one in found)

    return list_objects


def editor_of(
    world: Any,
    sleep: Callable[[float], object] | None = None,
    *,
    settings: Settings = Settings(),  # noqa: B008
) -> Editor:
    def never(_: float) -> None:
        pytest.fail("it waits though nothing is in work")

    return Editor(
        world.destinations,
        world.clients,
        Secrets(b"A" * 43 + b"="),
        settings,
        machine=world.clock,
        sleep=sleep or never,
    )


def seal(world: Any, hour: Hour) -> Hour:
    world.seal(world.put_file(1, DATA, hour), hour=hour)
    return hour


def deliver_all(world: Any) -> None:
    exporter = world.exporter()
    while exporter.deliver_next():
        pass


def claim(world: Any) -> Any:
    held = world.ledger.claim(
        now_micros=world.clock.now_micros(), lease_micros=35 * MICROS, destination_limit=9
    )
    assert held is not None
    return held


def keys_of(world: Any, hour: Hour) -> list[str]:
    stem = f"{world.project}_{hour.date}_{hour.of_day}"
    return sorted(
        [
            f"exports/{world.project}/{stem}#1.json.gz",
            f"exports/{world.project}/{stem}_complete",
            f"exports/_manifests/{world.project}/{stem}.json",
        ]
    )


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
    assert world.destinations.get(added.id) == added
    seal(world, world.hour)
    deliver_all(world)
    assert objects(bucket) == keys_of(world, world.hour), "it goes on as before"


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


def while_probed(world: Any, added: Destination, edit: Edit, theirs: Edit) -> None:
    """Edit a destination, and have somebody else edit it between two of the probes."""
    steps: list[str] = []

    def told(step: Step) -> None:
        if not steps:
            editor_of(world).edit(added.id, theirs)
        steps.append(step.action)

    try:
        editor_of(world).edit(added.id, edit, told)
    finally:
        assert len(steps) > 1, "their change came before the last probe"


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        ({"name": "Mine"}, {"name": "Theirs"}),
        ({"manifest": False}, {"manifest": False, "marker": False}),
        ({"include_merged_ids": True}, {"include_merged_ids": True}),
    ],
)
def test_what_somebody_else_saves_during_the_probes_is_not_overwritten(
    world: Any, bucket: str, new_bucket: str, mine: dict[str, Any], theirs: dict[str, Any]
) -> None:
    added = world.add_destination(bucket)
    with pytest.raises(BadRequest, match="someone else has changed it meanwhile"):
        while_probed(world, added, Edit(bucket=new_bucket, **mine), Edit(**theirs))
    assert world.destinations.get(added.id) == msgspec.structs.replace(added, **theirs)


def test_what_somebody_else_saves_during_the_probes_of_another_field_holds_as_well(
    world: Any, bucket: str, new_bucket: str
) -> None:
    added = world.add_destination(bucket)
    while_probed(world, added, Edit(bucket=new_bucket), Edit(name="Theirs", marker=False))
    now = world.destinations.get(added.id)
    assert (now.bucket, now.name, now.marker) == (new_bucket, "Theirs", False)


def test_two_who_each_switch_one_data_type_off_leave_one(
    world: Any, bucket: str, new_bucket: str
) -> None:
    added = world.add_destination(bucket)
    editor_of(world).edit(added.id, Edit(include_merged_ids=True))
    mine, theirs = Edit(bucket=new_bucket, include_events=False), Edit(include_merged_ids=False)
    with pytest.raises(BadRequest, match="receive nothing"):
        while_probed(world, added, mine, theirs)
    now = world.destinations.get(added.id)
    assert (now.bucket, now.data_types) == (bucket, ("events",))


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


class Beside:
    """An exporter that runs in threads while commands run in processes of their own."""

    def __init__(self, world: Any) -> None:
        self._world = world
        world.clock = SystemClock()
        self._exporter = world.exporter()
        self._exporter.start()
        self._number = 0

    def seal_next(self) -> Hour:
        """Seal one more hour of today."""
        hour = Hour.of_micros(self._world.clock.now_micros()).day_start().plus(self._number)
        self._number += 1
        return seal(self._world, hour)

    def command(self, verb: str, number: int, bucket: str, kill_at: str = "") -> int:
        """Run a command; return its exit code, negative if it was killed."""
        database = str(self._world.engine.url.database)
        done = subprocess.run(
            [sys.executable, str(CHILD), database, str(number), verb, bucket],
            env=os.environ | {"TAILRACE_KILL_AT": kill_at},
            capture_output=True,
            check=False,
            text=True,
            timeout=90,
        )
        assert done.returncode in {0, -signal.SIGKILL}, done.stderr
        return done.returncode

    def wait_until_nothing_is_owed(self) -> None:
        """Wait for the exporter."""
        until = time.monotonic() + 60
        while self._world.ledger.runs(states=OWED_STATES):
            assert time.monotonic() < until, self._world.ledger.runs()
            threading.Event().wait(0.05)

    def stop(self) -> None:
        """Stop the exporter."""
        assert self._exporter.stop()


@pytest.fixture
def beside(world: Any) -> Iterator[Beside]:
    made = Beside(world)
    yield made
    made.stop()


@SLOW
@pytest.mark.parametrize("point", ["destination.held", "destination.before_commit"])
def test_an_edit_that_is_killed_beside_an_exporter_loses_and_doubles_nothing(
    world: Any, bucket: str, new_bucket: str, beside: Beside, objects: Any, point: str
) -> None:
    added = world.add_destination(bucket)
    hours = [beside.seal_next() for _ in range(4)]
    assert beside.command("edit", added.id, new_bucket, kill_at=point) == -signal.SIGKILL
    assert world.destinations.get(added.id).bucket == bucket
    hours += [beside.seal_next() for _ in range(4)]
    assert beside.command("edit", added.id, new_bucket) == 0
    hours += [beside.seal_next() for _ in range(4)]
    beside.wait_until_nothing_is_owed()

    there = [set(objects(bucket)), set(objects(new_bucket))]
    for hour in hours:
        marker = keys_of(world, hour)[1]
        complete = [keys for keys in there if marker in keys]
        assert len(complete) == 1, f"{hour} is complete in {len(complete)} buckets"
        assert set(keys_of(world, hour)) <= complete[0]
    assert not any("access-check" in key for keys in there for key in keys)
    assert len([key for key in there[1] if key.endswith("_complete")]) >= 4


@SLOW
@pytest.mark.parametrize("point", ["destination.held", "destination.before_commit"])
def test_a_deletion_that_is_killed_beside_an_exporter_is_whole_or_not_at_all(
    world: Any, bucket: str, beside: Beside, objects: Any, point: str
) -> None:
    added = world.add_destination(bucket)
    hours = [beside.seal_next() for _ in range(4)]
    assert beside.command("delete", added.id, "-", kill_at=point) == -signal.SIGKILL
    assert world.destinations.get(added.id).state == "active"
    hours.append(beside.seal_next())
    assert beside.command("delete", added.id, "-") == 0
    beside.seal_next()
    beside.wait_until_nothing_is_owed()

    runs = {run.hour: run.state for run in world.ledger.runs()}
    assert set(runs) == set(hours), "the hour after the deletion is not owed"
    for hour, state in runs.items():
        marked = keys_of(world, hour)[1] in objects(bucket)
        assert (state == "success") == marked, hour


@SLOW
def test_pauses_that_are_killed_beside_an_exporter_lose_nothing(
    world: Any, bucket: str, beside: Beside, objects: Any
) -> None:
    added = world.add_destination(bucket)
    point = "destination.before_commit"
    hours = []
    for verb, state in (("pause", "active"), ("resume", "paused")):
        hours += [beside.seal_next() for _ in range(3)]
        assert beside.command(verb, added.id, "-", kill_at=point) == -signal.SIGKILL
        assert world.destinations.get(added.id).state == state
        assert beside.command(verb, added.id, "-") == 0
    hours += [beside.seal_next() for _ in range(3)]
    beside.wait_until_nothing_is_owed()
    assert objects(bucket) == sorted(key for hour in hours for key in keys_of(world, hour))
