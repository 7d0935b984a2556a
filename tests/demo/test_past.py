"""The shop's past, made by the service's own parts against the S3 server that the demo uses."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tailrace.accounts.passwords import Passwords
from tailrace.accounts.people import NewPerson, add_person
from tailrace.accounts.projects import NewProject, add_organization, add_project
from tailrace.app.destinations import Access, NewBucket, add_amazon_s3
from tailrace.clock import MICROS, SystemClock
from tailrace.demo import past as past_module
from tailrace.demo import seaweed
from tailrace.demo.past import DAY, FIRST_SHARE, Past, make
from tailrace.demo.seaweed import Seaweed
from tailrace.files import Files
from tailrace.folder import DataFolder
from tailrace.hours import Hour
from tailrace.ids import SystemIds
from tailrace.settings import ExportSettings, Settings
from tailrace.state.database import open_database
from tailrace.state.destinations import Destinations
from tailrace.state.ledger import Ledger
from tailrace.state.mails import Mails

FIRST = Hour.parse("2026-01-01T20")
BROKEN = Hour.parse("2026-01-01T23")
UNTIL = Hour.parse("2026-01-02T02")


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    made = DataFolder(tmp_path / "data")
    made.create(Files())
    return made


@pytest.fixture
def project(folder: DataFolder) -> NewProject:
    engine, ids, clock = open_database(folder.database), SystemIds(), SystemClock()
    try:
        organization = add_organization(engine, "Acme", clock=clock)
        admin = NewPerson("dana@acme.example", "admin")
        add_person(engine, organization, admin, passwords=Passwords(ids), clock=clock)
        return add_project(engine, organization, "Shop", ids=ids, clock=clock)
    finally:
        engine.dispose()


def test_what_was_acknowledged_is_in_both_buckets_until_one_refuses_and_mail_says_so(
    server: Seaweed, folder: DataFolder, project: NewProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAILRACE_EXPORT_PRIVATE_ENDPOINTS", "true")
    healthy, broken = (f"{name}-{os.urandom(6).hex()}" for name in ("healthy", "broken"))
    for bucket in (healthy, broken):
        server.create_bucket(bucket)
        server.put_policy(bucket, seaweed.export_policy("raw/"))
        _add(server, folder, project.project_id, bucket)
    sent: list[str] = []
    posted = past_module._ask

    async def remember(collector: Any, path: str, body: bytes) -> int:
        sent.extend(event["insert_id"] for event in json.loads(body)["events"])
        return await posted(collector, path, body)

    monkeypatch.setattr(past_module, "_ask", remember)

    assert _live(folder, FIRST, BROKEN, project.api_key) == [1, 2, 3]
    before = list(sent)
    granted = seaweed.export_policy("raw/")
    granted.pop("s3:PutObject")
    server.put_policy(broken, granted)
    _live(folder, BROKEN, UNTIL, project.api_key)

    # A shop's visitors do not come twice, but some of what they do is sent twice.
    assert sorted(_landed(server, healthy, project.project_id)) == sorted(set(sent))
    assert sorted(_landed(server, broken, project.project_id)) == sorted(set(before))
    # It grows from a share of its day's events to all of them.
    whole = sum(DAY[hour.of_day] for hour in Hour.range(FIRST, UNTIL))
    assert 0.7 * FIRST_SHARE * whole < len(sent) < 1.25 * whole
    engine = open_database(folder.database)
    try:
        counts = {(one.destination_id, one.state): one.runs for one in _counts(engine)}
        assert counts[1, "success"] == 2 * 6
        assert counts[2, "success"] == 2 * 3
        assert counts[2, "failed"] > 0
        (mail,) = Mails(engine, SystemClock()).newest(limit=10)
        assert mail.kind == "outage"
        assert "s3:PutObject is missing" in mail.subject
        outage = Destinations(engine, SystemClock()).get(2)
        assert outage.outage_since_micros is not None
        assert FIRST.start_micros < outage.outage_since_micros < UNTIL.end_micros
        # What is due next is due on the machine's clock: a service that starts now goes on.
        assert outage.next_probe_micros is not None
        assert abs(outage.next_probe_micros - SystemClock().now_micros()) < 3600 * MICROS
    finally:
        engine.dispose()


def test_a_past_needs_no_destination(
    folder: DataFolder, project: NewProject, tmp_path: Path
) -> None:
    _live(folder, FIRST, BROKEN, project.api_key)

    names = sorted(path.name for path in folder.archive.rglob("*#1.json.gz"))

    scope = project.project_id
    assert [name for name in names if name.startswith(str(scope))] == [
        f"{scope}_2026-01-01_{hour}#1.json.gz" for hour in (20, 21, 22)
    ]


def _live(folder: DataFolder, first: Hour, until: Hour, api_key: str) -> list[int]:
    told: list[int] = []
    ago = UNTIL.start_micros - first.start_micros
    past = Past(folder, first, SystemClock().now_micros() - ago)
    try:
        asyncio.run(make(past, list(Hour.range(first, until)), FIRST, api_key, told.append))
    finally:
        past.close()
    return told


def _add(server: Seaweed, folder: DataFolder, project: int, bucket: str) -> None:
    engine = open_database(folder.database)
    try:
        settings = Settings(export=ExportSettings(private_endpoints=True))
        new = NewBucket(
            project=project,
            bucket=bucket,
            region=seaweed.REGION,
            prefix="raw/",
            endpoint_url=server.endpoint_url,
            access=Access(
                access_key_id=server.exporter.access_key_id,
                secret_access_key=server.exporter.secret_access_key,
            ),
            include_merged_ids=True,
        )
        found = add_amazon_s3(folder, Destinations(engine, SystemClock()), settings, new)
        assert found.passed
    finally:
        engine.dispose()


def _counts(engine: Any) -> list[Any]:
    return Ledger(engine, SystemClock()).run_counts()


def _landed(server: Seaweed, bucket: str, project: int) -> list[str]:
    client = server.client(server.owner)
    found = client.list_objects_v2(Bucket=bucket, Prefix=f"raw/{project}/").get("Contents", [])
    keys = [one["Key"] for one in found if one["Key"].endswith(".json.gz")]
    bodies = [client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys]
    return [
        json.loads(line)["$insert_id"]
        for body in bodies
        for line in gzip.decompress(body).splitlines()
    ]
