"""A store that has only failed for a day is told to the operator, once a day while it lasts."""

from __future__ import annotations

import pytest

from tailrace.clock import MICROS
from tailrace.notify.warnings import make_warnings
from tailrace.state.delivery import Cause
from tailrace.state.manual_exports import ManualExports, NewManualExport
from tests.notify.conftest import Office

AWAY = Cause("temporary", "EndpointConnectionError", "Cannot reach s3://acme/.", "Wait.")


def fail(office: Office, cause: Cause = AWAY, times: int = 8) -> None:
    """Let every run fail so many times."""
    for _ in range(times):
        for held in list(iter(office.claim, None)):
            office.ledger.retry(held, cause, 0)


def live(office: Office, hours: int) -> list[int]:
    """Look each hour, and return after how many hours mails were made."""
    made, before = [], len(office.kinds())
    for hour in range(hours):
        make_warnings(office.mailing)
        if len(office.kinds()) > before:
            before = len(office.kinds())
            made.append(hour)
        office.wait(hours=1)
    return made


def test_the_operator_is_told_after_a_day_and_each_day(office: Office) -> None:
    office.active()
    office.seal(office.today)
    fail(office)
    assert live(office, 75) == [24, 48, 72]

    first = office.mails.newest()[-1]
    assert (first.kind, first.organization) == ("stall", None)
    assert [one.address for one in first.recipients] == ["ops@tailrace.example"]
    assert first.subject.startswith("Nothing was delivered to acme (")
    assert first.subject.endswith(" for 24 hours")
    text = " ".join(first.text.split())
    assert "Since 2026-11-23 10:00 UTC" in text
    assert "Waiting 1 closed hour, 10 events, 1.0 kB" in text
    assert "Cannot reach s3://acme/." in text
    assert "for 3 days" in office.mails.newest()[0].subject


def test_answers_that_are_not_known_are_told_as_well(office: Office) -> None:
    office.active()
    office.seal(office.today)
    fail(office, Cause("unknown", "Teapot", "It answered 418 Teapot.", "It is tried again."))
    assert live(office, 26) == [24]
    assert "418 Teapot" in office.mails.newest()[0].text


def test_those_of_a_store_are_one_mail(office: Office) -> None:
    for number in range(12):
        office.active(bucket=f"b{number}")
        office.seal(office.today.plus(number))
        fail(office, times=1 if number else 8)
        make_warnings(office.mailing)
        fail(office)
        office.wait(seconds=60)
    assert live(office, 30) == [24]
    (mail,) = office.mails.newest()
    assert mail.subject == "Nothing was delivered to 12 destinations for 24 hours"
    assert "s3://b9/" in mail.text
    assert "s3://b10/" not in mail.text
    assert "Destinations  11, 12" in mail.text


def test_an_hour_that_arrives_begins_the_day_anew(office: Office) -> None:
    destination = office.active()
    office.seal(office.today, office.today.next())
    fail(office)
    assert live(office, 20) == []
    held = office.held()
    office.put_all(held)
    office.ledger.succeeded(held, office.clock.now_micros())
    assert destination.id == held.destination_id
    assert live(office, 30) == [24]


def test_what_is_exported_by_hand_counts_too(office: Office) -> None:
    old = office.today.plus(-1000)
    office.seal(old)
    destination = office.active()
    office.seal(office.today)
    fail(office)
    live(office, 20)
    asked = NewManualExport(
        destination_id=destination.id,
        from_hour=old,
        until_hour=old.next(),
        include_events=True,
        include_merged_ids=False,
    )
    exports = ManualExports(office.engine, office.clock, by="test")
    exports.start(asked)
    held = office.ledger.claim_manual(
        now_micros=0, lease_micros=1, destination_limit=9, manual_limit=9
    )
    assert held is not None
    office.put_all(held)
    office.ledger.succeeded(held, office.clock.now_micros())
    assert live(office, 20) == []


def test_a_restart_or_a_try_in_between_does_not_begin_the_day_anew(office: Office) -> None:
    office.active()
    office.seal(office.today)
    fail(office)
    live(office, 20)
    held = office.held()
    make_warnings(office.mailing)
    office.ledger.let_go(held)
    make_warnings(office.mailing)
    fail(office, times=1)
    assert live(office, 10) == [4]


@pytest.mark.parametrize("kind", ["operator", "access"])
def test_other_causes_are_not_told_as_this(office: Office, kind: str) -> None:
    office.active()
    office.seal(office.today)
    fail(office, Cause(kind, "Oops", "No.", "Mend it."))  # type: ignore[arg-type]
    live(office, 30)
    assert "stall" not in office.kinds()


def test_a_few_failures_are_none_of_it(office: Office) -> None:
    office.active()
    office.seal(office.today)
    fail(office, times=7)
    assert live(office, 60) == []


@pytest.mark.parametrize("change", ["paused", "refused"])
def test_it_is_over_for_what_is_paused_or_refused(office: Office, change: str) -> None:
    destination = office.active()
    office.seal(office.today)
    fail(office)
    live(office, 20)
    if change == "paused":
        office.destinations.pause(destination.id)
    else:
        office.refuse(destination)
    live(office, 10)
    assert "stall" not in office.kinds()


def test_a_clock_that_is_set_back_begins_the_day_anew(office: Office) -> None:
    office.active()
    office.seal(office.today)
    fail(office)
    make_warnings(office.mailing)
    office.clock.step(-3600 * MICROS)
    assert live(office, 27) == [24]
