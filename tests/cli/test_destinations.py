"""`destination show`, `edit` and `list`, `pause` and `resume`, where no service runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tailrace.clock import MICROS
from tailrace.folder import DataFolder
from tailrace.hours import Hour
from tailrace.state.database import open_database
from tailrace.state.delivery import Capabilities
from tailrace.state.destinations import Destinations, NewDestination
from tailrace.state.ledger import Ledger
from tailrace.state.sealed import SealedFile, SealedHour

FINE, FAILED, WRONG_USE = 0, 1, 2
NOWHERE = "http://127.0.0.1:9"

Run = Callable[..., Any]


class Book:
    """The ledger of an initialised folder, filled as sealing and exporting fill it."""

    def __init__(self, data: Path, made: dict[str, Any]) -> None:
        folder = DataFolder(data)
        self.engine = open_database(folder.database)
        clock = folder.clock()
        self.ledger = Ledger(self.engine, clock)
        self.destinations = Destinations(self.engine, clock)
        self.project, self.organization = made["project_id"], made["org_id"]
        self.today = Hour.of_micros(clock.now_micros()).day_start()

    def add_destination(self, **changes: Any) -> int:
        """Add an active destination at an address where nothing answers."""
        new = {"project": self.project, "bucket": "acme", "endpoint_url": NOWHERE} | changes
        added = self.destinations.add(NewDestination(**new))
        can = Capabilities(conditional_put=True, conditional_complete=True, checksums=True)
        self.destinations.activate(added.id, can)
        return added.id

    def seal(self, *hours: Hour) -> None:
        """Seal hours with a file of two lines each."""
        for hour in hours:
            file = SealedFile(self.project, hour, 1, f"{hour}#1", 100, "ab" * 32, 7, 2, 300)
            sealed = SealedHour(
                self.project, self.organization, hour, str(hour).encode(), str(hour), (file,)
            )
            self.ledger.add_hours([sealed])

    def seal_merged_ids(self, hour: Hour) -> None:
        """Seal an hour of the organization's merged IDs."""
        scope, name = -self.organization, f"-{hour}"
        file = SealedFile(scope, hour, 1, name, 100, "ab" * 32, 7, 2, 300)
        sealed = SealedHour(scope, self.organization, hour, name.encode(), name, (file,))
        self.ledger.add_hours([sealed])

    def deliver(self) -> None:
        """Deliver one run, as a worker would."""
        held = self.ledger.claim(now_micros=0, lease_micros=MICROS, destination_limit=9)
        assert held is not None
        self.ledger.file_delivered(held, 1, "a key#1", "put", 7)
        self.ledger.succeeded(held, 8)


@pytest.fixture
def book(run: Run, data: Path) -> Iterator[Book]:
    made = Book(data, run("init", "--json").json())
    yield made
    made.engine.dispose()


def test_what_was_missed_is_shown_and_listed_before_it_goes_on(run: Run, book: Book) -> None:
    number = str(book.add_destination())
    book.seal(book.today)
    paused = run("pause", number)
    assert paused.out == (
        "Destination 1 is paused. 1 hour is owed and will wait.\nGo on with: tailrace resume 1\n"
    )
    first, last = book.today.plus(1), book.today.plus(2)
    book.seal(first, last)

    plan = run("resume", number, "--plan", "--json").json()
    assert plan["missed"] == [
        {
            "data_type": "events",
            "from": str(first),
            "to": str(last),
            "hours": 2,
            "files": 2,
            "lines": 4,
            "bytes": 200,
        }
    ]
    assert (plan["missed_hours"], plan["owed"]) == (2, 1)
    text = f"missed       events of {first} to {last}: 2 hours, 2 files, 4 lines, 200 bytes\n"
    assert run("resume", number, "--plan").out == (
        text + "2 missed hours. Besides, 1 hour is owed from before.\n"
    )
    shown = run("destination", "show", number)
    assert text in shown.out
    assert "owed         1 (off)\n" in shown.out

    # The bucket can't be reached, so it stays paused, and says why.
    failed = run("resume", number, "--json")
    assert failed.code == FAILED
    assert failed.json()["destination"]["state"] == "paused"
    assert "stays paused. Mend this, then: tailrace resume 1" in run("resume", number).out


def test_a_destination_is_shown_with_access_switches_and_who_made_it(run: Run, book: Book) -> None:
    number = str(
        book.add_destination(
            role_arn="arn:aws:iam::111122223333:role/acme", external_id="acme-1", marker=False
        )
    )
    book.seal(book.today)
    book.deliver()
    shown = run("destination", "show", number, "--json").json()
    assert shown["access"] == "role"
    assert shown["role_arn"] == "arn:aws:iam::111122223333:role/acme"
    assert shown["created_by"] == "tailrace"
    assert shown["runs"] == {"success": 1}
    assert (shown["destination"]["manifest"], shown["destination"]["marker"]) == (True, False)
    text = run("destination", "show", number).out
    assert "place        s3://acme/ at http://127.0.0.1:9\n" in text
    assert "markers      off\n" in text
    assert run("destination", "show", "7").code == WRONG_USE


def test_an_encryption_is_said_with_its_key_and_shown(run: Run, book: Book) -> None:
    key = "arn:aws:kms:us-east-1:111122223333:key/1234"
    add = ("destination", "add", "amazon-s3", "--project", str(book.project), "--bucket", "acme")
    there = (*add, "--region", "us-east-1", "--json")
    for words, named in (
        (("--encryption", "aws:kms"), "needs a key"),
        (("--kms-key", key), "goes with the encryption aws:kms"),
        (("--encryption", "aws:kms", "--kms-key", key.replace("east", "west")), "us-west-1"),
        (("--encryption", "rot13"), "rot13"),
    ):
        refused = run(*there, *words)
        assert refused.code == WRONG_USE
        assert named in refused.err
    assert book.destinations.list() == []

    store = (*there, "--endpoint-url", NOWHERE)
    run(*store, "--encryption", "aws:kms", "--kms-key", "acme-key")
    shown = run("destination", "show", "1", "--json").json()["destination"]
    assert (shown["encryption"], shown["kms_key_arn"]) == ("aws:kms", "acme-key")
    assert "encryption   SSE-KMS with acme-key\n" in run("destination", "show", "1").out

    for words, kept, text in (
        (("--kms-key", "other"), ("aws:kms", "other"), "SSE-KMS with other"),
        (("--encryption", "AES256"), ("AES256", None), "SSE-S3"),
        (("--encryption", "default"), (None, None), "the bucket's default"),
    ):
        # It is still being set up, so that it is changed though nothing answers the probes.
        done = run("destination", "edit", "1", *words, "--json")
        now = done.json()["destination"]
        assert (now["encryption"], now["kms_key_arn"]) == kept
        assert f"encryption   {text}\n" in run("destination", "show", "1").out
    assert run("destination", "edit", "1", "--encryption", "default").code == WRONG_USE


def test_a_region_is_not_taken_where_the_key_that_encrypts_lies_in_another(
    run: Run, book: Book
) -> None:
    key = "arn:aws:kms:us-east-1:111122223333:key/1234"
    amazon = {"endpoint_url": None, "encryption": "aws:kms", "kms_key_arn": key}
    number = str(book.add_destination(region="us-east-1", **amazon))
    done = run("verify", number, "--region", "eu-west-1")
    assert done.code == WRONG_USE
    assert "it lies in us-east-1 and the bucket in eu-west-1" in done.err
    assert book.destinations.get(1).region == "us-east-1"


def test_switches_are_changed_and_the_others_stay(run: Run, book: Book) -> None:
    number = str(book.add_destination())
    done = run("destination", "edit", number, "--no-manifest", "--json").json()
    assert (done["changed"], done["passed"]) == (["manifest"], None)
    changed = done["destination"]
    assert (changed["manifest"], changed["marker"], changed["include"]) == (False, True, ["events"])
    text = run(
        "destination", "edit", number, "--no-marker", "--manifest", "--include", "merged-ids"
    )
    assert text.out == (
        "Destination 1 (Amazon S3) is active: merged-ids, manifests go to s3://acme/ at http://127.0.0.1:9\n"
    )


def test_a_destination_is_told_by_its_name(run: Run, book: Book) -> None:
    place = ("--project", str(book.project), "--bucket", "acme", "--region", "us-west-2")
    add = ("destination", "add", "amazon-s3", *place, "--endpoint-url", NOWHERE, "--json")
    names = [run(*add, *more).json()["destination"]["name"] for more in ((), (), ("--name", "A"))]
    assert names == ["Amazon S3", "Amazon S3 2", "A"]
    taken = run(*add, "--name", "amazon s3")
    assert (taken.code, "named 'Amazon S3', and neither capitals" in taken.err) == (WRONG_USE, True)

    # Nothing answers there, so any probe would fail.
    done = run("destination", "edit", "2", "--name", " Lake ", "--json").json()
    assert (done["changed"], done["passed"]) == (["name"], None)
    assert done["destination"]["name"] == "Lake"
    assert (
        "Destination 2 (Pond) is setting up"
        in run("destination", "edit", "2", "--name", "Pond").out
    )
    rows = [line.split() for line in run("destination", "list").out.splitlines()]
    assert rows[0][:5] == ["id", "name", "state", "project", "bucket"]
    assert rows[2][:3] == ["2", "Pond", "setting_up"]
    assert "name         Pond\n" in run("destination", "show", "2").out
    asked = run("destination", "delete", "2")
    assert "Destination 2 (Pond, s3://acme/ at " in asked.err


def test_the_status_names_destinations(run: Run, book: Book) -> None:
    book.add_destination(name="Lake")
    book.seal(book.today)
    assert "  destination 1 (Lake): 1 pending; oldest owed hour" in run("status").out
    (shown,) = run("status", "--json").json()["destinations"]
    assert (shown["id"], shown["name"]) == (1, "Lake")


def test_lists_are_narrowed_by_project(run: Run, book: Book) -> None:
    book.add_destination()
    other = run("project", "add", "--name", "Other", "--json").json()["project_id"]
    second = book.add_destination(project=other)
    listed = run("destination", "list", "--project", str(other), "--json").json()
    assert [one["destination_id"] for one in listed] == [second]
    assert len(run("destination", "list", "--json").json()) == 2


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--role-arn", "role/acme"), "arn:aws:iam::111122223333:role/tailrace"),
        (("--external-id", "acme"), "goes with a role"),
        (
            ("--role-arn", "arn:aws:iam::111122223333:role/acme", "--external-id", "a b"),
            "external ID",
        ),
    ],
)
def test_access_that_can_not_be_is_refused(
    run: Run, book: Book, words: tuple[str, ...], named: str
) -> None:
    place = ("--project", str(book.project), "--bucket", "acme", "--region", "us-west-2")
    done = run("destination", "add", "amazon-s3", *place, *words)
    assert done.code == WRONG_USE
    assert named in done.err
    assert book.destinations.list() == []


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--region", "us-west-2", "--endpoint-url", "http://10.0.0.5:9000"), "private_endpoints"),
        (("--region", "us-west-2", "--endpoint-url", "http://127.0.0.1:9000"), "no public address"),
        (("--region", "RegionOne"), "in lower case"),
        (("--region", "Region One", "--endpoint-url", "http://192.0.2.1"), "and hyphens"),
    ],
)
def test_a_place_that_can_not_be_is_refused(
    run: Run, book: Book, words: tuple[str, ...], named: str
) -> None:
    place = ("--project", str(book.project), "--bucket", "acme")
    allowed = {"TAILRACE_EXPORT_PRIVATE_ENDPOINTS": "false"}
    done = run("destination", "add", "amazon-s3", *place, *words, **allowed)
    assert (done.code, named in done.err) == (WRONG_USE, True), done.err
    assert book.destinations.list() == []


def test_only_what_can_be_paused_or_resumed_is(run: Run, book: Book) -> None:
    number = str(book.add_destination())
    refused = run("resume", number)
    assert (refused.code, "it is active, not paused" in refused.err) == (WRONG_USE, True)
    assert run("pause", number, "--json").json()["destination"]["state"] == "paused"
    again = run("pause", number)
    assert (again.code, "it is paused, not active" in again.err) == (WRONG_USE, True)


def test_a_place_that_can_not_be_reached_changes_nothing_and_says_so(run: Run, book: Book) -> None:
    number = str(book.add_destination())
    done = run("destination", "edit", number, "--bucket", "other", "--json")
    assert done.code == FAILED
    shown = done.json()
    assert (shown["passed"], shown["changed"]) == (False, [])
    assert shown["destination"]["bucket"] == "acme"
    text = run("destination", "edit", number, "--prefix", "raw").out
    assert "Nothing was changed: destination 1 goes on as before.\n" in text
    assert book.destinations.get(1).prefix == ""


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ((), "Nothing to change"),
        (("--name", ""), "1 to 60 characters"),
        (("--bucket", "No_Bucket"), "bucket"),
        (("--prefix", "a/../b"), "prefix"),
        (("--access-key-id", "AK"), "--secret-access-key-file"),
        (("--operator-access", "--role-arn", "r"), "--operator-access"),
        (("--endpoint-url", "ftp://s3.example.com"), "endpoint"),
        (("--include", "nothing"), "--include"),
    ],
)
def test_an_edit_that_can_not_be_is_refused_by_field(
    run: Run, book: Book, words: tuple[str, ...], named: str
) -> None:
    number = str(book.add_destination())
    before = book.destinations.get(1)
    done = run("destination", "edit", number, *words)
    assert (done.code, named in done.err) == (WRONG_USE, True), done.err
    assert book.destinations.get(1) == before


def test_an_hour_of_both_data_types_is_missed_and_owed_as_two_runs(run: Run, book: Book) -> None:
    number = str(book.add_destination(include_merged_ids=True))
    book.seal(book.today)
    book.seal_merged_ids(book.today)
    assert "2 runs are owed and will wait." in run("pause", number).out
    book.seal(book.today.next())
    book.seal_merged_ids(book.today.next())
    listed = run("resume", number, "--plan").out.splitlines()
    assert listed[-1] == "2 missed runs. Besides, 2 runs are owed from before."
    asked = run("destination", "delete", number)
    assert "owes 2 runs, missed 2 while paused" in asked.err
    done = run("destination", "delete", number, "--yes").out
    assert "Destination 1 is deleted. 2 owed runs will not go out." in done


def test_a_destination_is_deleted_only_when_that_is_said_and_its_runs_stay(
    run: Run, book: Book
) -> None:
    number = str(book.add_destination())
    book.seal(book.today, book.today.next())
    book.deliver()
    asked = run("destination", "delete", number)
    assert asked.code == WRONG_USE
    assert "owes 1 hour, missed 0 while paused" in asked.err
    assert "--yes" in asked.err
    assert book.destinations.get(1).state == "active"

    done = run("destination", "delete", number, "--yes", "--json").json()
    assert (done["runs_cancelled"], done["destination"]["state"]) == (1, "deleted")
    assert run("destination", "list", "--json").json() == []
    listed = run("destination", "list", "--deleted", "--json").json()
    assert [one["state"] for one in listed] == ["deleted"]
    runs = run("runs", "--destination", number, "--json").json()
    assert [one["status"] for one in runs] == ["success", "cancelled"]
    assert "automatic    off\n" in run("destination", "show", number).out
    for words in (("pause",), ("resume",), ("verify",), ("destination", "delete", "--yes")):
        refused = run(*words, number)
        assert (refused.code, "deleted" in refused.err) == (WRONG_USE, True), refused.err
