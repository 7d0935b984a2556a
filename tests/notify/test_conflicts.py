"""Runs in conflict are told to those who may decide about the objects in the bucket."""

from __future__ import annotations

from tailrace.notify.letter import WIDTH
from tailrace.notify.warnings import make_warnings
from tailrace.state.delivery import Cause
from tailrace.state.manual_exports import ManualExports, NewManualExport
from tests.notify.conftest import Office

OTHER = Cause("conflict", "Conflict", "An object with other content is there.", "Move it away.")
READERS = ["ann@acme.example", "bob@acme.example", "cleo@acme.example"]


def meet(office: Office, hours: int, first: int = 0) -> None:
    """Seal hours, whose runs meet other content."""
    for number in range(first, first + hours):
        office.seal(office.today.plus(number))
        held = office.held()
        office.ledger.conflict(held, OTHER, f"raw/{number}#1.json.gz")


def test_the_destinations_people_are_told_of_the_objects_and_the_ways_out(office: Office) -> None:
    office.active(bucket="one")
    meet(office, 7)
    make_warnings(office.mailing)

    (mail,) = office.mails.newest()
    assert (mail.kind, mail.destination_id, mail.organization) == (
        "conflict",
        1,
        office.organization,
    )
    assert [one.address for one in mail.recipients] == READERS
    assert mail.subject.startswith("Other objects lie where files are to go in one (")
    text = " ".join(mail.text.split())
    assert "7 runs to the bucket one wait for somebody's decision" in text
    assert [key in text for key in (f"s3://one/raw/{n}#1.json.gz" for n in range(7))] == [
        *[True] * 5,
        *[False] * 2,
    ]
    assert "2 more runs met others." in text
    assert "tailrace verify 1" in text
    assert "tailrace backfill 1 with --overwrite" in text
    assert "s3://one/raw/0#1.json.gz" in mail.html
    assert max(map(len, mail.text.splitlines())) <= WIDTH


def test_one_object_is_spoken_of_as_one(office: Office) -> None:
    office.active()
    meet(office, 1)
    make_warnings(office.mailing)
    text = " ".join(office.mails.newest()[0].text.split())
    assert "1 run to the bucket acme waits for" in text
    assert "more run" not in text.partition("What to do")[0]


def test_what_lasts_is_mailed_once(office: Office) -> None:
    office.active()
    meet(office, 2)
    for _ in range(80):
        make_warnings(office.mailing)
        office.wait(hours=1)
    assert office.kinds() == ["conflict"]


def test_more_runs_in_conflict_are_told_after_a_day(office: Office) -> None:
    office.active()
    meet(office, 1)
    make_warnings(office.mailing)
    office.wait(hours=1)
    meet(office, 1, first=1)
    for hour in range(1, 80):
        make_warnings(office.mailing)
        assert len(office.kinds()) == (1 if hour < 24 else 2)
        office.wait(hours=1)
    assert "2 runs to the bucket acme" in office.mails.newest()[0].text


def test_what_is_over_and_comes_again_is_mailed_once_a_day(office: Office) -> None:
    destination = office.active()
    meet(office, 1)
    for hour in range(30):
        make_warnings(office.mailing)
        assert len(office.kinds()) == (1 if hour < 24 else 2)
        assert office.ledger.send_again(destination.id, "events", office.today)
        make_warnings(office.mailing)
        office.wait(hours=1)
        office.ledger.conflict(office.held(), OTHER, "raw/0#1.json.gz")


def test_each_destination_has_a_mail_of_its_own(office: Office) -> None:
    for bucket in ("one", "two"):
        office.active(bucket=bucket)
    office.seal(office.today)
    for _ in range(2):
        office.ledger.conflict(office.held(), OTHER, "raw/x")
    make_warnings(office.mailing)
    assert [one.destination_id for one in office.mails.newest()] == [2, 1]


def test_nobody_is_mailed_of_what_was_paused(office: Office) -> None:
    destination = office.active()
    meet(office, 1)
    office.destinations.pause(destination.id)
    make_warnings(office.mailing)
    assert office.kinds() == []


def test_nobody_is_mailed_of_what_was_paused_while_something_else_is_exported_by_hand(
    office: Office,
) -> None:
    destination = office.active()
    meet(office, 2)
    office.destinations.pause(destination.id)
    exports = ManualExports(office.engine, office.clock)
    exports.start(
        NewManualExport(
            destination_id=destination.id,
            from_hour=office.today.plus(1),
            until_hour=office.today.plus(2),
            include_events=True,
            include_merged_ids=False,
        )
    )
    make_warnings(office.mailing)
    assert office.kinds() == []


def test_a_clock_that_is_set_back_hides_no_conflict(office: Office) -> None:
    office.active()
    meet(office, 1)
    office.wait(hours=30 * 24)
    make_warnings(office.mailing)
    office.wait(hours=-30 * 24)
    make_warnings(office.mailing)
    assert office.kinds() == ["conflict", "conflict"]
    make_warnings(office.mailing)
    assert len(office.kinds()) == 2


def test_without_anybody_the_operator_is_told(office: Office) -> None:
    lonely = office.add_organization("Lonely")
    project = office.add_project(lonely)
    office.active(project=project)
    office.seal(office.today, scope=project)
    office.ledger.conflict(office.held(), OTHER, "raw/x")
    make_warnings(office.mailing)
    assert [one.address for one in office.mails.newest()[0].recipients] == ["ops@tailrace.example"]
