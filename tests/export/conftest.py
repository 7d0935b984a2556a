"""A real S3 server, one bucket a test, and a clean environment around it."""

from __future__ import annotations

import hashlib
import http.client
import os
import threading
import zlib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec
import pytest

from tailrace.accounts.projects import add_organization, add_project
from tailrace.archive.folder import FolderArchive
from tailrace.clock import MICROS, SteppedClock, SystemClock
from tailrace.demo import seaweed
from tailrace.export.client import Clients, ClientSettings
from tailrace.export.deliver import Layout
from tailrace.export.exporter import Exporter, Ports
from tailrace.export.verify import ClientSource
from tailrace.files import Files
from tailrace.hours import Hour
from tailrace.ids import SystemIds
from tailrace.seal import manifest, names
from tailrace.state.database import open_database
from tailrace.state.delivery import Capabilities, Destination
from tailrace.state.destinations import Destinations, NewDestination
from tailrace.state.ledger import Ledger
from tailrace.state.reports import Run
from tailrace.state.sealed import SealedFile, SealedHour
from tests.destinations import AT_AMAZON

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

PREFIX = "exports/"
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("AWS_") or name.upper() in PROXIES:
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)


@pytest.fixture
def bucket(server: seaweed.Seaweed) -> str:
    """A new bucket whose policy grants the exporter what an export needs."""
    name = f"acme-{os.urandom(6).hex()}"
    server.create_bucket(name)
    server.put_policy(name, seaweed.export_policy(PREFIX))
    return name


@pytest.fixture(scope="session")
def owner(server: seaweed.Seaweed) -> S3Client:
    return server.client(server.owner)


@pytest.fixture(scope="session")
def clients(server: seaweed.Seaweed) -> Clients:
    return Clients(
        ClientSettings(private_endpoints=True), lambda secret: secret.decode(), SystemClock()
    )


@pytest.fixture
def make_destination(server: seaweed.Seaweed) -> Callable[..., Destination]:
    """Make a destination; the exporter's key, all capabilities."""

    def make(bucket: str, **changes: Any) -> Destination:
        base = msgspec.structs.replace(
            AT_AMAZON,
            bucket=bucket,
            region=seaweed.REGION,
            prefix=PREFIX,
            endpoint_url=server.endpoint_url,
            access_key_id=server.exporter.access_key_id,
            secret_encrypted=server.exporter.secret_access_key.encode(),
            capabilities=Capabilities(
                conditional_put=True, conditional_complete=True, checksums=True
            ),
        )
        return msgspec.structs.replace(base, **changes)

    return make


@pytest.fixture
def destination(make_destination: Callable[..., Destination], bucket: str) -> Destination:
    return make_destination(bucket)


@pytest.fixture
def acme() -> Destination:
    """A destination at Amazon S3, with the operator's credentials."""
    return AT_AMAZON


@pytest.fixture
def keys(owner: S3Client, bucket: str) -> Callable[[], list[str]]:
    """List the bucket's keys, as its owner sees them."""

    def list_keys() -> list[str]:
        return [one["Key"] for one in owner.list_objects_v2(Bucket=bucket).get("Contents", [])]

    return list_keys


class World:
    """A project with a destination, its ledger and archive, and an exporter on stepped clocks."""

    hour = Hour.parse("2026-11-23T09")

    def __init__(
        self, folder: Path, empty_database: bytes, clients: Clients, server: seaweed.Seaweed
    ) -> None:
        (folder / "tailrace.sqlite").write_bytes(empty_database)
        self.engine = open_database(folder / "tailrace.sqlite")
        self.clock = SteppedClock(Hour.parse("2026-11-23T10").start_micros)
        self.ledger = Ledger(self.engine, self.clock)
        self.destinations = Destinations(self.engine, self.clock)
        self.archive = FolderArchive(folder / "packs", folder / "archive", Files())
        self.clients: ClientSource = clients
        self._server = server
        self.organization = add_organization(self.engine, "Acme", clock=self.clock)
        self.project = add_project(
            self.engine, self.organization, "Shop", ids=SystemIds(), clock=self.clock
        ).project_id

    def add_destination(self, bucket: str, **changes: Any) -> Destination:
        """Add and activate a destination with the exporter's key, capabilities as given."""
        given = Capabilities(conditional_put=True, conditional_complete=True, checksums=True)
        capabilities = changes.pop("capabilities", given)
        new = NewDestination(
            project=changes.pop("project", self.project),
            bucket=bucket,
            region=seaweed.REGION,
            prefix=changes.pop("prefix", PREFIX),
            endpoint_url=changes.pop("endpoint_url", self._server.endpoint_url),
            access_key_id=self._server.exporter.access_key_id,
            secret_encrypted=self._server.exporter.secret_access_key.encode(),
            **changes,
        )
        return self.destinations.activate(self.destinations.add(new).id, capabilities)

    def put_file(self, number: int, data: bytes, hour: Hour | None = None) -> SealedFile:
        """Put a file into the archive and the ledger, as sealing does."""
        hour = hour or self.hour
        name = names.file_name(self.project, hour, number)
        self.archive.put_file(self.project, hour, name, [data])
        file = SealedFile(
            scope=self.project,
            hour=hour,
            number=number,
            name=name,
            size_bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            crc32=zlib.crc32(data),
            lines=1,
            raw_bytes=len(data),
        )
        self.ledger.add_files([file], self.organization)
        return file

    def seal(self, *files: SealedFile, hour: Hour | None = None) -> SealedHour:
        """Seal an hour with the files that were put."""
        hour = hour or self.hour
        record = manifest.record_bytes(
            manifest.SealRecord(
                format=manifest.RECORD_FORMAT,
                scope=self.project,
                organization=self.organization,
                hour=str(hour),
                files=tuple(
                    manifest.RecordFile(
                        name=file.name,
                        lines=file.lines,
                        bytes=file.size_bytes,
                        raw_bytes=file.raw_bytes,
                        sha256=file.sha256,
                        crc32=f"{file.crc32:08x}",
                    )
                    for file in files
                ),
                accepted=len(files),
                exported=len(files),
                duplicates=0,
                identifies=0,
                filtered=0,
                held=0,
                first_server_upload_time=None,
                last_server_upload_time=None,
                event_dates={},
                settings=msgspec.Raw(b"{}"),
                schema=manifest.EVENTS_SCHEMA,
                previous=None,
            )
        )
        digest = manifest.digest(record)
        sealed = SealedHour(self.project, self.organization, hour, record, digest, tuple(files))
        self.ledger.add_hours([sealed])
        return sealed

    def exporter(
        self, ledger: Ledger | None = None, *, workers: int = 2, per_destination: int = 2
    ) -> Exporter:
        """Return an exporter, as after a start."""
        layout = Layout(
            names.file_key, names.manifest_key, names.marker_key, manifest.manifest_body
        )
        ports = Ports(
            ledger=ledger or self.ledger,
            destinations=self.destinations,
            clients=self.clients,
            layout=layout,
            open_file=self.archive.open_file,
            clock=self.clock,
            machine=self.clock,
            ids=SystemIds(),
        )
        return Exporter(ports, workers=workers, per_destination=per_destination)

    def run(self, hour: Hour | None = None) -> Run:
        """Return the one run of an hour."""
        (found,) = [one for one in self.ledger.runs() if one.hour == (hour or self.hour)]
        return found

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.advance(round(seconds * MICROS))


@pytest.fixture
def world(
    tmp_path: Path, empty_database: bytes, clients: Clients, server: seaweed.Seaweed
) -> Iterator[World]:
    made = World(tmp_path, empty_database, clients, server)
    yield made
    made.engine.dispose()


class Fault:
    """What happens to the next request of a method whose target holds a text."""

    def __init__(
        self,
        method: str,
        holds: str,
        *,
        before: Callable[[], None] | None = None,
        answer: tuple[int, bytes] | None = None,
        lose_answer: bool = False,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self.method = method
        self.holds = holds
        self.before = before
        self.answer = answer
        self.lose_answer = lose_answer
        self.headers = list(headers)


class Proxy:
    """A network in front of the S3 server that can lose answers and give others."""

    def __init__(self, server_url: str) -> None:
        self.requests: list[str] = []
        self.headers: list[dict[str, str]] = []
        self._faults: list[Fault] = []
        target = urlsplit(server_url).netloc
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                self.raw_requestline = self.rfile.readline(65537)
                if not self.raw_requestline or not self.parse_request():
                    self.close_connection = True
                    return
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                line = f"{self.command} {self.path}"
                proxy.requests.append(line)
                proxy.headers.append({name.lower(): text for name, text in self.headers.items()})
                fault = proxy.take(self.command, self.path)
                if fault is not None and fault.before is not None:
                    fault.before()
                if fault is not None and fault.answer is not None:
                    self.give(fault.answer[0], fault.headers, fault.answer[1])
                    return
                connection = http.client.HTTPConnection(target, timeout=30)
                headers = {
                    name: text for name, text in self.headers.items() if name.lower() != "expect"
                }
                connection.request(self.command, self.path, body, headers)
                answer = connection.getresponse()
                content = answer.read()
                connection.close()
                if fault is not None and fault.lose_answer:
                    self.close_connection = True
                    return
                self.give(answer.status, answer.getheaders(), content)

            def give(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
                self.send_response_only(status)
                length = str(len(body))
                for name, text in headers:
                    if name.lower() == "content-length" and self.command == "HEAD":
                        length = text
                    elif name.lower() not in {"content-length", "transfer-encoding", "connection"}:
                        self.send_header(name, text)
                self.send_header("Content-Length", length)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(
            target=lambda: self._server.serve_forever(poll_interval=0.01), daemon=True
        )
        self._thread.start()

    def add(self, method: str, holds: str, **what: Any) -> None:
        """Meet the next such request with a fault; several for the same wait their turn."""
        self._faults.append(Fault(method, holds, **what))

    def take(self, method: str, path: str) -> Fault | None:
        """Return the fault for a request and use it up."""
        for fault in self._faults:
            if fault.method == method and fault.holds in path:
                self._faults.remove(fault)
                return fault
        return None

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def proxy(server: seaweed.Seaweed) -> Iterator[Proxy]:
    made = Proxy(server.endpoint_url)
    yield made
    made.close()
