"""A message names each address that anybody may have, and every subject as it was given."""

from __future__ import annotations

from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tailrace.accounts.addresses import checked_address
from tailrace.errors import BadRequest, MailServerTrouble
from tailrace.mailbox import is_mailbox
from tailrace.notify.message import Outgoing, message_of

SENDER = "exports@tailrace.example"

# Every character that a local part may have.
CHARACTERS = "aZ09!#$%&'*+/=?^_`{|}~-."
# Pieces of encoded words, which the characters alone seldom make.
PIECES = ("=?", "?=", "?q?", "?b?", "utf-8", "a", ".", "_")

local_parts = st.one_of(
    st.text(CHARACTERS, min_size=1, max_size=64),
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).map("".join),
)


# What people name things; single blanks between words, as in every subject that is made.
words = st.one_of(
    st.sampled_from(["acme", "(Amazon", "S3,", "3):", "Zürich", "日本語", "é", "=?utf-8?q?x?="]),
    st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=70),
    st.text("xü", min_size=55, max_size=150),
)
subjects = st.lists(words, min_size=1, max_size=12).map(" ".join)


def wire(*to: str, subject: str = "Access is refused") -> bytes:
    out = Outgoing(
        to=to,
        subject=subject,
        text="Text.\n",
        html="<p>Text.</p>\n",
        made_micros=1_800_000_000_000_000,
        message_id="<tailrace.00@tailrace.example>",
    )
    return message_of(out, SENDER).as_bytes()


def parsed(data: bytes) -> EmailMessage:
    message = message_from_bytes(data, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


@settings(deadline=None)
@given(st.lists(local_parts, min_size=1, max_size=4))
@example(["=?utf-8?q?x?="])
@example(["=?utf-8?b?!!?=", "ann"])
def test_a_message_names_every_address_that_a_person_may_have(locals_: list[str]) -> None:
    addresses = []
    for local in locals_:
        try:
            addresses.append(checked_address(f"{local}@example.com"))
        except BadRequest:
            continue
    if addresses:
        got = parsed(wire(*addresses))["To"].addresses
        assert [one.addr_spec for one in got] == addresses


@pytest.mark.parametrize(
    "address",
    ["=?utf-8?q?x?=@example.com", "=?x?q?a?=@example.com", "ann@", "ann@b@c", "", "ä@example.com"],
)
def test_an_address_that_no_message_can_name_is_told_as_that(address: str) -> None:
    assert not is_mailbox(address)
    with pytest.raises(MailServerTrouble, match="no mail can name this address") as raised:
        wire("ann@example.com", address)
    assert raised.value.step == "recipient"
    assert raised.value.for_good


@settings(deadline=None)
@given(subjects)
@example("Access to Überwachung der Anlagen in Köln ist verweigert (Zürich, destination 3)")
@example("Access to acme-events-of-all-the-shops-in-europe is refused (destination 3)")
@example("=?utf-8?q?x?= is refused")
@example("x" * 150)
def test_a_subject_comes_out_as_it_was_given(subject: str) -> None:
    data = wire("ann@example.com", subject=subject)
    assert str(parsed(data)["Subject"]) == subject
    assert data == wire("ann@example.com", subject=subject)
    header = data[data.index(b"Subject:") : data.index(b"Date:")]
    assert header.isascii()
    assert max(len(line) for line in header.split(b"\r\n")) <= 76
    # Programs that show the blank at a fold show none before the first word.
    assert header.split(b"\r\n")[0] != b"Subject:"


def test_a_subject_of_ascii_is_readable_in_the_mails_source() -> None:
    subject = "Access to acme-events is refused (Amazon S3, destination 3): s3:PutObject is missing"
    folded = subject.replace("): ", "):\r\n ").encode()
    assert b"Subject: " + folded + b"\r\n" in wire("ann@example.com", subject=subject)
