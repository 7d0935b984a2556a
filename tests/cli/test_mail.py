"""`mail list`, `mail show` and `mail test`, and what `status` says of mails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tailrace.cli.output import NEEDS_OPERATOR, WRONG_USE
from tailrace.clock import SystemClock
from tailrace.settings import SmtpSettings
from tailrace.state.database import open_database, writing
from tailrace.state.destinations import Destinations, NewDestination
from tailrace.state.mails import Mails, NewMail, Outcome, keep_mail
from tests.notify.conftest import MailServer, running
from tests.notify.conftest import mail_server as mail_server

Run = Callable[..., Any]

SERVER = {"TAILRACE_SMTP_HOST": "mail.example"}


class Kept:
    """A folder with a destination and two mails: one about it, and a newer one to the operator."""

    def __init__(self, data: Path) -> None:
        self.engine = open_database(data / "tailrace.sqlite")
        self.clock = SystemClock()
        self.mails = Mails(self.engine, self.clock)
        destinations = Destinations(self.engine, self.clock)
        self.destination = destinations.add(NewDestination(project=300001, bucket="acme")).id
        self.about = self.keep("Access to acme is refused", self.destination, "ann@acme.example")
        self.operators = self.keep("The disk is full", None, "ops@acme.example", "two@acme.example")

    def keep(self, subject: str, destination: int | None, *recipients: str) -> int:
        new = NewMail(
            kind="outage" if destination else "room",
            destination_id=destination,
            organization=100001 if destination else None,
            subject=subject,
            text="Words.\n\nMore words.\n",
            html="<p>Words.</p>\n",
            recipients=recipients,
        )
        with writing(self.engine) as connection:
            return keep_mail(connection, new, made_micros=1_800_000_000_000_000, message_id="<a@b>")


@pytest.fixture
def kept(run: Run, data: Path) -> Iterator[Kept]:
    assert run("init").code == 0
    made = Kept(data)
    yield made
    made.engine.dispose()


def test_mails_are_listed_newest_first(run: Run, kept: Kept) -> None:
    listed = run("mail", "list", "--json").json()

    assert [one["mail_id"] for one in listed] == [kept.operators, kept.about]
    assert listed[1] == {
        "mail_id": kept.about,
        "made_at": "2027-01-15T08:00:00Z",
        "kind": "outage",
        "state": "waiting",
        "org_id": 100001,
        "destination_id": kept.destination,
        "subject": "Access to acme is refused",
        "recipients": [
            {
                "address": "ann@acme.example",
                "state": "waiting",
                "attempts": 0,
                "tried_at": None,
                "sent_at": None,
                "next_try_at": None,
                "error": None,
            }
        ],
    }


def test_a_list_can_be_narrowed(run: Run, kept: Kept) -> None:
    def numbers(*words: str) -> list[int]:
        return [one["mail_id"] for one in run("mail", "list", "--json", *words).json()]

    assert numbers("--destination", str(kept.destination)) == [kept.about]
    assert numbers("--organization", "100001") == [kept.about]
    assert numbers("--limit", "1") == [kept.operators]
    assert run("mail", "list", "--destination", "77").code == WRONG_USE


def test_a_list_says_that_no_mail_server_is_set(run: Run, kept: Kept) -> None:
    assert "No mail server is set (smtp.host)" in run("mail", "list").out
    assert "No mail server" not in run("mail", "list", **SERVER).out


def test_an_empty_list_says_so(run: Run) -> None:
    run("init")
    assert run("mail", "list").out == "There are no such mails.\n"


def test_a_mail_is_shown_with_what_became_of_it(run: Run, kept: Kept) -> None:
    kept.mails.tried(
        kept.operators,
        [
            Outcome("ops@acme.example", "sent"),
            Outcome("two@acme.example", "refused", "550 no such user"),
        ],
    )
    shown = run("mail", "show", str(kept.operators)).out

    assert "state    not sent\n" in shown
    assert "to       ops@acme.example: sent 20" in shown
    assert "to       two@acme.example: refused, 1 try: 550 no such user\n" in shown
    assert shown.endswith("subject  The disk is full\n\nWords.\n\nMore words.\n")
    as_json = run("mail", "show", str(kept.operators), "--json").json()
    assert (as_json["text"], as_json["html"]) == ("Words.\n\nMore words.\n", "<p>Words.</p>\n")
    assert as_json["mail"]["recipients"][0]["sent_at"] is not None
    assert run("mail", "show", str(kept.operators), "--html").out == "<p>Words.</p>\n"


def test_a_mail_that_there_is_not_is_refused(run: Run, kept: Kept) -> None:
    done = run("mail", "show", "99")
    assert done.code == WRONG_USE
    assert 'There is no mail 99. List them with "tailrace mail list".' in done.err


def test_the_status_tells_the_operator_what_is_not_sent(run: Run, kept: Kept) -> None:
    none = "mail        3 kept; no mail server is set (smtp.host), so none is sent\n"
    assert none in run("status").out
    kept.mails.tried(kept.operators, [Outcome("two@acme.example", "refused", "550 no such user")])
    assert "mail        2 to send, 1 not sent: 550 no such user\n" in run("status", **SERVER).out
    assert run("status", "--json").json()["mail"] == {
        "waiting": 2,
        "not_sent": 1,
        "error": "550 no such user",
    }


def test_a_bad_setting_hides_no_status(run: Run, kept: Kept) -> None:
    done = run("status", TAILRACE_SMTP_PORT="0")
    assert done.code == 0
    assert "mail        3 to send\n" in done.out


@pytest.fixture
def environment(mail_server: MailServer) -> Iterator[dict[str, str]]:
    with running(mail_server) as settings:
        yield variables(settings)


def variables(settings: SmtpSettings) -> dict[str, str]:
    return {
        "TAILRACE_SMTP_HOST": settings.host,
        "TAILRACE_SMTP_PORT": str(settings.port),
        "TAILRACE_SMTP_SECURITY": settings.security,
        "TAILRACE_SMTP_SENDER": settings.sender,
    }


def test_a_trial_reaches_the_address(
    run: Run, mail_server: MailServer, environment: dict[str, str]
) -> None:
    run("init")
    done = run("mail", "test", "ann@acme.example", **environment)

    assert (done.code, done.err) == (0, "")
    assert done.out.endswith("has taken a message to ann@acme.example.\n")
    (got,) = mail_server.received
    assert got.recipients == ("ann@acme.example",)
    assert got.message["Subject"] == "tailrace can send mail"
    assert "That it arrived means" in got.part("plain")


def test_a_trial_names_the_step_that_fails(
    run: Run, mail_server: MailServer, environment: dict[str, str]
) -> None:
    run("init")
    mail_server.answers["ann@acme.example"] = "550 relaying denied"
    recipient = run("mail", "test", "ann@acme.example", **environment)
    encryption = run(
        "mail",
        "test",
        "ann@acme.example",
        **environment | {"TAILRACE_SMTP_SECURITY": "starttls"},
    )
    connection = run(
        "mail", "test", "ann@acme.example", **environment | {"TAILRACE_SMTP_PORT": "1"}
    )

    assert {recipient.code, encryption.code, connection.code} == {NEEDS_OPERATOR}
    assert "did not take the recipient ann@acme.example: it answered 550 relaying" in recipient.err
    assert "did not take STARTTLS" in encryption.err
    assert "Cannot reach the mail server 127.0.0.1:1: Connection refused" in connection.err


def test_a_trial_without_a_server_or_an_address_is_refused(run: Run) -> None:
    run("init")
    assert "smtp.host" in run("mail", "test", "ann@acme.example").err
    assert run("mail", "test", "ann", **SERVER).code == WRONG_USE
