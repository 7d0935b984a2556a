"""What tests of editing share: an editor, a second bucket, hours that are sealed and delivered."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tailrace.app.editing import Editor
from tailrace.clock import MICROS
from tailrace.demo import seaweed
from tailrace.hours import Hour
from tailrace.settings import Settings
from tailrace.state.secrets import Secrets

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

DATA = b"sealed bytes"


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
