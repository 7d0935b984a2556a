"""What refuses a destination, and a destination whose hours meet it, for the failure page."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from tailrace.accounts.roles import Role
from tailrace.clock import MICROS
from tailrace.hours import Hour
from tailrace.state.delivery import Capabilities, Cause, Destination
from tailrace.state.destinations import Destinations, NewDestination
from tailrace.state.ledger import Ledger
from tailrace.state.sealed import SealedFile, SealedHour
from tests.web.conftest import Place, Visitor

PREFIX = "raw/"
MINUTE = 60 * MICROS
ABLE = Capabilities(conditional_put=True, conditional_complete=True, checksums=True)
REFUSED = Cause(
    kind="access",
    code="AccessDenied",
    sentence="Cannot write to s3://acme/raw/x: S3 answered 403 AccessDenied to PutObject.",
    fix="Add s3:PutObject to the policy of the bucket.",
    permission="s3:PutObject",
    call="PutObject",
    key="raw/x",
    status=403,
    request_id="REQ7",
    missing_actions=("s3:PutObject",),
    title="S3 refuses to let tailrace write to this bucket",
)
BUSY = Cause("temporary", "SlowDown", "S3 answered 503.", "Nothing.", title="S3 is busy")
CLOCK = Cause("operator", "RequestTimeTooSkewed", "Skewed.", "Set it.", title="The clock is wrong")
OTHER = Cause("conflict", "Conflict", "Other content.", "Move it.", key="raw/y", title="Conflict")


class Exports:
    """A destination of the place's project, and its hours."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.clock: Any = place.site.clock
        self.ledger = Ledger(place.engine, self.clock)
        self.destinations = Destinations(place.engine, self.clock, by="dana@acme.example")
        self.hour = Hour.of_micros(self.clock.now_micros()).plus(-1)
        place.add("dana@acme.example")
        self.dana: Visitor = place.visitor("dana@acme.example")

    def add(self, **changes: Any) -> Destination:
        new = {"bucket": "acme", "region": "us-east-1", "prefix": PREFIX, **changes}
        added = self.destinations.add(NewDestination(project=self.place.project, **new))
        return self.destinations.activate(added.id, ABLE)

    def seal(self, *hours: Hour) -> None:
        for hour in hours:
            scope = self.place.project
            name = f"{scope}_{hour.date}_{hour.of_day}#1.json.gz"
            file = SealedFile(scope, hour, 1, name, 1000, "0" * 64, 1, 10, 5000)
            record = f"{hour}".encode()
            digest = hashlib.sha256(record).hexdigest()
            made = SealedHour(scope, self.place.organization, hour, record, digest, (file,))
            self.ledger.add_hours([made])

    def held(self) -> Any:
        held = self.ledger.claim(now_micros=0, lease_micros=MINUTE, destination_limit=9)
        assert held is not None
        return held

    def refuse(self, cause: Cause = REFUSED) -> None:
        """Give the newest owed hour up, and with it the destination."""
        self.ledger.failed(self.held(), cause, next_probe_micros=self.clock.now_micros())

    def path(self, destination: Destination, name: str = "") -> str:
        base = f"/p/{self.place.project}/destinations/{destination.id}/failures"
        return f"{base}/{name}" if name else base

    def visitor(self, role: Role) -> Visitor:
        self.place.add(f"{role}@acme.example", role)
        return self.place.visitor(f"{role}@acme.example")


@pytest.fixture
def exports(place: Place) -> Exports:
    return Exports(place)
