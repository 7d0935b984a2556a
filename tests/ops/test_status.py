"""Status is computed from what is on disk, whether or not the service runs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import Engine

from tailrace.clock import SteppedClock
from tailrace.files import Files
from tailrace.folder import DataFolder
from tailrace.hours import Hour
from tailrace.ops.status import StatusReader
from tailrace.state.database import open_database
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
