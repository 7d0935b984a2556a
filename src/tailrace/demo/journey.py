"""The demo's steps: from an SDK's call to files in a bucket, told as they happen."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import msgspec

from tailrace.clock import MICROS, to_datetime
from tailrace.demo import landed, seaweed
from tailrace.demo.children import Children
from tailrace.demo.interrupts import Interrupts
from tailrace.demo.landed import Landed
from tailrace.demo.screen import Screen
from tailrace.demo.seaweed import Seaweed
from tailrace.demo.service import Project, Running, Service
from tailrace.demo.shop import Summary
from tailrace.demo.surroundings import check_loopback
from tailrace.errors import Corrupt, NeedsOperator
from tailrace.hours import Hour, hour_label
from tailrace.ids import SystemIds
from tailrace.seal.manifest import SealRecord
from tailrace.seal.proof import check_manifest

_CLOCK_START = "2026-01-02T13:59:22"
_EVENTS = 5000
_LAST_SECONDS = 3  # the shop stops so long before the hour's end, however slow the machine
_BUCKET = "acme-events"
_PREFIX = "raw/"
_POLL_SECONDS = 0.25
_LINE_MAX = 240  # characters shown of the second and third line
_SHOP_SECONDS = 60.0

_decode_summary = msgspec.json.Decoder(Summary).decode


def start_bucket(interrupts: Interrupts, screen: Screen, put_away: contextlib.ExitStack) -> Seaweed:
    """Start an S3 server whose bucket lets the exporter do what the policy says, and no more.

    `put_away` is given what stops it.
    """
    with screen.step("S3 server", "starting SeaweedFS") as show:
        with interrupts.deferred():
            server = seaweed.start(SystemIds())
            put_away.callback(server.stop)
        check_loopback(server.endpoint_url)
        server.create_bucket(_BUCKET)
        server.put_policy(_BUCKET, seaweed.export_policy(_PREFIX))
        show(f"SeaweedFS at {server.endpoint_url} with the bucket {_BUCKET}")
    return server


class Journey:
    """One run of the demo in one folder."""

    def __init__(self, folder: Path, children: Children, server: Seaweed, screen: Screen) -> None:
        self._folder = folder
        self._children = children
        self._server = server
        self._screen = screen
        self._service = Service(folder / "tailrace-data", children)

    def run(self) -> tuple[Project, Running]:
        """Go the whole way and print it; raise if anything is not as it should be."""
        project, running = self._start()
        hour = Hour.of_micros(self._service.clock().now_micros())
        self._add_destination(project)
        summary = self._send(project, running, hour)
        bucket = Landed(self._server, _BUCKET, _PREFIX, project.project_id, hour)
        self._cross(bucket, hour)
        self._show(bucket, summary)
        return project, running

    def stay(self, project: Project, running: Running) -> None:
        """Print the addresses and wait for a signal."""
        screen, owner = self._screen, self._server.owner
        screen.heading("Everything stays up until you press Ctrl-C:")
        screen.line(f"  send events to  {running.events_url}/2/httpapi")
        screen.line(f"  API key         {project.api_key}")
        screen.line(f"  health          {running.web_url}/healthz, /readyz, /metrics")
        screen.line(f"  bucket          {_BUCKET} at {self._server.endpoint_url}")
        screen.line(f"  its owner       {owner.access_key_id} / {owner.secret_access_key}")
        screen.line(f"  copies          {self._copies}")
        screen.line(f"  how it stands   {_program()} status --data {self._service.data}")
        while True:
            self._pause()

    @property
    def _copies(self) -> Path:
        return self._folder / "copies"

    def _pause(self) -> None:
        self._service.wait(_POLL_SECONDS)

    def _start(self) -> tuple[Project, Running]:
        with self._screen.step("tailrace", "making a data folder and starting the service") as show:
            project = self._service.init()
            running = self._service.serve(_CLOCK_START)
            now = to_datetime(self._service.clock().now_micros())
            show(f"takes events at {running.events_url}; its clock says {now:%Y-%m-%d %H:%M:%S}")
        return project, running

    def _add_destination(self, project: Project) -> None:
        with self._screen.step("destination", "checking access to the bucket") as show:
            secret_file = self._folder / "secret-access-key"
            secret_file.touch(mode=0o600)
            secret_file.write_text(self._server.exporter.secret_access_key)
            self._service.add_destination(
                project,
                bucket=_BUCKET,
                region=seaweed.REGION,
                prefix=_PREFIX,
                endpoint_url=self._server.endpoint_url,
                access_key_id=self._server.exporter.access_key_id,
                secret_file=secret_file,
            )
            show(f"s3://{_BUCKET}/{_PREFIX} is active: every probe passed")

    def _send(self, project: Project, running: Running, hour: Hour) -> Summary:
        with self._screen.step("events", "sending through the Amplitude SDK") as show:
            options = {
                "--url": f"{running.events_url}/2/httpapi",
                "--api-key": project.api_key,
                "--events": str(_EVENTS),
                "--offset-micros": str(self._service.clock().offset_micros),
                "--until": str(hour.end_micros // MICROS - _LAST_SECONDS),
            }
            words = [word for option in options.items() for word in option]
            shop = self._children.start([sys.executable, "-m", "tailrace.demo.shop", *words])
            for _ in range(round(_SHOP_SECONDS / _POLL_SECONDS)):
                code = shop.wait(_POLL_SECONDS)
                lines = shop.output().split("\n")[:-1]
                if code is not None:
                    break
                if lines and lines[-1].isdecimal():
                    show(f"{int(lines[-1]):,} of {_EVENTS:,} answered with 200")
            if code != 0:
                raise NeedsOperator(f"The shop's application failed. It said: {shop.last_words()}")
            summary = _decode_summary(lines[-1])
            if not summary.sent or summary.refused:
                raise NeedsOperator(
                    f"{summary.sent} events were sent in time and {summary.refused} refused: "
                    "this machine is too busy for the demo. Run it again later."
                )
            again = summary.sent - summary.distinct
            show(f"{summary.sent:,} answered with 200, {again:,} of them sent a second time")
        return summary

    def _cross(self, bucket: Landed, hour: Hour) -> None:
        label = hour_label(hour)
        with self._screen.step("the hour", f"waiting for the end of {label}") as show:
            after = bucket.wait_for_marker(
                self._service.clock(),
                self._pause,
                lambda seconds: show(f"{label} ends in {seconds} s"),
            )
            show(f"{label} is complete in the bucket, {after / MICROS:.1f} s after its end")

    def _show(self, bucket: Landed, summary: Summary) -> None:
        screen = self._screen
        screen.heading(f"What lies in the bucket {_BUCKET}")
        screen.table(["key", "bytes"], [(one.key, one.size_bytes) for one in bucket.listing()])
        manifest = bucket.manifest()
        screen.heading("The hour's manifest")
        screen.line(msgspec.json.format(manifest, indent=2).decode().rstrip())
        self._copies.mkdir()
        copies = bucket.download(self._copies)
        if not copies:
            raise Corrupt("The hour is marked as complete, but the bucket holds no file of it.")
        screen.heading("Three lines, the first one whole")
        for number, line in enumerate(landed.first_lines(copies, 3)):
            screen.line(line if number == 0 or len(line) <= _LINE_MAX else line[:_LINE_MAX] + "…")
        answer = landed.ask(copies)
        screen.heading("DuckDB over the downloaded files")
        screen.table(answer.head, answer.rows)
        self._prove(check_manifest(manifest).record, summary, *landed.count(copies))

    def _prove(self, record: SealRecord, summary: Summary, lines: int, distinct: int) -> None:
        duplicates = summary.sent - summary.distinct
        expected = (summary.sent, summary.distinct, duplicates)
        found = (record.accepted, record.exported, record.duplicates)
        equation = f"{summary.sent:,} sent = {lines:,} exported + {duplicates:,} duplicates"
        if found != expected or lines != summary.distinct or distinct != summary.distinct:
            raise Corrupt(
                f"This does not hold: {equation}. The manifest says {found[0]} accepted, "
                f"{found[1]} exported and {found[2]} duplicates; the files hold {lines} lines "
                f"with {distinct} insert IDs."
            )
        self._screen.heading("Exactly once")
        self._screen.line(f"  {equation}, by the SDK, the manifest and the files alike")


def _program() -> str:
    """Return the command `tailrace` as it can be called from here: it need not be on the path."""
    path = Path(sys.executable).with_name("tailrace")
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
