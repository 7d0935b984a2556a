"""Refused access for more than a day, healed by what the mail says, beside another bucket."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tailrace.accounts.passwords import Passwords
from tailrace.accounts.people import NewPerson, add_person
from tailrace.accounts.roles import checked_role
from tailrace.demo import seaweed
from tailrace.ids import SystemIds
from tailrace.notify.notices import Notices
from tailrace.notify.outage_mails import Mailing
from tailrace.notify.room import RoomGauge
from tailrace.settings import Settings, SmtpSettings
from tailrace.state.mails import Mails
from tests.notify.conftest import MailServer
from tests.notify.mailing import Disk

DATA = gzip.compress(b'{"event_type":"one"}\n', mtime=0)
QUARTER_SECONDS = 900
PREFIX = "exports/"
MISSING = ("s3:ListBucket", "s3:PutObject")

pytestmark = [
    pytest.mark.slow(reason="a day of deliveries and probes goes to a real S3 server"),
    pytest.mark.timeout(300),
]


class Day:
    """A project with two destinations; time passes in quarters, and each hour one is sealed."""

    def __init__(self, world: Any, smtp: SmtpSettings) -> None:
        self.world = world
        self.quarters = 0
        self.disk = Disk()
        settings = Settings(smtp=smtp)
        gauge = RoomGauge(world.engine, self.disk, Path("/"), settings.disk, world.clock)
        mailing = Mailing(world.engine, world.clock, SystemIds(), settings, gauge)
        self.notices = Notices(mailing, world.clock)
        self.exporter = world.exporter()
        self.mails = Mails(world.engine, world.clock)
        for email, role in (("ann@acme.example", "admin"), ("vic@acme.example", "viewer")):
            add_person(
                world.engine,
                world.organization,
                NewPerson(email, checked_role(role)),
                passwords=Passwords(SystemIds()),
                clock=world.clock,
            )

    def live(self, hours: float) -> None:
        """Let the service live for a while."""
        for _ in range(round(hours * 4)):
            self.world.wait(QUARTER_SECONDS)
            self.disk.free -= 10**8
            if self.quarters % 4 == 0:
                hour = self.world.hour.plus(self.quarters // 4)
                self.world.seal(self.world.put_file(1, DATA, hour), hour=hour)
            self.quarters += 1
            while self.exporter.deliver_next():
                pass
            self.exporter.look_after()
            while self.exporter.deliver_next():
                pass
            self.notices.step()

    def states(self, destination: int) -> set[str]:
        return {one.state for one in self.world.ledger.runs(destination_id=destination)}


def statements_of(text: str) -> list[dict[str, Any]]:
    """Return the statements that a mail says to add, as its reader would copy them."""
    lines = [line for line in text.splitlines() if line.startswith("  ")]
    first = lines.index("  {")
    last = len(lines) - lines[::-1].index("  }")
    found: list[dict[str, Any]] = json.loads(f"[{''.join(lines[first:last])}]")
    return found


def test_an_outage_of_a_day_is_mailed_reminded_of_and_healed_by_its_own_words(
    world: Any,
    bucket: str,
    server: seaweed.Seaweed,
    smtp: SmtpSettings,
    mail_server: MailServer,
) -> None:
    refused = world.add_destination(bucket)
    well_bucket = f"well-{os.urandom(6).hex()}"
    server.create_bucket(well_bucket)
    server.put_policy(well_bucket, seaweed.export_policy(PREFIX))
    well = world.add_destination(well_bucket)
    day = Day(world, smtp)

    day.live(2)
    assert day.states(refused.id) == day.states(well.id) == {"success"}
    assert mail_server.received == []

    left = {
        action: below
        for action, below in seaweed.export_policy(PREFIX).items()
        if action not in MISSING
    }
    server.put_policy(bucket, left)
    day.live(3)
    which = f"{refused.name}, destination {refused.id}"
    assert mail_server.texts == [
        f"Access to {bucket} is refused ({which}): 2 permissions are missing"
    ]
    first = mail_server.received[0]
    assert first.recipients == ("ann@acme.example",)
    text = first.part("plain")
    assert f"{refused.name} ({refused.id}), s3://{bucket}/{PREFIX}" in text
    assert "Missing        s3:ListBucket, s3:PutObject" in text
    assert "403 AccessDenied" in text
    assert "Hours       2, with 2 events" in text
    assert "Room        for" in text

    day.live(24)
    assert [one.kind for one in reversed(day.mails.newest())] == ["outage", "reminder"]
    assert "still refused" in mail_server.texts[1]
    assert day.states(well.id) == {"success"}, "the other bucket got its hours all the time"
    assert {"failed", "pending"} < day.states(refused.id)

    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"AWS": seaweed.EXPORTER_ARN},
                "Action": [action],
                "Resource": [f"arn:aws:s3:::{bucket}/{one}".rstrip("/") for one in below],
            }
            for action, below in left.items()
        ]
        + [
            # The server's own users have bucket policies only, so the key's user is named.
            {**one, "Principal": {"AWS": seaweed.EXPORTER_ARN}}
            for one in statements_of(text)
        ],
    }
    server.put_document(bucket, json.dumps(policy))
    day.live(0.5)

    assert [one.kind for one in reversed(day.mails.newest())] == [
        "outage",
        "reminder",
        "all-clear",
    ]
    assert mail_server.texts[2] == f"Access to {bucket} is back ({which})"
    assert "All that waited is delivered." in mail_server.received[2].part("plain")
    assert day.states(refused.id) == {"success"}
    assert {one.destination_id for one in day.mails.newest()} == {refused.id}
    day.live(1)
    assert len(mail_server.received) == 3
