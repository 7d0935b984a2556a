"""`backfill` and `runs` on a folder whose service does not run."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tailrace.clock import MICROS
from tailrace.demo.seaweed import Seaweed
from tailrace.folder import DataFolder
from tailrace.hours import Hour
from tailrace.seal import manifest
from tailrace.seal.names import file_name
from tailrace.state.database import open_database
from tailrace.state.delivery import Capabilities, Cause
from tailrace.state.destinations import Destinations, NewDestination
from tailrace.state.ledger import Ledger
from tailrace.state.sealed import SealedFile, SealedHour

FINE, FAILED, WRONG_USE = 0, 1, 2
OLD = Hour.parse("2026-01-02T00")
NOWHERE = "http://127.0.0.1:9"

Run = Callable[..., Any]


class Book:
    """The ledger of an initialised folder, filled as sealing and exporting fill it."""

    def __init__(self, data: Path, made: dict[str, Any]) -> None:
        folder = DataFolder(data)
        self.engine = open_database(folder.database)
        self.clock = folder.clock()
        self.ledger = Ledger(self.engine, self.clock)
        self.destinations = Destinations(self.engine, self.clock)
        self.project, self.organization = made["project_id"], made["org_id"]

    def add_destination(
        self, endpoint_url: str = NOWHERE, bucket: str = "acme", **more: Any
    ) -> int:
        """Add an active destination, without an address at one where nothing answers."""
        added = self.destinations.add(
            NewDestination(project=self.project, bucket=bucket, endpoint_url=endpoint_url, **more)
        )
        can = Capabilities(conditional_put=True, conditional_complete=True, checksums=True)
        self.destinations.activate(added.id, can)
        return added.id

    def seal(self, *hours: Hour) -> None:
        """Seal hours with a file of two lines each."""
        self.ledger.add_hours([self._hour(hour, self.project) for hour in hours])

    def seal_merged_ids(self, *hours: Hour) -> None:
        """Seal hours of the organization's merged IDs."""
        self.ledger.add_hours([self._hour(hour, -self.organization) for hour in hours])

    def deliver(self) -> None:
        """Deliver one run of a manual export, as a worker would."""
        held = self.ledger.claim_manual(
            now_micros=0, lease_micros=MICROS, destination_limit=9, manual_limit=9
        )
        assert held is not None
        self.ledger.file_delivered(held, 1, "a key#1", "put", self.clock.now_micros())
        self.ledger.succeeded(held, self.clock.now_micros())

    def refuse(self, cause: Cause) -> None:
        """Fail one run of a manual export."""
        held = self.ledger.claim_manual(
            now_micros=0, lease_micros=MICROS, destination_limit=9, manual_limit=9
        )
        assert held is not None
        self.ledger.failed(held, cause)

    def _hour(self, hour: Hour, scope: int) -> SealedHour:
        name = file_name(scope, hour, 1)
        file = SealedFile(scope, hour, 1, name, 100, "ab" * 32, 7, 2, 300)
        record = manifest.record_bytes(
            manifest.SealRecord(
                format=manifest.RECORD_FORMAT,
                scope=scope,
                organization=self.organization,
                hour=str(hour),
                files=(manifest.RecordFile(name, 2, 100, 300, "ab" * 32, "00000007"),),
                accepted=9,
                exported=2,
                duplicates=1,
                identifies=3,
                filtered=2,
                held=1,
                first_server_upload_time=None,
                last_server_upload_time=None,
                event_dates={},
                settings=msgspec.Raw(b"null"),
                schema=manifest.EVENTS_SCHEMA,
                previous=None,
            )
        )
        digest = hashlib.sha256(record).hexdigest()
        return SealedHour(scope, self.organization, hour, record, digest, (file,))


@pytest.fixture
def book(run: Run, data: Path) -> Iterator[Book]:
    made = Book(data, run("init", "--json").json())
    yield made
    made.engine.dispose()


def test_a_manual_export_is_started_watched_paused_and_cancelled(run: Run, book: Book) -> None:
    destination = str(book.add_destination())
    book.seal(*(OLD.plus(number) for number in (0, 1, 23, 24)))

    started = run("backfill", destination, "--from", "2026-01-02", "--to", "2026-01-02")
    assert (started.code, started.err) == (FINE, "")
    assert started.out.splitlines()[0] == "Manual export 1 is running: 3 hours are exported."
    book.deliver()

    (shown,) = run("backfill", "list", "--json").json()
    assert {name: shown[name] for name in ("manual_export", "status", "from", "to", "hours")} == {
        "manual_export": 1,
        "status": "running",
        "from": "2026-01-02T00",
        "to": "2026-01-02T23",
        "hours": 3,
    }
    assert (shown["runs"], shown["overwrite"]) == ({"pending": 2, "success": 1}, False)
    assert (shown["data_types"], shown["created_by"]) == (["events"], "command line")
    text = run("backfill", "list").out
    assert text.startswith(
        "status   data start date (UTC)  data end date (UTC)  completed at (UTC)"
    )
    assert "1 of 3, 2 pending" in text
    assert text.endswith("Showing 1 row\n")
    assert run("runs", "--manual").out == text

    assert (
        run("backfill", "pause", "1").out == "Manual export 1 is paused: 1 of 3 hours, 2 pending.\n"
    )
    assert run("backfill", "resume", "1", "--json").json()["status"] == "running"
    assert run("backfill", "cancel", "1", "--json").json()["runs"] == {"cancelled": 2, "success": 1}
    again = run("backfill", "cancel", "1")
    assert again.code == WRONG_USE
    assert "it is cancelled" in again.err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("7", "--from", "2026-01-02", "--to", "2026-01-02"), "There is no destination 7"),
        (("300001", "--from", "2026-01-02", "--to", "2026-01-02"), "the number of a project"),
        (("1", "--from", "2026-01-02", "--to", "soon"), "The end date 'soon' is no date"),
        (("--from", "2026-01-03", "--to", "2026-01-02", "1"), "The end date 2026-01-02 is before"),
        (
            ("1", "--from", "2026-01-02", "--to", "2999-01-01"),
            "The end date 2999-01-01 is in the future",
        ),
        (("1", "--from", "2026-01-02", "--to", "2026-01-02", "--include", "x"), "--include 'x'"),
        (("1", "--from", "2026-01-02"), "Missing option '--to'"),
        (("start", "one", "--from", "2026-01-02", "--to", "2026-01-02"), "DESTINATION"),
        (("pause", "4"), "There is no manual export 4"),
    ],
)
def test_what_can_not_be_asked_for_is_refused_by_its_field(
    run: Run, book: Book, words: tuple[str, ...], sentence: str
) -> None:
    book.add_destination()
    done = run("backfill", *words, COLUMNS="200")
    assert done.code == WRONG_USE
    assert sentence in done.err
    assert run("backfill", "list", "--json").json() == []


def test_a_range_without_data_says_where_data_are_and_gives_a_text_to_copy(
    run: Run, book: Book
) -> None:
    destination = str(book.add_destination())
    book.seal(OLD, OLD.plus(24), OLD.plus(72))
    asked = ("backfill", destination, "--from", "2025-06-01", "--to", "2025-06-02")

    done = run(*asked)

    assert done.code == FINE
    assert "Manual export 1 is success: 0 hours" in done.out
    assert "There are no data in this range." in done.out
    assert "2026-01-02 to 2026-01-03 have 4 events." in done.out
    assert "2026-01-05 to 2026-01-05 have 2 events." in done.out
    text = done.out.partition("--- copy from here ---")[2]
    assert "asked for: events of 2025-06-01T00 to 2025-06-02T23 (UTC)" in text
    assert "hours of events: 48 asked for, 0 of them sealed" in text
    assert "newest sealed hour of the installation: 2026-01-05T00" in text
    (shown,) = run("backfill", "list", "--json").json()
    assert (shown["status"], shown["hours"]) == ("success", 0)
    shown = run(*asked, "--include", "merged-ids,events", "--json").json()["no_data"]
    assert shown["dates"]["merged-ids"] == []
    assert "dates with merged-ids: none" in shown["support_text"]


def test_an_hour_of_both_data_types_is_two_runs_and_of_one_an_hour(run: Run, book: Book) -> None:
    destination = str(book.add_destination(include_merged_ids=True))
    book.seal(OLD)
    book.seal_merged_ids(OLD)
    day = ("--from", "2026-01-02", "--to", "2026-01-02")

    started = run("backfill", destination, *day)

    assert started.out.splitlines()[0] == "Manual export 1 is running: 2 runs are exported."
    book.deliver()
    done = run("backfill", "pause", "1").out
    assert done == "Manual export 1 is paused: 1 of 2 runs, 1 pending.\n"
    heading, row = run("backfill", "list").out.splitlines()[:2]
    assert "runs a minute" in heading
    assert "hours" not in heading
    assert "1 of 2, 1 pending" in row
    run("backfill", destination, *day, "--include", "events")
    shown = run("backfill", "pause", "2").out
    assert shown == "Manual export 2 is paused: 0 of 1 hour, 1 pending.\n"


def test_hours_that_are_not_sealed_yet_are_named(run: Run, book: Book) -> None:
    destination = str(book.add_destination())
    book.seal(OLD)
    done = run("backfill", destination, "--from", "2026-01-02", "--to", "2026-01-02")
    assert "1 hour is exported" in done.out
    assert "Hours from 2026-01-02T01 on are not sealed yet and are left out." in done.out


def test_a_plan_of_a_bucket_that_can_not_be_read_says_why_and_starts_nothing(
    run: Run, book: Book
) -> None:
    destination = str(book.add_destination())
    book.seal(OLD)
    done = run(
        *("backfill", destination, "--from", "2026-01-02", "--to", "2026-01-02", "--plan"),
        AWS_ACCESS_KEY_ID="an-id",
        AWS_SECRET_ACCESS_KEY="a-secret",
    )
    assert done.code == FAILED
    assert "Cannot reach s3://acme/" in done.err
    assert "a-secret" not in done.err
    assert run("backfill", "list", "--json").json() == []


def test_a_plan_says_what_is_there_and_what_would_be_written(
    run: Run, book: Book, server: Seaweed
) -> None:
    bucket = f"acme-{os.urandom(6).hex()}"
    server.create_bucket(bucket)
    destination = book.add_destination(server.endpoint_url, bucket)
    book.seal(OLD, OLD.plus(24))
    keys = {
        "AWS_ACCESS_KEY_ID": server.owner.access_key_id,
        "AWS_SECRET_ACCESS_KEY": server.owner.secret_access_key,
    }
    other = f"{book.project}/{book.project}_2026-01-03_0#1.json.gz"
    owner = server.client(server.owner)
    owner.put_object(Bucket=bucket, Key=other, Body=b"of another")
    words = ("backfill", str(destination), "--from", "2026-01-03", "--to", "2026-01-03")

    done = run(*words, "--plan", **keys)
    plan = run(*words, "--plan", "--include", "events,merged-ids", "--json", **keys).json()
    after = [one["Key"] for one in owner.list_objects_v2(Bucket=bucket)["Contents"]]

    assert (done.code, done.err) == (FINE, "")
    lines = done.out.splitlines()
    assert lines[:3] == [
        "2026-01-03T00 to 2026-01-03T23: 1 hour with 2 events, 100 bytes",
        "The first events are of 2026-01-02.",
        "already there  0 objects, 0 bytes",
    ]
    assert lines[3].startswith("to write       2 objects, ")
    assert lines[4] == "conflicts      1 object, 100 bytes, left as it is without --overwrite"
    assert lines[5:] == [
        f"  {other}",
        "Hours from 2026-01-03T01 on are not sealed yet and are left out.",
    ]
    assert plan["first_dates"] == {"events": "2026-01-02", "merged-ids": None}
    assert (plan["hours"], plan["lines"]) == (
        {"events": 1, "merged-ids": 0},
        {"events": 2, "merged-ids": 0},
    )
    assert (plan["conflict_keys"], plan["no_data"]) == ([other], None)
    assert after == [other], "a plan writes nothing"
    assert run("backfill", "list", "--json").json() == []


def test_runs_are_listed_and_filtered(run: Run, book: Book) -> None:
    destination = str(book.add_destination())
    today = Hour.of_micros(book.clock.now_micros()).day_start()
    book.seal(OLD, OLD.plus(24), today)
    assert run("backfill", destination, "--from", "2026-01-02", "--to", "2026-01-03").code == FINE
    book.deliver()

    (automatic,) = run("runs", "--json").json()
    assert (automatic["hour"], automatic["manual_export"]) == (str(today), None)
    by_hand = run("runs", "--backfill", "1", "--json").json()
    assert [(one["hour"], one["status"]) for one in by_hand] == [
        ("2026-01-03T00", "success"),
        ("2026-01-02T00", "pending"),
    ]
    text = run("runs", "--backfill", "1", "--status", "success").out
    assert text.splitlines()[0].startswith("status   date exported (UTC)")
    assert "2026-01-03 00:00 to 01:00" in text
    assert text.splitlines()[2:] == ["Showing 1 row"]
    assert by_hand[0]["completed_at"] in text
    early = ("runs", "--backfill", "1", "--to", "2026-01-02", "--json")
    assert [one["hour"] for one in run(*early).json()] == ["2026-01-02T00"]
    assert (
        run("runs", "--from", "2026-01-02", "--to", "2026-01-02").out == "There are no such runs.\n"
    )


def test_runs_are_sorted_by_completion_and_more_of_them_are_told_of(run: Run, book: Book) -> None:
    destination = str(book.add_destination())
    book.seal(OLD, OLD.plus(1), OLD.plus(2))
    for first, last in (("00", "01"), ("02", "02")):
        asked = ("--from", f"2026-01-02T{first}", "--to", f"2026-01-02T{last}")
        assert run("backfill", destination, *asked).code == FINE
    for _ in range(2):
        book.deliver()

    def hours(*words: str) -> list[str]:
        asked = ("runs", "--backfill", "1", *words, "--json")
        return [one["hour"] for one in run(*asked).json()]

    assert hours("--sort", "completed") == ["2026-01-02T00", "2026-01-02T01"]
    assert hours("--sort", "hour") == hours() == ["2026-01-02T01", "2026-01-02T00"]
    assert hours("--limit", "1") == ["2026-01-02T01"]
    assert hours("--include", "merged-ids") == []
    assert hours("--include", "events") == hours()
    text = run("runs", "--backfill", "1", "--limit", "1").out
    assert text.endswith(
        "Showing 1 row; there are more: narrow it with --from and --to, or raise --limit\n"
    )
    assert run("runs", "--backfill", "1", "--limit", "2").out.endswith("Showing 2 rows\n")


def test_manual_exports_are_filtered_by_status_and_by_what_they_asked_for(
    run: Run, book: Book
) -> None:
    destination = str(book.add_destination())
    book.seal(OLD, OLD.plus(24))
    for date in ("2026-01-02", "2026-01-03", "2025-06-01"):
        assert run("backfill", destination, "--from", date, "--to", date).code == FINE
    run("backfill", "pause", "2")

    def numbers(*words: str) -> list[int]:
        return [one["manual_export"] for one in run(*words, "--json").json()]

    assert numbers("backfill", "list") == [3, 2, 1]
    assert numbers("backfill", "list", "--status", "running") == [1]
    assert numbers("runs", "--manual", "--status", "paused", "--status", "success") == [3, 2]
    assert numbers("backfill", "list", "--from", "2026-01-02T23") == [2, 1]
    assert numbers("backfill", "list", "--from", "2025-06-01T23", "--to", "2026-01-02T00") == [3, 1]
    assert numbers("backfill", "list", "--to", "2025-05-31") == []
    none = run("backfill", "list", "--status", "conflict").out
    assert none == "There are no such manual exports. `tailrace backfill` starts one.\n"


def test_an_outage_is_told_where_an_export_waits_for_it(run: Run, book: Book) -> None:
    destination = book.add_destination()
    cause = Cause("access", "AccessDenied", "It was refused.", "Allow it.", "s3:PutObject")
    book.ledger.begin_outage(destination, cause, next_probe_micros=MICROS)
    book.seal(OLD)

    started = run("backfill", str(destination), "--from", "2026-01-02", "--to", "2026-01-02")

    waits = f"Nothing goes to destination {destination} until access is back: It was refused."
    assert f"{waits} Allow it." in started.out
    assert waits in run("backfill", "list").out
    assert run("backfill", "list", "--json").json()[0]["outage"]["code"] == "AccessDenied"
    book.ledger.end_outage(destination)
    assert waits not in run("backfill", "list").out


def test_runs_in_trouble_say_why_each_reason_once(run: Run, book: Book) -> None:
    destination = str(book.add_destination())
    book.seal(*(OLD.plus(number) for number in range(8)))
    run("backfill", destination, "--from", "2026-01-02", "--to", "2026-01-02")
    for number in (1, 1, 2, 3, 4, 5, 6):
        book.refuse(Cause("conflict", "Other", f"Object {number} is other.", "Move it."))

    text = run("runs", "--backfill", "1").out

    said = [line for line in text.splitlines() if "is other" in line]
    assert len(said) == 5
    first = "failed events of 2026-01-02T07 to destination 1: Object 1 is other. Move it."
    assert said[0] == first
    assert "Object 5 is other" in said[-1]
    assert "Others have other causes: `tailrace runs HOUR`" in text
    assert "is other" not in run("runs", "--backfill", "1", "--status", "pending").out


def test_an_hour_is_shown_with_files_tries_causes_and_its_equation(run: Run, book: Book) -> None:
    destination = str(book.add_destination())
    book.seal(OLD)
    run("backfill", destination, "--from", "2026-01-02", "--to", "2026-01-02")
    cause = Cause("access", "AccessDenied", "It was refused.", "Allow it.", "s3:PutObject")
    book.refuse(cause)
    assert run("backfill", "list", "--json").json()[0]["status"] == "failed"
    run("backfill", "resume", "1")
    book.deliver()

    (shown,) = run("runs", "2026-01-02T00", "--json").json()

    assert shown["equation"] == {
        "accepted": 9,
        "exported": 2,
        "duplicates": 1,
        "identifies": 3,
        "filtered": 2,
        "held": 1,
    }
    assert [(one["outcome"], one["cause"] and one["cause"]["code"]) for one in shown["tries"]] == [
        ("failed", "AccessDenied"),
        ("success", None),
    ]
    assert all(one["began_at"] <= one["ended_at"] for one in shown["tries"])
    (file,) = shown["files"]
    assert (file["key"], file["how"], file["lines"]) == ("a key#1", "put", 2)
    text = run("runs", "2026-01-02T00").out
    assert "9 accepted = 2 exported + 1 duplicates + 3 identifies + 2 filtered + 1 held" in text
    assert "It was refused. Allow it." in text
    assert "manual export 1" in text
    assert shown["delay_seconds"] is None, "it was late because somebody asked late"
    over = run("runs", "2026-01-01T05").out
    assert over.startswith("There is no run of 2026-01-01T05: no destination owes it.")
    still_open = run("runs", "2026-01-02T05").out
    assert still_open == "There is no run of 2026-01-02T05: it is not sealed yet.\n"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--status", "done"), "The status 'done': choose from pending"),
        (("--destination", "8"), "There is no destination 8"),
        (("--backfill", "8"), "There is no manual export 8"),
        (("2026-01-02",), "is no hour"),
        (("2026-01-02T00", "--status", "failed"), "An HOUR goes with --destination only"),
        (("--manual", "--backfill", "1"), "--manual goes with --destination, --status, --from"),
        (("--manual", "--sort", "completed"), "--manual goes with --destination, --status, --from"),
        (("--manual", "--status", "pending"), "The status 'pending': choose from running, paused"),
        (("--manual", "--destination", "8"), "There is no destination 8"),
        (("--include", "all"), "The data type 'all': choose from events, merged-ids"),
        (("--sort", "files"), "The sort 'files': choose from hour, completed"),
        (("--from", "tomorrow"), "The start date 'tomorrow' is no date"),
    ],
)
def test_runs_that_can_not_be_asked_for_are_refused(
    run: Run, book: Book, words: tuple[str, ...], sentence: str
) -> None:
    done = run("runs", *words, COLUMNS="200")
    assert done.code == WRONG_USE
    assert sentence in done.err
