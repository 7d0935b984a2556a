"""View values of the failure page: what is wrong since when, what is safe, who said what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from tailrace.app.failures import Failure
from tailrace.clock import MICROS, to_datetime
from tailrace.notify.amounts import counted, duration, micros_between, moment, size
from tailrace.notify.outage_mails import DAY_MICROS
from tailrace.notify.room import Room, room_words
from tailrace.state.delivery import Cause, Destination, Try
from tailrace.state.mails import Mail
from tailrace.state.owed import Owed

Tone = Literal["ok", "warn", "bad"]
Facts = tuple[tuple[str, str], ...]

# Less than this, and the page begins with it.
ROOM_SECONDS_MIN = 24 * 3600
TRIES_SHOWN_MAX = 10


class Heading(msgspec.Struct, frozen=True):
    """The title, its pill, and the line below them."""

    title: str
    pill: str
    tone: Tone
    line: str


class Mailed(msgspec.Struct, frozen=True):
    """A mail about the failure. `whom` names addresses only to those who may see them."""

    subject: str
    made: str
    whom: str


def heading(failure: Failure, owed: Owed, now_micros: int) -> Heading:
    """Return what the page is headed with, while the failure lasts and after it."""
    if failure.ended_micros is not None:
        lasted = micros_between(failure.began_micros, failure.ended_micros)
        return Heading(
            "Access is back",
            "Mended",
            "ok",
            f"It was refused from {moment(failure.began_micros)} for {lasted}.",
        )
    hours = owed.hours if failure.outage else len({one.hour for one in failure.runs})
    parts = [
        f"Since {moment(failure.began_micros)}, {micros_between(failure.began_micros, now_micros)}",
        f"{counted(hours, 'hour')} affected",
        *((counted(failure.attempts, "try").replace("trys", "tries"),) if failure.attempts else ()),
    ]
    pill, tone = _pill(failure)
    title = failure.cause.title or "tailrace can't deliver to this bucket"
    return Heading(title, pill, tone, " · ".join(parts))


def to_try(failure: Failure) -> str:
    """Return what *Try now* would do; empty where it would do nothing."""
    if not failure.hours_to_try:
        return ""
    many = "the hour that waits"
    if failure.hours_to_try > 1:
        many = f"the {failure.hours_to_try:,} hours that wait"
    if failure.next_try_micros:
        return f"Try now tries {many} at once and does not wait until {_of_day(failure)}."
    return f"Try now tries {many} at once."


def over(destination: Destination, owed: Owed) -> str:
    """Return what became of what waited, once access is back."""
    if owed.hours == 0:
        return "All that waited is delivered."
    if destination.state == "paused":
        return (
            "What is exported by hand goes out now; the rest once automatic exports are on again."
        )
    if owed.hours == 1:
        return "The one hour that waited is going out now."
    return f"The {owed.hours:,} hours that waited are going out now."


def safe(failure: Failure, owed: Owed, room: Room) -> Facts:
    """Return what waits and where it is."""
    waits = "none that is closed yet"
    if owed.hours:
        counts = [counted(owed.events, "event")]
        if owed.merged_ids:
            counts.append(counted(owed.merged_ids, "merged ID"))
        waits = f"{counted(owed.hours, 'hour')}, {' and '.join(counts)}, {size(owed.size_bytes)}"
    others = "go out meanwhile"
    if failure.outage is not None:
        others = "are closed and kept as ever, and go out together once access is back"
    return (
        ("Waiting", waits),
        ("Where", "sealed and checksummed on tailrace's disk"),
        ("Room", room_words(room)),
        ("Other hours", others),
    )


def at_risk(room: Room) -> bool:
    """Tell whether so little room is left that something may be lost within a day."""
    left = room.seconds_left
    return left is not None and left < ROOM_SECONDS_MIN


def missing_facts(
    destination: Destination,
    principal_arn: str,
    last_success_micros: int | None,
    missing: Sequence[str],
) -> Facts:
    """Return who lacks it, or as whom it was tried if nothing is missing; and when it worked."""
    return (
        ("Who lacks it" if missing else "Tried as", _identity(destination, principal_arn)),
        (
            "Last worked",
            "never" if last_success_micros is None else moment(last_success_micros),
        ),
    )


def tries(failure: Failure) -> tuple[tuple[str, str, str, str], ...]:
    """Return the newest run's last tries: when, how long, its end, and the wait until the next."""
    if not failure.runs:
        return ()
    newest = failure.runs[0].tries[-TRIES_SHOWN_MAX:]
    return tuple(
        (_second(one.began_micros), _took(one), _ended(one), _wait(one, following))
        for one, following in zip(newest, (*newest[1:], None), strict=True)
    )


def as_lines(head: Heading, cause: Cause, shown: Sequence[tuple[str, str, str, str]]) -> str:
    """Return the evidence as text that somebody else can read."""
    lines = [head.title, head.line, "", cause.sentence, cause.fix, ""]
    lines += [f"{name}: {value}" for name, value in cause.evidence]
    lines += [f"{began} UTC  {took}  {ended}" for began, took, ended, _ in shown]
    return "\n".join(lines) + "\n"


def mailed(mails: Sequence[Mail], *, names: bool) -> tuple[Mailed, ...]:
    """Return the mails about a failure, the newest first."""
    return tuple(
        Mailed(one.subject, moment(one.made_micros), _whom(one, names=names)) for one in mails
    )


def next_mail(failure: Failure, mails: Sequence[Mail]) -> str:
    """Return when somebody is told again; empty where nobody will be."""
    if failure.outage is None or failure.ended_micros is not None:
        return ""
    if not mails:
        return "The organization's admins and whoever added the destination are mailed soon."
    return f"The next reminder goes out after {moment(mails[0].made_micros + DAY_MICROS)}."


def _pill(failure: Failure) -> tuple[str, Tone]:
    if failure.under_way:
        return "Being tried now", "warn"
    if failure.needs == "you":
        return "Needs you", "bad"
    if failure.needs == "operator":
        return "Needs whoever runs tailrace", "bad"
    if failure.next_try_micros is None:
        return "Waits", "warn"
    return f"Will retry at {_of_day(failure)}", "warn"


def _of_day(failure: Failure) -> str:
    return f"{to_datetime(failure.next_try_micros or 0):%H:%M} UTC"


def _identity(destination: Destination, principal_arn: str) -> str:
    if destination.role_arn is not None:
        return destination.role_arn
    if destination.access_key_id is not None:
        return f"the user whose access key is {destination.access_key_id}"
    return principal_arn or "the role or user that tailrace runs as"


def _whom(mail: Mail, *, names: bool) -> str:
    if not mail.recipients:
        return "nobody: no address is known"
    if not names:
        return counted(len(mail.recipients), "person").replace("persons", "people")
    return ", ".join(f"{one.address} ({one.state})" for one in mail.recipients)


def _second(micros: int) -> str:
    return f"{to_datetime(micros):%Y-%m-%d %H:%M:%S}"


def _took(one: Try) -> str:
    if one.ended_micros is None:
        return "not known"
    return f"{(one.ended_micros - one.began_micros) / MICROS:.1f} s"


def _ended(one: Try) -> str:
    if one.cause is None:
        return one.outcome
    return f"{one.cause.status or ''} {one.cause.code}".strip()


def _wait(one: Try, following: Try | None) -> str:
    if following is None or one.ended_micros is None:
        return ""
    return duration((following.began_micros - one.ended_micros) / MICROS)
