"""The mails that the documentation shows are those that the code makes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tailrace.clock import MICROS
from tailrace.export.answers import PUT_DENIED
from tailrace.hours import Hour
from tailrace.notify.conflict_letter import conflict_letter
from tailrace.notify.letter import Letter, as_text
from tailrace.notify.outage_letters import (
    Facing,
    all_clear_letter,
    outage_letter,
    reminder_letter,
)
from tailrace.notify.room import Room
from tailrace.notify.to_add import to_add
from tailrace.state.conflicts import InConflict
from tailrace.state.delivery import Cause, Destination
from tailrace.state.outage_history import Outage
from tailrace.state.owed import Owed

PAGE = Path(__file__).resolve().parents[2] / "docs" / "mail.md"
BEGAN = Hour.parse("2026-11-23T14").start_micros + 38 * 60 * MICROS
DAY = 24 * 3600 * MICROS


@pytest.fixture
def facing(make_destination: Callable[..., Destination]) -> Facing:
    destination = make_destination(
        "acme-events",
        id=3,
        region="eu-west-1",
        prefix="amplitude/",
        access_key_id=None,
        secret_encrypted=None,
        endpoint_url=None,
    )
    cause = Cause(
        kind="access",
        code="AccessDenied",
        sentence="Cannot write to s3://acme-events/amplitude/_tailrace/access-check-3: the store "
        "answered 403 AccessDenied to PutObject, PutObject was refused.",
        fix=PUT_DENIED.fix.format(permission="s3:PutObject"),
        permission="s3:PutObject",
        call="PutObject",
        key="amplitude/_tailrace/access-check-3",
        status=403,
        request_id="7Q2F0C5B1B9E4D21",
        missing_actions=("s3:PutObject",),
    )
    return Facing(
        destination=destination,
        project="Shop",
        organization="Acme",
        outage=Outage(1, 3, BEGAN, None, None, cause, True),
        owed=Owed(2, Hour.parse("2026-11-23T13"), 58302, 0, 12_300_000),
        room=Room(600 * 10**9, 596 * 10**9, 14 * 10**9, 86400, 0, 0),
        to_add=to_add(destination, cause, "arn:aws:iam::111122223333:role/tailrace"),
        now_micros=BEGAN + 10 * MICROS,
    )


def shown(letter: Letter) -> str:
    return f"Subject: {letter.subject}\n\n{as_text(letter)}"


def ended(facing: Facing) -> Facing:
    outage = msgspec.structs.replace(facing.outage, ended_micros=BEGAN + 2 * 3600 * MICROS)
    none = Owed(0, None, 0, 0, 0)
    return msgspec.structs.replace(facing, outage=outage, owed=none, now_micros=BEGAN + DAY)


def test_the_page_shows_the_mails_as_they_are(facing: Facing) -> None:
    blocks = re.findall(r"^```text\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    mails = [block for block in blocks if block.startswith("Subject: ")]
    keys = tuple(f"amplitude/187520/187520_2026-11-23_{hour}#1.json.gz" for hour in (13, 14))
    conflict = conflict_letter(facing.destination, InConflict(3, 2, keys))
    letters = (outage_letter(facing), all_clear_letter(ended(facing)), conflict)
    assert mails == [shown(letter) for letter in letters]


def test_a_reminder_says_for_how_long_access_has_been_refused(facing: Facing) -> None:
    made = reminder_letter(msgspec.structs.replace(facing, now_micros=BEGAN + 3 * DAY))
    text = " ".join(as_text(made).split())
    assert "For 3 days, tailrace has not been able to deliver to the bucket acme-events." in text
    assert "Missing s3:PutObject" in text
    assert '"Action": [ "s3:PutObject" ]' in text
    assert made.subject.startswith(
        "Access to acme-events is still refused (Amazon S3, destination 3): "
    )


@pytest.mark.parametrize(
    ("principal", "command"),
    [
        ("arn:aws:iam::111122223333:role/tailrace", "tailrace policy 3 tailrace tries again"),
        ("", "tailrace policy 3 --principal ARN-OF-THE-USER tailrace tries again"),
    ],
)
def test_the_command_for_the_whole_policy_asks_for_who_is_not_known(
    facing: Facing, principal: str, command: str
) -> None:
    added = to_add(facing.destination, facing.outage.cause, principal)
    text = as_text(outage_letter(msgspec.structs.replace(facing, to_add=added)))
    assert command in " ".join(text.split())


def test_several_missing_permissions_are_named_in_one_sentence(facing: Facing) -> None:
    cause = msgspec.structs.replace(
        facing.outage.cause, missing_actions=("s3:ListBucket", "s3:PutObject", "s3:DeleteObject")
    )
    outage = msgspec.structs.replace(facing.outage, cause=cause)
    made = outage_letter(msgspec.structs.replace(facing, outage=outage))
    text = " ".join(as_text(made).split())
    assert "s3:ListBucket, s3:PutObject and s3:DeleteObject are missing. Add them" in text
    assert made.subject.endswith("3 permissions are missing")


@pytest.mark.parametrize(
    ("missing", "where"),
    [
        (("s3:PutObject", "kms:Decrypt"), "the policies of bucket and key,"),
        (("kms:GenerateDataKey", "kms:Decrypt"), "the policy of the key,"),
    ],
)
def test_what_is_missing_of_a_key_is_added_to_its_policy(
    facing: Facing, missing: tuple[str, ...], where: str
) -> None:
    cause = msgspec.structs.replace(
        facing.outage.cause, permission=missing[0], missing_actions=missing
    )
    outage = msgspec.structs.replace(facing.outage, cause=cause)
    text = as_text(outage_letter(msgspec.structs.replace(facing, outage=outage)))
    assert f"are missing. Add them to {where}" in " ".join(text.split())


def test_a_cause_without_a_permission_has_its_own_fix_and_nothing_to_add(facing: Facing) -> None:
    cause = Cause("access", "NoSuchBucket", "There is no such bucket.", "Create it again.")
    outage = msgspec.structs.replace(facing.outage, cause=cause)
    made = outage_letter(msgspec.structs.replace(facing, outage=outage, to_add=()))
    text = as_text(made)
    assert "What to do\n----------\n\nCreate it again.\n\ntailrace tries again" in text
    assert "Missing" not in text
    assert "What the store answered" not in text
    assert made.subject.endswith("(Amazon S3, destination 3): NoSuchBucket")


@pytest.mark.parametrize(
    ("owed", "line"),
    [
        (Owed(0, None, 0, 0, 0), "Hours  none that is closed yet"),
        (Owed(1, Hour(0), 1, 2, 999), "Hours       1, with 1 event and 2 merged IDs, 999 bytes"),
    ],
)
def test_what_waits_is_said_in_numbers(facing: Facing, owed: Owed, line: str) -> None:
    assert line in as_text(outage_letter(msgspec.structs.replace(facing, owed=owed)))


@pytest.mark.parametrize(
    ("room", "words"),
    [
        (Room(9, 0, 5, 0, 2, 2), "Room        none: uploads are refused with 503 until there is"),
        (Room(9, 5 * 10**9, 0, 3600, 0, 0), "Room        5.0 GB, and the disk hardly fills"),
        (Room(9, 10, 40, 86400, 0, 0), "Room        for 6 hours at the rate of the last day"),
        (Room(9, 10, 40, 82800, 0, 0), "Room        for 6 hours at the rate of the last day"),
        (
            Room(9, 10, 5, 7200, 0, 0),
            "Room        for 4 hours at the rate of 2 hours of the last day",
        ),
        (Room(9, 10**6, 5, 3599, 0, 0), "Room        1.0 MB; for how long is not known yet"),
    ],
)
def test_room_is_said_in_time(facing: Facing, room: Room, words: str) -> None:
    assert words in as_text(outage_letter(msgspec.structs.replace(facing, room=room)))


@pytest.mark.parametrize(
    ("hours", "words"),
    [(1, "Of what waited, one hour is still on the way."), (7, "7 hours are still on the way.")],
)
def test_an_all_clear_says_what_is_on_its_way(facing: Facing, hours: int, words: str) -> None:
    at = msgspec.structs.replace(ended(facing), owed=Owed(hours, Hour(0), 1, 0, 1))
    assert words in as_text(all_clear_letter(at))


def test_names_that_people_chose_change_no_mail(facing: Facing) -> None:
    bad = "Acme\r\nBcc: eve@evil.example\n\n<b>"
    at = msgspec.structs.replace(facing, project=bad, organization=bad)
    text = as_text(outage_letter(at))
    assert "\nBcc" not in text
    assert "Acme Bcc: eve@evil.example <b> (187520)" in text.replace("\n                ", " ")
