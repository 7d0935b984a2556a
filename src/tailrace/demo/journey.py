"""The demo's steps: from an SDK's call to files in a bucket, told as they happen."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from tailrace.clock import MICROS, to_datetime
from tailrace.demo import landed, seaweed
from tailrace.demo.children import Child, Children
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

_CLOCK_START = "2026-01-02T13:59:30"
# The shop's past: some days until the hour before the service starts, refused by one bucket at the
# end.
_TODAY = Hour.parse("2026-01-02T00")
_BROKEN_FROM = Hour.parse("2026-01-02T10")
_PAST_UNTIL = Hour.parse("2026-01-02T13")
_DAY_HOURS = 24
_EVENTS = 5000
_LAST_SECONDS = 3  # the shop stops so long before the hour's end, however slow the machine
_BUCKET = "acme-events"
_BROKEN_BUCKET = "acme-lake"
_DESTINATIONS = {"Warehouse": _BUCKET, "Data lake": _BROKEN_BUCKET}
_PREFIX = "raw/"
_MISSING = "s3:PutObject"
_EMAIL = "dana@acme.example"
_PASSWORD_BYTES = 8
_POLL_SECONDS = 0.25
_PACE_SECONDS = 2.0  # of the shop that goes on
_LINE_MAX = 240  # characters shown of the second and third line
_SHOP_SECONDS = 60.0
_PAST_SECONDS = 600.0  # four days take about a minute on two quiet cores

_decode_summary = msgspec.json.Decoder(Summary).decode


class Opened(msgspec.Struct, frozen=True):
    """What a visitor needs: the project, the addresses, and who can sign in."""

    project: Project
    running: Running
    email: str
    password: str


def start_buckets(
    interrupts: Interrupts, screen: Screen, put_away: contextlib.ExitStack
) -> Seaweed:
    """Start an S3 server whose buckets let the exporter do what the policy says, and no more.

    `put_away` is given what stops it.
    """
    with screen.step("S3 server", "starting SeaweedFS") as show:
        with interrupts.deferred():
            server = seaweed.start(SystemIds())
            put_away.callback(server.stop)
        check_loopback(server.endpoint_url)
        for bucket in (_BUCKET, _BROKEN_BUCKET):
            server.create_bucket(bucket)
            server.put_policy(bucket, seaweed.export_policy(_PREFIX))
        show(f"SeaweedFS at {server.endpoint_url} with the buckets {_BUCKET} and {_BROKEN_BUCKET}")
    return server


class Journey:
    """One run of the demo in one folder; before today, the shop was open for so many `days`."""

    def __init__(
        self, folder: Path, children: Children, server: Seaweed, screen: Screen, days: int
    ) -> None:
        self._folder = folder
        self._children = children
        self._server = server
        self._screen = screen
        self._opened = _TODAY.plus(-days * _DAY_HOURS)
        self._service = Service(folder / "tailrace-data", children)

    def run(self) -> Opened:
        """Go the whole way and print it; raise if anything is not as it should be."""
        password = SystemIds().random_bytes(_PASSWORD_BYTES).hex()
        project = self._make(password)
        self._add_destinations(project)
        self._make_past(project)
        running = self._start()
        hour = Hour.of_micros(self._service.clock().now_micros())
        summary = self._send(project, running, hour)
        bucket = Landed(self._server, _BUCKET, _PREFIX, project.project_id, hour)
        self._cross(bucket, hour)
        self._show(bucket, summary)
        return Opened(project, running, _EMAIL, password)

    def stay(self, opened: Opened) -> None:
        """Print the addresses, let the shop go on, and wait for a signal."""
        screen, owner = self._screen, self._server.owner
        running = opened.running
        self._start_shop(opened.project, running, "--pace", str(_PACE_SECONDS))
        screen.heading(f"Open {running.web_url} in a browser:")
        screen.line(f"  sign in         {opened.email} / {opened.password}")
        screen.line(f"  to see          {_BROKEN_BUCKET} lost {_MISSING}; Enter here puts it back")
        screen.line("Everything stays up until you press Ctrl-C:")
        screen.line(f"  send events to  {running.events_url}/2/httpapi")
        screen.line(f"  API key         {opened.project.api_key}")
        screen.line(f"  health          {running.web_url}/healthz, /readyz, /metrics")
        screen.line(f"  buckets         {_BUCKET}, {_BROKEN_BUCKET} at {self._server.endpoint_url}")
        screen.line(f"  their owner     {owner.access_key_id} / {owner.secret_access_key}")
        screen.line(f"  copies          {self._copies}")
        screen.line(f"  how it stands   {_program()} status --data {self._service.data}")
        while True:
            self._pause()
            if self._screen.was_enter_pressed():
                self._server.put_policy(_BROKEN_BUCKET, seaweed.export_policy(_PREFIX))
                screen.line(
                    f"The policy of {_BROKEN_BUCKET} grants {_MISSING} again. Check again on the "
                    f'page, or run "{_program()} verify 2 --data {self._service.data}".'
                )

    @property
    def _copies(self) -> Path:
        return self._folder / "copies"

    def _pause(self) -> None:
        self._service.wait(_POLL_SECONDS)

    def _make(self, password: str) -> Project:
        with self._screen.step("tailrace", "making a data folder") as show:
            project = self._service.init(_EMAIL)
            self._service.set_password(_EMAIL, password)
            show(f"a data folder with project {project.project_id} and its first admin")
        return project

    def _add_destinations(self, project: Project) -> None:
        with self._screen.step("destinations", "checking access to the buckets") as show:
            secret_file = self._folder / "secret-access-key"
            secret_file.touch(mode=0o600)
            secret_file.write_text(self._server.exporter.secret_access_key)
            for name, bucket in _DESTINATIONS.items():
                self._service.add_destination(
                    project,
                    name=name,
                    bucket=bucket,
                    region=seaweed.REGION,
                    prefix=_PREFIX,
                    endpoint_url=self._server.endpoint_url,
                    access_key_id=self._server.exporter.access_key_id,
                    secret_file=secret_file,
                )
            show(f"{_BUCKET} and {_BROKEN_BUCKET} are active: every probe passed")

    def _make_past(self, project: Project) -> None:
        """Let the shop have a past, at whose end one bucket's owner takes a permission away."""
        hours = _PAST_UNTIL.number - self._opened.number
        with self._screen.step("past", f"{hours} hours of the shop, on a stepped clock") as show:
            self._live(
                project, self._opened, _BROKEN_FROM, lambda over: show(f"{over} of {hours} hours")
            )
            granted = seaweed.export_policy(_PREFIX)
            granted.pop(_MISSING)
            self._server.put_policy(_BROKEN_BUCKET, granted)
            self._live(project, _BROKEN_FROM, _PAST_UNTIL, lambda over: None)
            show(f"{hours} hours are out; {_BROKEN_BUCKET} has lost {_MISSING} since")

    def _live(
        self, project: Project, first: Hour, until: Hour, tell: Callable[[int], None]
    ) -> None:
        past = self._service.past(project, first, until, opened=self._opened, start=_CLOCK_START)
        for _ in range(round(_PAST_SECONDS / _POLL_SECONDS)):
            code = past.wait(_POLL_SECONDS)
            over = past.output().split("\n")[:-1]
            if code is not None:
                break
            if over:
                tell(int(over[-1]))
        if code != 0:
            raise NeedsOperator(f"The shop's past failed. It said: {past.last_words()}")

    def _start(self) -> Running:
        with self._screen.step("service", "starting it") as show:
            running = self._service.serve(_CLOCK_START)
            now = to_datetime(self._service.clock().now_micros())
            show(f"takes events at {running.events_url}; its clock says {now:%Y-%m-%d %H:%M:%S}")
        return running

    def _start_shop(self, project: Project, running: Running, *more: str) -> Child:
        options = {
            "--url": f"{running.events_url}/2/httpapi",
            "--api-key": project.api_key,
            "--offset-micros": str(self._service.clock().offset_micros),
        }
        words = [word for option in options.items() for word in option]
        return self._children.start([sys.executable, "-m", "tailrace.demo.shop", *words, *more])

    def _send(self, project: Project, running: Running, hour: Hour) -> Summary:
        with self._screen.step("events", "sending through the Amplitude SDK") as show:
            until = hour.end_micros // MICROS - _LAST_SECONDS
            shop = self._start_shop(
                project, running, "--events", str(_EVENTS), "--until", str(until)
            )
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
        screen.heading(f"What lies in the bucket {_BUCKET} of this hour")
        screen.table(["key", "bytes"], [(one.key, one.size_bytes) for one in bucket.of_hour()])
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
