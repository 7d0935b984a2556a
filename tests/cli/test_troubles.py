"""What `tailrace status` says of runs that wait for somebody."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tailrace.clock import SystemClock
from tailrace.folder import DataFolder
from tailrace.hours import Hour
from tailrace.state.database import open_database
from tailrace.state.delivery import Capabilities, Cause
from tailrace.state.destinations import Destinations, NewDestination
from tailrace.state.ledger import Ledger
from tailrace.state.sealed import SealedHour

SENTENCE = "Cannot put s3://acme/a/key: an object with other content is there."


def test_a_conflict_is_shown_with_its_object_and_what_to_do(
    run: Callable[..., Any], data: Path
) -> None:
    project = run("init", "--json").json()["project_id"]
    clock = SystemClock()
    engine = open_database(DataFolder(data).database)
    destinations, ledger = Destinations(engine, clock), Ledger(engine, clock)
    added = destinations.add(NewDestination(project=project, bucket="acme"))
    can = Capabilities(conditional_put=True, conditional_complete=True, checksums=True)
    destinations.activate(added.id, can)
    hour = Hour.of_micros(clock.now_micros())
    digest = hashlib.sha256(b"record").hexdigest()
    ledger.add_hours([SealedHour(project, added.organization, hour, b"record", digest, ())])
    held = ledger.claim(now_micros=clock.now_micros(), lease_micros=1, destination_limit=1)
    assert held is not None
    ledger.conflict(held, Cause("conflict", "Conflict", SENTENCE, "Move it."), "a/key")
    engine.dispose()

    line = f"  conflict events of {hour}, destination {added.id}: {SENTENCE} Move it."
    assert line in run("status").out.splitlines()
    (trouble,) = run("status", "--json").json()["troubles"]
    assert (trouble["state"], trouble["key"], trouble["hour"]) == ("conflict", "a/key", str(hour))
