"""One mail for an outage, one a day while it lasts, one when it is over; to the right people."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tailrace.clock import MICROS
from tailrace.notify.outage_mails import make_outage_mails
from tailrace.state.delivery import Cause
from tests.notify.conftest import Office

ADMINS_AND_CREATOR = ("ann@acme.example", "bob@acme.example", "cleo@acme.example")


def addresses(office: Office) -> tuple[str, ...]:
    return tuple(one.address for one in office.mails.newest(limit=1)[0].recipients)


def test_an_outage_is_mailed_once_to_the_admins_and_the_creator(office: Office) -> None:
    destination = office.active()
    office.seal(office.today, office.today.next())
    office.refuse(destination)

    assert [make_outage_mails(office.mailing) for _ in range(3)] == [1, 0, 0]

    (made,) = office.mails.newest()
    assert (made.kind, made.destination_id, made.organization) == (
        "outage",
        destination.id,
        office.organization,
    )
    assert addresses(office) == ADMINS_AND_CREATOR


def test_a_creator_who_is_an_admin_gets_one(office: Office) -> None:
    office.destinations.by = "ANN@acme.example"
    office.refuse(office.active())
    make_outage_mails(office.mailing)
    assert addresses(office) == ("ann@acme.example", "bob@acme.example")


def test_without_an_admin_the_operator_is_told(office: Office) -> None:
    lonely = office.add_organization("Lonely")
    office.destinations.by = "command line"
    destination = office.active(project=office.add_project(lonely), bucket="lonely")
    office.refuse(destination)
    make_outage_mails(office.mailing)
    assert addresses(office) == ("ops@tailrace.example",)


def test_another_organization_gets_nothing(office: Office) -> None:
    rival = office.add_organization("Rival")
    destination = office.active(project=office.add_project(rival), bucket="rival")
    office.refuse(destination)
    make_outage_mails(office.mailing)
    # Its creator is of another organization by now, and its only reader is the operator.
    assert addresses(office) == ("ops@tailrace.example",)


def test_the_mail_waits_for_the_probes_but_not_for_long(office: Office) -> None:
    destination = office.active()
    office.ledger.begin_outage(destination.id, office.refused, 0)
    assert make_outage_mails(office.mailing) == 0

    more = msgspec.structs.replace(
        office.refused, missing_actions=("s3:PutObject", "s3:AbortMultipartUpload")
    )
    office.ledger.looked_into(destination.id, more)
    assert make_outage_mails(office.mailing) == 1
    assert "s3:AbortMultipartUpload" in office.mails.newest()[0].text

    other = office.active(bucket="hangs")
    office.ledger.begin_outage(other.id, office.refused, 0)
    office.wait(seconds=119)
    assert make_outage_mails(office.mailing) == 0
    office.wait(seconds=1)
    assert make_outage_mails(office.mailing) == 1


def test_a_reminder_follows_each_24_hours(office: Office) -> None:
    office.refuse(office.active())
    made = []
    for hour in range(73):
        made += [hour] * make_outage_mails(office.mailing)
        office.wait(hours=1)

    assert made == [0, 24, 48, 72]
    assert office.kinds() == ["outage", "reminder", "reminder", "reminder"]


def test_the_end_is_mailed_once_something_was_delivered(office: Office) -> None:
    destination = office.active()
    office.seal(office.today)
    office.refuse(destination)
    make_outage_mails(office.mailing)
    office.wait(hours=3)

    office.ledger.end_outage(destination.id)
    assert make_outage_mails(office.mailing) == 0, "probes passed, nothing is put yet"
    office.deliver(office.held())
    assert [make_outage_mails(office.mailing) for _ in range(3)] == [1, 0, 0]

    assert office.kinds() == ["outage", "all-clear"]
    assert addresses(office) == ADMINS_AND_CREATOR


def test_the_end_is_mailed_where_nothing_waits(office: Office) -> None:
    destination = office.active()
    office.refuse(destination)
    make_outage_mails(office.mailing)
    office.ledger.end_outage(destination.id)
    make_outage_mails(office.mailing)
    assert office.kinds() == ["outage", "all-clear"]


def test_an_outage_that_was_not_mailed_ends_without_a_mail(office: Office) -> None:
    destination = office.active()
    office.seal(office.today)
    office.ledger.begin_outage(destination.id, office.refused, 0)
    office.heal(destination)
    assert make_outage_mails(office.mailing) == 0
    office.wait(hours=48)
    assert make_outage_mails(office.mailing) == 0


def test_probes_that_pass_while_puts_are_refused_are_no_end(office: Office) -> None:
    """A policy may let the access check in and keep the hours out."""
    destination = office.active()
    office.seal(office.today)
    office.refuse(destination)
    made = []
    for _ in range(40):
        made += [make_outage_mails(office.mailing)]
        office.ledger.end_outage(destination.id)
        made += [make_outage_mails(office.mailing)]
        office.wait(hours=1)
        office.refuse(destination)

    assert office.kinds() == ["outage", "reminder"]


def test_the_same_cause_is_mailed_once_a_day_however_often_access_comes_and_goes(
    office: Office,
) -> None:
    destination = office.active()
    for number in range(30):
        office.seal(office.today.plus(number))
        office.refuse(destination)
        make_outage_mails(office.mailing)
        office.wait(seconds=1800)
        office.heal(destination)
        make_outage_mails(office.mailing)
        office.wait(seconds=1800)

    assert office.kinds() == ["outage", "all-clear", "outage", "all-clear"]


def test_another_cause_of_the_same_day_is_mailed(office: Office) -> None:
    destination = office.active()
    office.seal(office.today, office.today.next())
    office.refuse(destination)
    make_outage_mails(office.mailing)
    office.heal(destination)
    make_outage_mails(office.mailing)
    gone = Cause("access", "NoSuchBucket", "There is no such bucket.", "Create it again.")
    office.refuse(destination, gone)
    make_outage_mails(office.mailing)

    assert office.kinds() == ["outage", "all-clear", "outage"]


def test_another_cause_within_an_outage_is_told_by_the_reminder(office: Office) -> None:
    destination = office.active()
    office.refuse(destination)
    make_outage_mails(office.mailing)
    gone = Cause("access", "NoSuchBucket", "There is no such bucket.", "Create it again.")
    office.ledger.probe_failed(destination.id, gone, 0)
    assert make_outage_mails(office.mailing) == 0
    office.wait(hours=24)
    assert make_outage_mails(office.mailing) == 1
    assert "Create it again." in office.mails.newest()[0].text


@pytest.mark.parametrize("kind", ["operator", "temporary", "unknown"])
def test_nobody_is_mailed_while_the_fault_is_not_the_owners(office: Office, kind: Any) -> None:
    destination = office.active()
    office.ledger.begin_outage(destination.id, office.refused, 0)
    ours = Cause(kind, "RequestTimeTooSkewed", "The clock is wrong.", "Set it.")
    office.ledger.looked_into(destination.id, ours)
    office.wait(hours=30)
    assert make_outage_mails(office.mailing) == 0

    office.ledger.probe_failed(destination.id, office.refused, 0)
    assert make_outage_mails(office.mailing) == 1
    assert "clock" not in office.mails.newest()[0].text

    office.ledger.probe_failed(destination.id, ours, 0)
    office.wait(hours=30)
    assert make_outage_mails(office.mailing) == 0


def test_a_fault_of_ours_is_never_the_cause_of_an_outage_of_theirs(office: Office) -> None:
    destination = office.active()
    office.refuse(destination)
    make_outage_mails(office.mailing)
    office.ledger.probe_failed(destination.id, Cause("operator", "Clock", "Ours.", "Ours."), 0)
    office.ledger.end_outage(destination.id)
    make_outage_mails(office.mailing)
    over, began = office.mails.newest()
    assert over.cause == began.cause == "AccessDenied s3:PutObject"


def test_of_two_destinations_only_the_refused_one_is_mailed_of(office: Office) -> None:
    office.active(bucket="well")
    refused = office.active(bucket="refused")
    office.refuse(refused)
    for _ in range(50):
        make_outage_mails(office.mailing)
        office.wait(hours=1)
    assert {one.destination_id for one in office.mails.newest()} == {refused.id}


def test_a_paused_destination_is_not_reminded_of(office: Office) -> None:
    destination = office.active()
    office.seal(office.today)
    office.refuse(destination)
    make_outage_mails(office.mailing)
    office.destinations.pause(destination.id)
    office.wait(hours=50)
    assert make_outage_mails(office.mailing) == 0

    paused = office.destinations.get(destination.id)
    office.destinations.resume(paused, office.capabilities)
    office.deliver(office.held())
    assert make_outage_mails(office.mailing) == 1
    assert office.kinds() == ["outage", "all-clear"]


def test_a_deleted_destination_is_mailed_of_no_more(office: Office) -> None:
    destination = office.active()
    office.refuse(destination)
    make_outage_mails(office.mailing)
    office.destinations.delete(destination.id, aborted=(), now_micros=office.clock.now_micros())
    office.wait(hours=50)
    assert make_outage_mails(office.mailing) == 0


def test_a_clock_that_was_set_back_holds_no_reminder_back(office: Office) -> None:
    office.refuse(office.active())
    office.clock.step(365 * 24 * 3600 * MICROS)
    make_outage_mails(office.mailing)
    office.clock.step(-365 * 24 * 3600 * MICROS)
    assert [make_outage_mails(office.mailing) for _ in range(3)] == [1, 0, 0]
