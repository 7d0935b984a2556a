"""The exporter part delivers, and it mails: a process of its own, as `tailrace serve` starts it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tailrace.accounts.projects import add_organization, add_project
from tailrace.clock import MICROS, SystemClock
from tailrace.demo.surroundings import clean
from tailrace.files import Files
from tailrace.folder import DataFolder
from tailrace.ids import SystemIds
from tailrace.state.database import open_database
from tailrace.state.delivery import Capabilities, Cause
from tailrace.state.destinations import Destinations, NewDestination
from tailrace.state.ledger import Ledger
from tests.notify.conftest import MailServer, running

REFUSED = Cause("access", "NoSuchBucket", "There is no such bucket.", "Create it again.")


@pytest.mark.slow(reason="a process starts")
def test_the_exporter_mails_of_an_outage(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "data")
    folder.create(Files())
    engine, clock = open_database(folder.database), SystemClock()
    organization = add_organization(engine, "Acme", admin_email="ann@acme.example", clock=clock)
    project = add_project(engine, organization, "Shop", ids=SystemIds(), clock=clock).project_id
    destinations = Destinations(engine, clock)
    added = destinations.add(NewDestination(project=project, bucket="acme"))
    destinations.activate(added.id, Capabilities(False, False, False))
    ledger = Ledger(engine, clock)
    # No probe is due while the test lasts.
    ledger.begin_outage(added.id, REFUSED, clock.now_micros() + 1800 * MICROS)
    ledger.looked_into(added.id, REFUSED)
    engine.dispose()
    server, arrived = MailServer(), threading.Event()
    server.before_answer = arrived.set
    with running(server) as settings:
        part = subprocess.Popen(
            [sys.executable, "-m", "tailrace", "run", "exporter", "--data", str(folder.path)],
            env=clean(os.environ)
            | {
                "TAILRACE_SMTP_HOST": settings.host,
                "TAILRACE_SMTP_PORT": str(settings.port),
                "TAILRACE_SMTP_SECURITY": "none",
            },
        )
        try:
            assert arrived.wait(60)
        finally:
            part.send_signal(signal.SIGTERM)
            code = part.wait(60)

    assert code == 0
    (got,) = server.received
    assert got.recipients == ("ann@acme.example",)
    which = f"Amazon S3, destination {added.id}"
    assert got.message["Subject"] == f"Access to acme is refused ({which}): NoSuchBucket"
    assert "Create it again." in got.part("plain")
    assert "Create it again." in got.part("html")
