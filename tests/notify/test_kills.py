"""A process that is killed makes no mail twice and loses none; what it was sending goes again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.notify.conftest import MailServer, Office

PROGRAM = Path(__file__).with_name("mailing.py")

Turn = Callable[..., subprocess.Popen[bytes]]

pytestmark = pytest.mark.slow(reason="each turn is a process of its own")


@pytest.fixture
def turn(office: Office, tmp_path: Path) -> Turn:
    """Return what starts a turn in a process of its own, with a kill point."""

    def start(kill_at: str = "") -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [
                sys.executable,
                str(PROGRAM),
                str(tmp_path / "tailrace.sqlite"),
                str(office.settings.smtp.port),
                str(office.clock.now_micros()),
            ],
            env={**os.environ, "TAILRACE_KILL_AT": kill_at},
        )

    return start


def test_a_death_before_the_commit_makes_no_mail_and_the_next_turn_makes_one(
    office: Office, mail_server: MailServer, turn: Turn
) -> None:
    office.refuse(office.active())

    assert turn("mail.before_commit").wait(60) == -signal.SIGKILL
    assert office.mails.newest() == []
    assert mail_server.received == []
    for _ in range(2):
        assert turn().wait(60) == 0

    assert office.kinds() == ["outage"]
    assert len(mail_server.received) == 1


def test_a_death_at_the_end_of_an_outage_makes_one_all_clear(
    office: Office, mail_server: MailServer, turn: Turn
) -> None:
    destination = office.active()
    office.seal(office.today)
    office.refuse(destination)
    office.notices().step()
    office.heal(destination)

    assert turn("mail.before_commit").wait(60) == -signal.SIGKILL
    for _ in range(2):
        assert turn().wait(60) == 0

    assert office.kinds() == ["outage", "all-clear"]
    assert len(mail_server.received) == 2


def test_a_death_between_commit_and_send_loses_no_mail_and_makes_none_twice(
    office: Office, mail_server: MailServer, turn: Turn
) -> None:
    """The server kills who is sending once it has the whole message, before it says so."""
    office.refuse(office.active())
    sending: list[subprocess.Popen[bytes]] = []

    def kill() -> None:
        sending[0].kill()
        sending[0].wait(60)

    mail_server.before_answer = kill
    sending.append(turn())
    assert sending[0].wait(60) == -signal.SIGKILL
    (made,) = office.mails.newest()
    assert made.state == "waiting"

    mail_server.before_answer = None
    for _ in range(2):
        assert turn().wait(60) == 0

    assert [one.id for one in office.mails.newest()] == [made.id]
    assert office.mails.get(made.id).state == "sent"
    first, second = mail_server.received
    assert first.data == second.data, "one message to whoever looks at its ID"
    assert first.message["Message-ID"] == made.message_id
