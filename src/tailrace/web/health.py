"""How a destination does, in one word that is tied to the promise: an hour is out within one hour.

Pure; the same word stands in the list, in the tiles and in the title's pill.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from tailrace.clock import MICROS
from tailrace.hours import HOUR_MICROS, Hour
from tailrace.notify.amounts import counted, micros_between, moment
from tailrace.state.delivery import AUTOMATIC, OWED_STATES, Destination
from tailrace.state.hours_read import KnownHourOf

HealthWord = Literal[
    "Setting up", "Healthy", "Catching up", "Late", "Retrying", "Needs you", "Paused"
]
Tone = Literal["ok", "warn", "bad", "busy", "quiet"]

# The promise, and what is so soon after an hour's end that nobody asks.
PROMISED_MICROS = HOUR_MICROS
SOON_MICROS = 15 * 60 * MICROS
# Something went out so lately: what is owed gets less.
LATELY_MICROS = 10 * 60 * MICROS

_TONES: dict[HealthWord, Tone] = {
    "Setting up": "quiet",
    "Healthy": "ok",
    "Catching up": "busy",
    "Late": "warn",
    "Retrying": "warn",
    "Needs you": "bad",
    "Paused": "quiet",
}
# What needs a person comes first in a list.
NEED: tuple[HealthWord, ...] = (
    "Needs you", "Late", "Retrying", "Catching up", "Setting up", "Paused", "Healthy",
)  # fmt: skip


class Owed(msgspec.Struct, frozen=True):
    """What a destination is owed of closed hours: how many, with how many lines, the oldest."""

    hours: int
    lines: int
    oldest: Hour | None
    retrying: int
    stuck: int


class Health(msgspec.Struct, frozen=True):
    """A destination's state in a word, its colour, and a sentence about it."""

    word: HealthWord
    tone: Tone
    sentence: str


def owed_of(known: Sequence[KnownHourOf]) -> Owed:
    """Count the closed hours that automatic exports still have to bring."""
    owed = [
        (one, states)
        for one in known
        if one.sealed
        and (
            states := {
                run.state
                for run in one.runs
                if run.manual_export == AUTOMATIC and run.state in OWED_STATES
            }
        )
    ]
    return Owed(
        hours=len(owed),
        lines=sum(one.lines for one, _ in owed),
        oldest=owed[0][0].hour if owed else None,
        retrying=sum("retrying" in states for _, states in owed),
        stuck=sum(bool({"failed", "conflict"} & states) for _, states in owed),
    )


def health(
    destination: Destination, known: Sequence[KnownHourOf], now_micros: int, paused_by: str = ""
) -> Health:
    """Return how a destination does. `known` are its last hours, oldest first."""
    owed = owed_of(known)
    word, sentence = _word(destination, known, owed, now_micros, paused_by)
    return Health(word, _TONES[word], sentence)


def _word(
    destination: Destination,
    known: Sequence[KnownHourOf],
    owed: Owed,
    now: int,
    paused_by: str,
) -> tuple[HealthWord, str]:
    waits = f"{counted(owed.hours, 'hour')} {'waits' if owed.hours == 1 else 'wait'}"
    if destination.state == "setting_up":
        return "Setting up", "its access is not verified yet"
    if destination.state == "paused":
        by = f" by {paused_by}" if paused_by else ""
        since = "" if destination.paused_micros is None else moment(destination.paused_micros)
        return "Paused", f"since {since}{by}; {waits}" if since else waits
    if destination.outage_since_micros is not None:
        since = micros_between(destination.outage_since_micros, now)
        return "Needs you", f"nothing goes out for {since}; {waits}"
    if owed.stuck:
        return "Needs you", f"{counted(owed.stuck, 'hour')} can't go out without a person"
    if owed.retrying:
        return "Retrying", f"{counted(owed.retrying, 'hour')} will be tried again"
    if owed.oldest is None or now - owed.oldest.end_micros < SOON_MICROS:
        return "Healthy", "every closed hour is out"
    if now - owed.oldest.end_micros > PROMISED_MICROS and not _went_out_lately(known, now):
        return "Late", f"{waits}, longer than promised"
    return "Catching up", f"{waits} for {'its' if owed.hours == 1 else 'their'} turn"


def _went_out_lately(known: Sequence[KnownHourOf], now: int) -> bool:
    return any(
        run.state == "success" and now - (run.finished_micros or 0) < LATELY_MICROS
        for one in known
        for run in one.runs
    )
