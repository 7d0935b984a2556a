"""What the mails of an outage say: that it began, that it lasts, that it is over.

The words about the cause are those of the diagnosis table, as in every other place.
"""

from __future__ import annotations

import msgspec

from tailrace.hours import hour_label
from tailrace.notify.amounts import counted, micros_between, moment, size
from tailrace.notify.letter import Code, Facts, Heading, Letter, Paragraph, Part, Small
from tailrace.notify.room import Room, room_words
from tailrace.notify.to_add import ToAdd, missing_actions
from tailrace.state.delivery import Cause, Destination
from tailrace.state.outage_history import Outage
from tailrace.state.owed import Owed


class Facing(msgspec.Struct, frozen=True):
    """What an outage looks like at the moment in which its mail is made.

    `project` and `organization` are names; `now_micros` is the service's time.
    """

    destination: Destination
    project: str
    organization: str
    outage: Outage
    owed: Owed
    room: Room
    to_add: tuple[ToAdd, ...]
    now_micros: int


def outage_letter(at: Facing) -> Letter:
    """Return the first mail of an outage."""
    bucket, which = at.destination.bucket, _which(at)
    subject = f"Access to {bucket} is refused ({which}): {_short(at.outage.cause)}"
    opening = (
        f"tailrace cannot deliver to the bucket {bucket} any more. No event is lost: every hour "
        "waits on tailrace's disk, and goes out by itself once access is back."
    )
    return Letter(subject, _refused(at, opening))


def reminder_letter(at: Facing) -> Letter:
    """Return the mail that follows every 24 hours while access is refused."""
    bucket, which = at.destination.bucket, _which(at)
    lasted = micros_between(at.outage.began_micros, at.now_micros)
    short = _short(at.outage.cause)
    subject = f"Access to {bucket} is still refused ({which}): {short}"
    opening = (
        f"For {lasted}, tailrace has not been able to deliver to the bucket {bucket}. No event is "
        "lost: every hour waits on tailrace's disk, and goes out by itself once access is back."
    )
    return Letter(subject, _refused(at, opening))


def all_clear_letter(at: Facing) -> Letter:
    """Return the mail that says that an outage is over."""
    bucket, which = at.destination.bucket, _which(at)
    ended = at.outage.ended_micros or at.now_micros
    lasted = micros_between(at.outage.began_micros, ended)
    waits = "All that waited is delivered."
    if at.owed.hours:
        waits = f"Of what waited, {counted(at.owed.hours, 'hour')} are still on the way."
        if at.owed.hours == 1:
            waits = "Of what waited, one hour is still on the way."
    return Letter(
        f"Access to {bucket} is back ({which})",
        (
            Paragraph(f"tailrace delivers to the bucket {bucket} again. There is nothing to do."),
            Facts(
                (
                    *_place(at),
                    ("Refused", f"{moment(at.outage.began_micros)} to {moment(ended)}, {lasted}"),
                )
            ),
            Paragraph(waits),
            Small(f"Sent to {_readers(at)}."),
        ),
    )


def _refused(at: Facing, opening: str) -> tuple[Part, ...]:
    cause = at.outage.cause
    missing = missing_actions(cause)
    facts = [*_place(at), ("Refused since", moment(at.outage.began_micros))]
    if missing:
        facts.append(("Missing", ", ".join(missing)))
    return (
        Paragraph(opening),
        Facts(tuple(facts)),
        Heading("What is wrong"),
        Paragraph(cause.sentence),
        Heading("What to do"),
        *_fix(at, missing),
        Paragraph(
            "tailrace tries again every 15 minutes. Whoever runs it can have it try at once: "
            f"tailrace verify {at.destination.id}"
        ),
        Heading("What waits"),
        _what_waits(at),
        *_evidence(cause),
        Small(
            f"Sent to {_readers(at)}. While access is refused, another mail follows every 24 "
            "hours; one more tells that it is back."
        ),
    )


def _which(at: Facing) -> str:
    return f"{at.destination.name}, destination {at.destination.id}"


def _place(at: Facing) -> tuple[tuple[str, str], ...]:
    found = at.destination
    return (
        ("Destination", f"{found.name} ({found.id}), s3://{found.bucket}/{found.prefix}"),
        *((("Store", found.endpoint_url),) if found.endpoint_url else ()),
        ("Project", f"{at.project} ({found.project}) of {at.organization}"),
    )


def _fix(at: Facing, missing: tuple[str, ...]) -> list[Part]:
    cause = at.outage.cause
    fix = cause.fix
    if len(missing) > 1 and cause.permission is not None:
        fix = (
            f"{' and '.join(filter(None, [', '.join(missing[:-1]), missing[-1]]))} are missing. "
            f"Add them to {_policies(missing)}, without a Deny against them."
        )
    parts: list[Part] = [Paragraph(fix)]
    for one in at.to_add:
        parts.append(Paragraph(f"Add this to {one.where}{_console(at, one)}:"))
        parts.append(Code(one.json))
    if at.to_add:
        parts.append(
            Paragraph(f"For the whole policy ask whoever runs tailrace: {_whole_policy(at)}")
        )
    return parts


def _policies(missing: tuple[str, ...]) -> str:
    of_key = tuple(one for one in missing if one.startswith("kms:"))
    if not of_key:
        return "the policy of the bucket"
    return "the policy of the key" if of_key == missing else "the policies of bucket and key"


def _console(at: Facing, one: ToAdd) -> str:
    """Return where it goes, and where AWS's console has the policy of a bucket."""
    beside = ', beside what is in its "Statement"'
    if at.destination.endpoint_url or not one.where.startswith("the policy of the bucket "):
        return beside
    return f"{beside} (console of S3: Permissions, Bucket policy, Edit)"


def _whole_policy(at: Facing) -> str:
    whose = "" if all(one.named for one in at.to_add) else " --principal ARN-OF-THE-USER"
    return f"tailrace policy {at.destination.id}{whose}"


def _what_waits(at: Facing) -> Facts:
    waits = at.owed
    rows = [("Hours", "none that is closed yet")]
    if waits.oldest is not None:
        counts = [counted(waits.events, "event")]
        if waits.merged_ids:
            counts.append(counted(waits.merged_ids, "merged ID"))
        rows = [
            ("Hours", f"{waits.hours:,}, with {' and '.join(counts)}, {size(waits.size_bytes)}"),
            ("The oldest", hour_label(waits.oldest)),
        ]
    return Facts((*rows, ("Room", room_words(at.room))))


def _evidence(cause: Cause) -> tuple[Part, ...]:
    if cause.call is None:
        return ()
    known = cause.evidence
    return Heading("What the store answered"), Facts(known)


def _short(cause: Cause) -> str:
    missing = missing_actions(cause)
    if len(missing) == 1:
        return f"{missing[0]} is missing"
    if missing:
        return f"{len(missing)} permissions are missing"
    return cause.code


def _readers(at: Facing) -> str:
    return f"the admins of {at.organization} and to whoever added the destination"
