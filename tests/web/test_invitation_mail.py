"""A sign-in link is mailed to whom it is for, where mail and address are set, and kept nowhere."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tailrace.settings import Settings
from tailrace.state.database import writing
from tailrace.state.mails import Mails
from tailrace.state.tables import person
from tailrace.web.attempts import ALLOWED
from tests.notify.conftest import MailServer, running
from tests.web.conftest import Place, Visitor
from tests.web.joining import DANA, KIM, PEOPLE, invite, join, link_in, path_in

PUBLIC = "https://tailrace.example"


@pytest.fixture
def mail_server() -> MailServer:
    return MailServer()


@pytest.fixture(params=[PUBLIC + "/"])
def settings(mail_server: MailServer, request: pytest.FixtureRequest) -> Iterator[Settings]:
    """Settings with a running mail server and a public address."""
    with running(mail_server) as smtp:
        yield Settings(smtp=smtp, public_url=request.param)


@pytest.fixture
def dana(place: Place) -> Visitor:
    place.add(DANA)
    return place.visitor(DANA)


def test_a_link_is_mailed_under_the_public_address_and_kept_nowhere(
    place: Place, mail_server: MailServer, dana: Visitor
) -> None:
    shown = invite(dana)
    link = link_in(shown)
    assert link.startswith(f"{PUBLIC}/join/")
    assert f"The mail server took a mail with it to {KIM}." in shown.text
    (mail,) = mail_server.received
    assert mail.recipients == (KIM,)
    assert mail.message["Subject"] == "Choose your password for tailrace (Acme)"
    for kind in ("plain", "html"):
        assert link in mail.part(kind)
        assert "until 2027-01-22 08:00 UTC" in " ".join(mail.part(kind).split())
    assert "<a" not in mail.part("html")
    # Managers read kept mails, and would get into an admin's account.
    assert Mails(place.engine, place.site.clock).newest() == []
    stored = b"".join(
        one.read_bytes() for one in place.site.folder.path.rglob("*") if one.is_file()
    )
    assert link.rpartition("/")[2].encode() not in stored


def test_a_mail_that_the_server_does_not_take_is_said_and_the_link_holds(
    place: Place, mail_server: MailServer, dana: Visitor
) -> None:
    mail_server.answers[KIM] = "550 no such mailbox"
    shown = invite(dana)
    assert "It was not mailed." in shown.text
    assert "550 no such mailbox" in shown.text
    assert "Copy it and hand it over" in shown.text
    join(place.visitor(), path_in(shown))


def test_an_address_that_no_mail_can_name_is_said_and_the_link_holds(
    place: Place, mail_server: MailServer, dana: Visitor
) -> None:
    invite(dana)
    # As an earlier release took it.
    stored = "=?utf-8?q?kim?=@acme.example"
    with writing(place.engine) as connection:
        values = {"email": stored, "email_folded": stored}
        connection.execute(person.update().where(person.c.email == KIM).values(values))
    shown = dana.post(f"{PEOPLE}/link", {"email": stored}, status=200)
    assert f"It was not mailed. Cannot write a mail to {stored}: no mail can name" in shown.text
    assert "Copy it and hand it over" in shown.text
    assert len(mail_server.received) == 1
    join(place.visitor(), path_in(shown))


@pytest.mark.parametrize("settings", [""], indirect=True)
def test_without_a_public_address_nothing_is_mailed(
    place: Place, mail_server: MailServer, dana: Visitor
) -> None:
    shown = dana.post(
        PEOPLE, {"email": KIM, "role": "viewer"}, status=200, headers={"Host": "evil.example"}
    )
    # The page's own reader is told what their browser asked for, and nobody else is.
    assert link_in(shown).startswith("http://evil.example/join/")
    assert "set public_url" in shown.text
    assert mail_server.received == []


def test_nobodys_mailbox_is_filled(place: Place, mail_server: MailServer, dana: Visitor) -> None:
    invite(dana)
    for _ in range(ALLOWED - 1):
        dana.post(f"{PEOPLE}/link", {"email": KIM}, status=200)
    shown = dana.post(f"{PEOPLE}/link", {"email": KIM}, status=200)
    assert "too many were of late" in shown.text
    assert len(mail_server.received) == ALLOWED
    join(place.visitor(), path_in(shown))
    # Others get theirs.
    invite(dana, "lee@acme.example")
    assert len(mail_server.received) == ALLOWED + 1
