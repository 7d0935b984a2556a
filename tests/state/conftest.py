"""A ledger over a real database, with one organization, and short ways to fill it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from tailrace.accounts.projects import add_organization, add_project
from tailrace.clock import SteppedClock
from tailrace.hours import Hour
from tailrace.ids import SystemIds
from tailrace.state.database import open_database, reading
from tailrace.state.delivery import Capabilities, Cause, Delivery, Destination
from tailrace.state.destinations import Destinations, NewDestination
from tailrace.state.ledger import Ledger
from tailrace.state.manual_exports import ManualExports
from tailrace.state.sealed import SealedFile, SealedHour

LEASE_MICROS = 60_000_000


class Books:
    """One organization with a project, its ledger and its destinations."""

    capabilities = Capabilities(conditional_put=True, conditional_complete=True, checksums=True)
    refused = Cause(
        kind="access",
        code="AccessDenied",
        sentence="S3 answered 403 AccessDenied to PutObject.",
        fix="Add s3:PutObject to the bucket policy.",
        permission="s3:PutObject",
        call="PutObject",
        status=403,
    )
    busy = Cause(kind="temporary", code="SlowDown", sentence="S3 answered 503.", fix="Wait.")
    today = Hour.parse("2026-11-23T00")

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.clock = SteppedClock(Hour.parse("2026-11-23T10").start_micros)
        self.ledger = Ledger(engine, self.clock)
        self.destinations = Destinations(engine, self.clock, by="test")
        self.organization = self.add_organization("Acme")
        self.project = self.add_project(self.organization)

    def add_organization(self, name: str) -> int:
        return add_organization(self.engine, name, clock=self.clock)

    def add_project(self, organization: int) -> int:
        made = add_project(self.engine, organization, "Shop", ids=SystemIds(), clock=self.clock)
        return made.project_id

    def setting_up(
        self, *, bucket: str = "acme", project: int | None = None, merged: bool = False
    ) -> Destination:
        return self.destinations.add(
            NewDestination(
                project=project or self.project, bucket=bucket, include_merged_ids=merged
            )
        )

    def active(
        self, *, bucket: str = "acme", project: int | None = None, merged: bool = False
    ) -> Destination:
        added = self.setting_up(bucket=bucket, project=project, merged=merged)
        return self.destinations.activate(added.id, self.capabilities)

    def file(
        self, hour: Hour, number: int = 1, *, scope: int | None = None, body: str = "same"
    ) -> SealedFile:
        scope = scope or self.project
        return SealedFile(
            scope=scope,
            hour=hour,
            number=number,
            name=f"{scope}_{hour.date}_{hour.of_day}#{number}.json.gz",
            size_bytes=1000 + number,
            sha256=hashlib.sha256(body.encode()).hexdigest(),
            crc32=0xFFFFFFFF,
            lines=10,
            raw_bytes=5_000_000_000,
        )

    def hour(
        self, hour: Hour, files: int = 1, *, scope: int | None = None, body: str = "same"
    ) -> SealedHour:
        scope = scope or self.project
        made = tuple(self.file(hour, n, scope=scope, body=body) for n in range(1, files + 1))
        record = f"{scope} {hour} {files} {body}".encode()
        digest = hashlib.sha256(record).hexdigest()
        return SealedHour(scope, self.organization, hour, record, digest, made)

    def seal(self, *hours: Hour, files: int = 1, scope: int | None = None) -> None:
        self.ledger.add_hours([self.hour(hour, files, scope=scope) for hour in hours])

    def claim(self, now_micros: int = 0, *, limit: int = 100) -> Delivery | None:
        return self.ledger.claim(
            now_micros=now_micros, lease_micros=LEASE_MICROS, destination_limit=limit
        )

    def held(self, now_micros: int = 0) -> Delivery:
        """Claim one run, which must be there."""
        delivery = self.claim(now_micros)
        assert delivery is not None
        return delivery

    def put_all(self, held: Delivery) -> None:
        for file, done in self.ledger.files(held):
            if not done:
                self.ledger.file_delivered(held, file.number, file.name, "put", 7)

    def deliver(self, held: Delivery) -> None:
        self.put_all(held)
        self.ledger.succeeded(held, 8)

    def states(self) -> dict[tuple[int, str, Hour], str]:
        runs = self.ledger.runs()
        return {(run.destination_id, run.data_type, run.hour): run.state for run in runs}

    def plan(self, statement: str, values: Any) -> list[str]:
        """Return SQLite's plan of a statement, one line a step."""
        with reading(self.engine) as connection:
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
            return [row.detail for row in rows]


@pytest.fixture
def engine(tmp_path: Path, empty_database: bytes) -> Iterator[Engine]:
    path = tmp_path / "tailrace.sqlite"
    path.write_bytes(empty_database)
    opened = open_database(path)
    yield opened
    opened.dispose()


@pytest.fixture
def books(engine: Engine) -> Books:
    return Books(engine)


@pytest.fixture
def statements(engine: Engine) -> Iterator[list[tuple[str, Any]]]:
    """Collect every statement with its values, as the driver gets them."""
    seen: list[tuple[str, Any]] = []

    def note(_c: object, _u: object, text: str, values: Any, _x: object, many: bool) -> None:
        if text.startswith(("SELECT", "INSERT", "UPDATE")):
            seen.append((text, values[0] if many else values))

    sa.event.listen(engine, "before_cursor_execute", note)
    yield seen
    sa.event.remove(engine, "before_cursor_execute", note)


@pytest.fixture
def exports(books: Books) -> ManualExports:
    return ManualExports(books.engine, books.clock, by="test")
