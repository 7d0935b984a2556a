"""Automatic exports off and on, as the command line and the pages both do it (R29).

What was missed is listed first; on resuming it is owed, but for what a person leaves out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

import msgspec

from tailrace.errors import BadRequest
from tailrace.export.ranges import hours_of
from tailrace.export.verify import ClientSource, Told, Verification, nobody, verify
from tailrace.hours import Hour
from tailrace.state.delivery import DataType, Destination
from tailrace.state.destinations import Destinations
from tailrace.state.switching import LeftOut, MissedHour

ALL = "all"

_FIELD = "hours to leave out"
_DAY_HOURS = 24


class MissedRange(msgspec.Struct, frozen=True):
    """Successive missed hours of one data type; both ends are included."""

    data_type: DataType
    first: Hour
    last: Hour
    hours: int
    files: int
    lines: int
    size_bytes: int


class Missed(msgspec.Struct, frozen=True):
    """What a destination missed while it was paused, and what it owes besides."""

    destination: Destination
    hours: tuple[MissedHour, ...]
    owed: int

    @property
    def ranges(self) -> tuple[MissedRange, ...]:
        """The missed hours joined where they follow one another."""
        return joined(self.hours)


class Resumed(msgspec.Struct, frozen=True):
    """How a resumption ended; unless every probe passed, the destination is still paused.

    `missed` is what was missed, `left_out` how many hours of it will not go out by themselves, and
    `owed` counts all automatic runs that the destination owes now.
    """

    destination: Destination
    verification: Verification
    missed: tuple[MissedRange, ...]
    left_out: int
    owed: int


def pause(destinations: Destinations, destination_id: int) -> Missed:
    """Switch automatic exports off; what is owed stays owed and waits."""
    destinations.pause(destination_id)
    return missed(destinations, destination_id)


def missed(destinations: Destinations, destination_id: int) -> Missed:
    """Return what resuming a paused destination would owe; change nothing."""
    destination = destinations.get(destination_id)
    if destination.state != "paused":
        raise BadRequest(
            f"Cannot resume destination {destination_id}: it is "
            f"{destination.state.replace('_', ' ')}, not paused."
        )
    hours = tuple(destinations.missed(destination_id))
    return Missed(destination, hours, destinations.owed_runs(destination_id))


def resume(
    destinations: Destinations,
    clients: ClientSource,
    destination_id: int,
    leave_out: Sequence[str] = (),
    told: Told = nobody,
) -> Resumed:
    """Probe a paused destination and switch its automatic exports on if every probe passes.

    All missed hours go out (D21), but for those to `leave_out`: dates, hours, ranges of them with
    two dots, or `all`. Raise `BadRequest` for what can't be read or names no missed hour, and for a
    destination that is not paused. `told` hears of each probe.
    """
    before = missed(destinations, destination_id)
    ranges = tuple(_left_out(before.hours, leave_out))
    # Probes write: not into what may have become another organization's meanwhile.
    destinations.refuse_bucket(before.destination)
    found = verify(before.destination, clients, told)
    count = 0
    if found.passed:
        count = sum(_is_in(hour, ranges) for hour in before.hours)
        destinations.resume(before.destination, found.capabilities, left_out=ranges)
    return Resumed(
        destination=destinations.get(destination_id),
        verification=found,
        missed=before.ranges,
        left_out=count,
        owed=destinations.owed_runs(destination_id),
    )


def _left_out(missed: Sequence[MissedHour], texts: Sequence[str]) -> Iterator[LeftOut]:
    for text in texts:
        if text == ALL:
            first, until = Hour(0), max((one.hour for one in missed), default=Hour(0)).next()
        else:
            first, until = _range(text)
        types = {one.data_type for one in missed if first <= one.hour < until}
        if not types and text != ALL:
            raise BadRequest(f"The {_FIELD} {text}: no hour of these was missed.")
        for data_type in sorted(types):
            yield LeftOut(data_type, first, until)


def _range(text: str) -> tuple[Hour, Hour]:
    begin, dots, end = text.partition("..")
    first, _ = hours_of(_FIELD, begin)
    last, whole_day = hours_of(_FIELD, end if dots else begin)
    until = last.plus(_DAY_HOURS if whole_day else 1)
    if until <= first:
        raise BadRequest(f"The {_FIELD} {text}: name the earlier end first.")
    return first, until


def _is_in(missed: MissedHour, ranges: Sequence[LeftOut]) -> bool:
    return any(
        one.data_type == missed.data_type and one.first <= missed.hour < one.until for one in ranges
    )


def joined(hours: Sequence[MissedHour]) -> tuple[MissedRange, ...]:
    """Join missed hours where they follow one another."""
    return tuple(_joined(hours))


def _joined(hours: Sequence[MissedHour]) -> Iterator[MissedRange]:
    ordered = sorted(hours, key=lambda one: (one.data_type, one.hour))
    # Hours that follow one another keep the same distance to their place in the list.
    numbered = enumerate(ordered)
    for _, group in groupby(numbered, key=lambda at: (at[1].data_type, at[1].hour.number - at[0])):
        run = [one for _, one in group]
        yield MissedRange(
            data_type=run[0].data_type,
            first=run[0].hour,
            last=run[-1].hour,
            hours=len(run),
            files=sum(one.files for one in run),
            lines=sum(one.lines for one in run),
            size_bytes=sum(one.size_bytes for one in run),
        )
