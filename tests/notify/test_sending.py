"""What is due goes out once; what is not taken is tried again, refused for good, or given up."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

import pytest
import sqlalchemy as sa

from tailrace.notify.outage_mails import make_outage_mails
from tailrace.notify.sending import send_due
from tailrace.settings import SmtpSettings
from tailrace.state.database import writing
from tailrace.state.mail_tables import mail_recipient
from tailrace.state.mails import Mail, Recipient
from tailrace.state.tables import person
from tests.notify.conftest import MailServer, Office

MINUTE = 60


@pytest.fixture
def made(office: Office) -> Mail:
    """A mail to three addresses that is due."""
    office.refuse(office.active())
    make_outage_mails(office.mailing)
    return office.mails.newest()[0]


def send(office: Office, settings: SmtpSettings | None = None) -> int:
    settings = settings or office.settings.smtp
    return send_due(office.mails, settings, clock=office.clock, machine=office.clock)


def states(office: Office) -> dict[str, str]:
    return {one.address.partition("@")[0]: one.state for one in recipients(office)}


def recipients(office: Office) -> tuple[Recipient, ...]:
    return office.mails.newest()[0].recipients


def test_a_mail_goes_out_once_to_all(office: Office, mail_server: MailServer, made: Mail) -> None:
    assert [send(office) for _ in range(3)] == [3, 0, 0]

    (got,) = mail_server.received
    assert sorted(got.recipients) == ["ann@acme.example", "bob@acme.example", "cleo@acme.example"]
    found = office.mails.get(made.id)
    assert found.state == "sent"
    assert {one.sent_micros for one in found.recipients} == {office.clock.now_micros()}


def test_the_message_says_who_sends_it_and_that_a_program_does(
    office: Office, mail_server: MailServer, made: Mail
) -> None:
    send(office)

    message = mail_server.received[0].message
    assert str(message["From"]) == "tailrace <exports@tailrace.example>"
    assert str(message["To"]) == "ann@acme.example, bob@acme.example, cleo@acme.example"
    assert message["Subject"] == made.subject
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Message-ID"] == made.message_id
    assert parsedate_to_datetime(str(message["Date"])).isoformat() == "2026-11-23T10:00:00+00:00"
    assert message.get_content_type() == "multipart/alternative"
    assert mail_server.received[0].part("plain") == made.text
    assert mail_server.received[0].part("html") == made.html


def test_mails_of_one_outage_stand_together(office: Office, mail_server: MailServer) -> None:
    destination = office.active()
    office.seal(office.today)
    office.refuse(destination)
    notices = office.notices()
    notices.step()
    office.wait(hours=24)
    notices.step()
    office.heal(destination)
    notices.step()

    first, *others = [one.message for one in mail_server.received]
    assert len(others) == 2
    assert first["In-Reply-To"] is None
    for other in others:
        assert other["In-Reply-To"] == other["References"] == first["Message-ID"]
    assert len({str(one["Message-ID"]) for one in (first, *others)}) == 3


def test_what_is_sent_again_is_the_same_message(
    office: Office, mail_server: MailServer, made: Mail
) -> None:
    """As after a death between the server's answer and the note of it."""

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(office.mails, "tried", die)
        with pytest.raises(KeyboardInterrupt):
            send(office)
    assert states(office) == {"ann": "waiting", "bob": "waiting", "cleo": "waiting"}

    assert send(office) == 3
    first, second = mail_server.received
    assert first.data == second.data


def test_a_server_that_is_down_is_asked_again_ever_more_seldom(
    office: Office, mail_server: MailServer, made: Mail
) -> None:
    mail_server.answers["MAIL"] = "451 out of order"
    for minutes in (1, 5, 15, 30, 60, 60):
        send(office)
        (waits,) = {one.due_micros for one in office.mails.get(made.id).recipients}
        assert waits is not None
        assert waits - office.clock.now_micros() == minutes * MINUTE * 10**6
        office.wait(seconds=minutes * MINUTE - 1)
        send(office)
        office.wait(seconds=1)
    assert office.mails.counts().error is not None
    assert "451 out of order" in str(office.mails.counts().error)
    assert mail_server.received == []

    mail_server.answers.clear()
    assert send(office) == 3


def test_three_days_are_enough(office: Office, mail_server: MailServer, made: Mail) -> None:
    mail_server.answers["MAIL"] = "451 out of order"
    for _ in range(71):
        send(office)
        office.wait(hours=1)
    assert set(states(office).values()) == {"waiting"}
    office.wait(hours=1)
    send(office)

    assert set(states(office).values()) == {"given up"}
    assert office.mails.get(made.id).state == "not sent"
    mail_server.answers.clear()
    office.wait(hours=1)
    assert send(office) == 0


def test_a_refused_address_is_not_tried_again_and_keeps_no_other_waiting(
    office: Office, mail_server: MailServer, made: Mail
) -> None:
    mail_server.answers = {"bob@acme.example": "550 no such user", "ann@acme.example": "450 later"}
    assert send(office) == 1
    assert states(office) == {"ann": "waiting", "bob": "refused", "cleo": "sent"}
    assert [one.error for one in office.mails.get(made.id).recipients] == [
        "450 later",
        "550 no such user",
        None,
    ]

    mail_server.answers.clear()
    office.wait(seconds=MINUTE)
    assert send(office) == 1
    assert [one.recipients for one in mail_server.received] == [
        ("cleo@acme.example",),
        ("ann@acme.example",),
    ]
    assert office.mails.counts().not_sent == 1


def _spoil(office: Office, address: str, becomes: str) -> None:
    """Put an address into the tables as an earlier release took it."""
    for column in (person.c.email, mail_recipient.c.address):
        with writing(office.engine) as connection:
            connection.execute(
                sa.update(column.table).where(column == address).values({column.name: becomes})
            )


@pytest.mark.parametrize("becomes", ["=?utf-8?q?x?=@acme.example", "=?x?q?a?=@acme.example"])
def test_an_address_that_no_mail_can_name_costs_only_itself(
    office: Office, mail_server: MailServer, made: Mail, becomes: str
) -> None:
    _spoil(office, "bob@acme.example", becomes)
    other = office.active(bucket="other")
    office.refuse(other)
    make_outage_mails(office.mailing)

    assert [send(office) for _ in range(2)] == [4, 0]
    for got in mail_server.received:
        assert sorted(got.recipients) == ["ann@acme.example", "cleo@acme.example"]
        assert str(got.message["To"]) == "ann@acme.example, cleo@acme.example"
    for mail in office.mails.newest():
        outcomes = {one.address: (one.state, one.error) for one in mail.recipients}
        assert outcomes == {
            "ann@acme.example": ("sent", None),
            becomes: (
                "refused",
                f"Cannot write a mail to {becomes}: no mail can name this address. Remove the "
                "person, and add them with another one.",
            ),
            "cleo@acme.example": ("sent", None),
        }


def test_a_mail_to_nobody_whom_it_can_name_keeps_no_other_waiting(
    office: Office, mail_server: MailServer, made: Mail
) -> None:
    names = ("ann", "bob", "cleo")
    for name in names:
        _spoil(office, f"{name}@acme.example", f"=?utf-8?q?{name}?=@acme.example")
    office.add_person("eve@acme.example", "admin")
    office.refuse(office.active(bucket="other"))
    make_outage_mails(office.mailing)

    assert send(office) == 1
    (got,) = mail_server.received
    assert got.recipients == ("eve@acme.example",)
    assert {one.state for one in office.mails.get(made.id).recipients} == {"refused"}


def test_a_message_that_is_refused_for_good_keeps_no_other_mail_waiting(
    office: Office, mail_server: MailServer, made: Mail
) -> None:
    mail_server.answers["DATA"] = "554 looks like spam"
    assert send(office) == 0
    assert set(states(office).values()) == {"refused"}
    mail_server.answers.clear()
    other = office.active(bucket="other")
    office.refuse(other)
    make_outage_mails(office.mailing)
    assert send(office) == 3


def test_a_sender_that_is_refused_is_the_operators_to_mend_so_mails_wait(
    office: Office, mail_server: MailServer, made: Mail
) -> None:
    mail_server.answers["MAIL"] = "553 not yours"
    send(office)
    assert set(states(office).values()) == {"waiting"}
    assert "smtp.sender" in str(office.mails.counts().error)


def test_many_mails_in_trouble_end_the_turn_and_all_wait(
    office: Office, mail_server: MailServer
) -> None:
    for number in range(8):
        office.refuse(office.active(bucket=f"bucket-{number}"))
    make_outage_mails(office.mailing)
    mail_server.answers["MAIL"] = "451 out of order"
    send(office)

    found = office.mails.newest()
    assert len(found) == 8
    assert {one.attempts for mail in found for one in mail.recipients} == {1}


def test_without_a_mail_server_mails_are_kept_and_sent_once_there_is_one(
    office: Office, mail_server: MailServer, made: Mail
) -> None:
    none = SmtpSettings()
    assert send(office, none) == 0
    office.wait(hours=71)
    assert send(office, none) == 0
    assert office.mails.counts().waiting == 3
    assert send(office) == 3


def test_old_mails_are_not_sent_when_a_mail_server_comes_late(
    office: Office, mail_server: MailServer, made: Mail
) -> None:
    office.wait(hours=72)
    assert send(office) == 0
    assert mail_server.received == []
    assert [one.error for one in office.mails.get(made.id).recipients] == [
        "No mail server was set in its time."
    ] * 3


def test_a_clock_that_was_set_back_holds_no_mail_back(
    office: Office, mail_server: MailServer, made: Mail
) -> None:
    mail_server.answers["MAIL"] = "451 out of order"
    send(office)
    office.clock.step(-24 * 3600 * 10**6)
    mail_server.answers.clear()
    assert send(office) == 3


def test_mails_are_kept_for_400_days(office: Office, made: Mail) -> None:
    office.wait(hours=399 * 24)
    assert office.mails.forget_old() == 0
    office.wait(hours=25)
    assert office.mails.forget_old() == 1
    assert office.mails.newest() == []
