"""Pages over a project whose hours are exported: a real store, exporter and archive, no service.

The service's time is stepped; sealed hours are put where sealing puts them.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from argon2.profiles import CHEAPEST

from tailrace.accounts.passwords import Passwords
from tailrace.accounts.people import NewPerson, add_person
from tailrace.app.destinations import Access, NewBucket, add_amazon_s3, open_clients
from tailrace.app.recent import RecentEvents
from tailrace.clock import SystemClock
from tailrace.demo import seaweed
from tailrace.export import policy
from tailrace.export.verify import Verification
from tailrace.files import Files
from tailrace.folder import DataFolder
from tailrace.hours import Hour
from tailrace.ids import SystemIds
from tailrace.ops.status import StatusReader
from tailrace.settings import ExportSettings, Settings
from tailrace.state.delivery import Destination
from tailrace.web.attempts import Attempts
from tailrace.web.site import Site
from tailrace.web.static_files import StaticFiles
from tests.browser.conftest import EMAIL, PASSWORD, listening
from tests.export.conftest import World

PREFIX = "raw/"
# The six tries within 38 minutes after which an outage begins.
WAITS_MINUTES = (0, 1, 2, 5, 10, 20)


class Shop:
    """A site that listens, its project's world, and a bucket that lets nobody in yet."""

    def __init__(self, site: Site, url: str, world: World, server: seaweed.Seaweed) -> None:
        self.site = site
        self.url = url
        self.world = world
        self.server = server
        self.project = world.project
        self.bucket = f"acme-{site.ids.random_bytes(6).hex()}"
        server.create_bucket(self.bucket)

    @property
    def destination(self) -> Destination:
        """The one destination that there is."""
        (found,) = self.world.destinations.list()
        return found

    def seal_hour(self, hour: Hour, events: int = 3) -> bytes:
        """Seal an hour of events; return its file's bytes."""
        lines = [
            json.dumps({"event_type": "Song Played", "user_id": f"user-{one}"}) + "\n"
            for one in range(events)
        ]
        data = gzip.compress("".join(lines).encode(), mtime=0)
        file = self.world.put_file(1, data, hour)
        self.world.seal(file, hour=hour)
        return data

    def deliver(self) -> int:
        """Let the exporter put what is due; return how many runs it took."""
        exporter, taken = self.world.exporter(), 0
        while exporter.deliver_next():
            taken += 1
        return taken

    def connect(self) -> Destination:
        """Add the bucket as an active destination, as a command does."""
        self.allow()
        assert self.add().passed
        return self.destination

    def add(self) -> Verification:
        """Add the bucket as a command does; active only if all checks pass."""
        return add_amazon_s3(
            self.site.folder,
            self.world.destinations,
            self.site.settings,
            NewBucket(
                project=self.project,
                bucket=self.bucket,
                region=seaweed.REGION,
                prefix=PREFIX,
                endpoint_url=self.server.endpoint_url,
                access=Access(
                    access_key_id=self.server.exporter.access_key_id,
                    secret_access_key=self.server.exporter.secret_access_key,
                ),
            ),
        )

    def give_up(self) -> None:
        """Let the exporter try as often as it does before an outage begins."""
        exporter = self.world.exporter()
        for minutes in WAITS_MINUTES:
            self.world.wait(60 * minutes)
            assert exporter.deliver_next()
        exporter.look_after()

    def allow(self, *actions: str) -> None:
        """Give the bucket a policy of these actions, or the whole one."""
        at = policy.place(
            bucket=self.bucket,
            prefix=PREFIX,
            principal=self.server.exporter_arn,
            endpoint_url=self.server.endpoint_url,
        )
        wanted = set(actions) or {grant.action for grant in policy.GRANTS}
        made = policy.Policy("2012-10-17", policy.statements(at, wanted))
        self.server.put_document(self.bucket, policy.as_json(made))

    def objects(self) -> dict[str, bytes]:
        """Return what lies in the bucket."""
        owner = self.server.client(self.server.owner)
        listed = owner.list_objects_v2(Bucket=self.bucket).get("Contents", [])
        return {
            one["Key"]: owner.get_object(Bucket=self.bucket, Key=one["Key"])["Body"].read()
            for one in listed
        }


@contextmanager
def open_shop(folder: Path, empty_database: bytes, server: seaweed.Seaweed) -> Iterator[Shop]:
    """Serve the pages of a new installation with one admin."""
    data = DataFolder(folder / "data")
    data.create(Files())
    settings = Settings(export=ExportSettings(private_endpoints=True))
    world = World(data.path, empty_database, open_clients(data, settings), server)
    ids, machine = SystemIds(), SystemClock()
    site = Site(
        folder=data,
        engine=world.engine,
        settings=settings,
        clock=world.clock,
        machine_clock=machine,
        ids=ids,
        passwords=Passwords(ids, CHEAPEST),
        attempts=Attempts(machine),
        recent=RecentEvents(data.log),
        static=StaticFiles(),
        read_status=StatusReader(data, world.engine, world.clock).read,
        collect_url=lambda: "http://127.0.0.1:8585",
    )
    add_person(
        world.engine,
        world.organization,
        NewPerson(EMAIL, "admin", "Dana Berg", PASSWORD),
        passwords=site.passwords,
        clock=world.clock,
    )
    with listening(site) as url:
        yield Shop(site, url, world, server)
    site.recent.close()
    world.engine.dispose()


class Look(msgspec.Struct, frozen=True):
    """How a page is looked at: the name of its pictures, and the window."""

    name: str
    scheme: str
    size: tuple[int, int]
