"""Destinations of a site, and hours of them, made by the ledger as the service makes them."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from tailrace.app.destinations import open_secrets
from tailrace.hours import Hour
from tailrace.seal import manifest
from tailrace.seal.names import file_name
from tailrace.state.delivery import Capabilities, Cause, Delivery, Destination
from tailrace.state.destinations import Destinations, NewDestination
from tailrace.state.ledger import Ledger
from tailrace.state.sealed import SealedFile, SealedHour
from tailrace.web.site import Site

CAPABLE = Capabilities(conditional_put=True, conditional_complete=True, checksums=True)
REFUSED = Cause(
    kind="access",
    code="AccessDenied",
    sentence="S3 answered 403 AccessDenied to PutObject.",
    fix="Add s3:PutObject to the policy of the bucket.",
    permission="s3:PutObject",
    call="PutObject",
    status=403,
    missing_actions=("s3:PutObject",),
)


# Nothing listens there.
UNREACHABLE = "http://127.0.0.1:9"


class Exporting:
    """The exports of one project of a site."""

    def __init__(self, site: Site, organization: int, project: int) -> None:
        self.organization = organization
        self.project = project
        self.destinations = Destinations(site.engine, site.clock, by="dana@acme.example")
        self.ledger = Ledger(site.engine, site.clock)
        self._secrets = open_secrets(site.folder)

    def add(self, bucket: str = "acme-events", **more: Any) -> Destination:
        """Add a destination that is being set up."""
        return self.destinations.add(
            NewDestination(project=self.project, bucket=bucket, region="eu-central-1", **more)
        )

    def add_unreachable(self, bucket: str = "acme-events", **more: Any) -> Destination:
        """Add a destination at a store that nobody can reach: nothing leaves this machine."""
        return self.activate(
            self.add(
                bucket,
                endpoint_url=UNREACHABLE,
                access_key_id="AKIAEXAMPLE",
                secret_encrypted=self._secrets.encrypt("secret"),
                **more,
            )
        )

    def activate(self, found: Destination) -> Destination:
        """Switch a destination on."""
        return self.destinations.activate(found.id, CAPABLE)

    def seal(self, *hours: Hour, lines: int = 58_302) -> None:
        """Seal hours of the project, with one file each, or none for no lines."""
        self.ledger.add_hours([self._hour(hour, lines, self.project) for hour in hours])

    def seal_merged_ids(self, *hours: Hour, lines: int = 7) -> None:
        """Seal hours of the organization's merged IDs, with one file each."""
        self.ledger.add_hours([self._hour(hour, lines, -self.organization) for hour in hours])

    def deliver(self, *, refused: int = 0) -> list[Hour]:
        """Bring all that is owed; return the hours, once for each destination.

        An outage begins at the destination `refused` instead.
        """
        done = []
        while (held := self.claim()) is not None:
            if held.destination_id == refused:
                self.ledger.failed(held, REFUSED, next_probe_micros=2**60)
                continue
            for file, _ in self.ledger.files(held):
                self.ledger.file_delivered(held, file.number, f"raw/{file.name}", "put", 7)
            self.ledger.succeeded(held, held.hour.end_micros + 146_000_000)
            done.append(held.hour)
        return done

    def claim(self) -> Delivery | None:
        """Take the next run."""
        return self.ledger.claim(now_micros=0, lease_micros=60_000_000, destination_limit=9)

    def refuse(self) -> None:
        """Let the next run fail for good: an outage begins."""
        held = self.claim()
        assert held is not None
        assert self.ledger.failed(held, REFUSED, next_probe_micros=2**60)

    def _hour(self, hour: Hour, lines: int, scope: int) -> SealedHour:
        name = file_name(scope, hour, 1)
        there = (SealedFile(scope, hour, 1, name, 1000, "ab" * 32, 7, lines, 30_000),)
        files = there if lines else ()
        record = manifest.record_bytes(
            manifest.SealRecord(
                format=manifest.RECORD_FORMAT,
                scope=scope,
                organization=self.organization,
                hour=str(hour),
                files=tuple(
                    manifest.RecordFile(name, lines, 1000, 30_000, "ab" * 32, "00000007")
                    for _ in files
                ),
                accepted=lines + 6,
                exported=lines,
                duplicates=1,
                identifies=3,
                filtered=2,
                held=0,
                first_server_upload_time=None,
                last_server_upload_time=None,
                event_dates={hour.date: lines} if lines else {},
                settings=msgspec.Raw(b"null"),
                schema=manifest.EVENTS_SCHEMA,
                previous=None,
            )
        )
        digest = hashlib.sha256(record).hexdigest()
        return SealedHour(scope, self.organization, hour, record, digest, files)
