"""Status is computed from what is on disk, whether or not the service runs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import Engine

from tailrace.accounts.projects import add_organization, add_project
from tailrace.clock import SteppedClock
from tailrace.files import Files
from tailrace.folder import DataFolder
from tailrace.hours import Hour
from tailrace.ids import SystemIds
from tailrace.ops.status import StatusReader
from tailrace.state.database import open_database
from tailrace.state.delivery import Capabilities, Cause
from tailrace.state.destinations import Destinations, NewDestination
from tailrace.state.ledger import Ledger
from tailrace.state.sealed import SealedHour

HOUR = Hour.parse("2026-11-23T13")


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    folder = DataFolder(tmp_path / "data")
    folder.create(Files())
    return folder


@pytest.fixture
def engine(folder: DataFolder) -> Iterator[Engine]:
    engine = open_database(folder.database)
    yield engine
    engine.dispose()


def test_an_hour_counts_once_though_its_organization_has_it_too(
    folder: DataFolder, engine: Engine
) -> None:
    clock = SteppedClock(HOUR.end_micros)
    hours = [
        SealedHour(scope, 100001, HOUR, b"record", hashlib.sha256(b"record").hexdigest(), ())
        for scope in (-100001, 300001, 300002)
    ]
    Ledger(engine, clock).add_hours(hours)
    status = StatusReader(folder, engine, clock).read()
    assert (status.hours.collecting, status.hours.sealed) == (0, 2)
    assert status.newest_sealed_hour == str(HOUR)


def test_a_run_in_conflict_is_named_with_its_object_and_what_to_do(
    folder: DataFolder, engine: Engine
) -> None:
    clock = SteppedClock(HOUR.end_micros)
    ledger, destinations = Ledger(engine, clock), Destinations(engine, clock)
    organization = add_organization(engine, "Acme", clock=clock)
    project = add_project(engine, organization, "Shop", ids=SystemIds(), clock=clock).project_id
    added = destinations.add(NewDestination(project=project, bucket="acme", region="eu-west-1"))
    can = Capabilities(conditional_put=True, conditional_complete=True, checksums=True)
    destinations.activate(added.id, can)
    digest = hashlib.sha256(b"record").hexdigest()
    ledger.add_hours([SealedHour(project, organization, HOUR, b"record", digest, ())])
    held = ledger.claim(now_micros=clock.now_micros(), lease_micros=1, destination_limit=1)
    assert held is not None
    ledger.conflict(held, Cause("conflict", "Conflict", "Other bytes.", "Move it."), "a/key")

    (trouble,) = StatusReader(folder, engine, clock).read().troubles

    assert (trouble.state, trouble.hour, trouble.key) == ("conflict", str(HOUR), "a/key")
    assert (trouble.sentence, trouble.fix) == ("Other bytes.", "Move it.")
