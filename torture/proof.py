"""The proof: what the buckets hold is what the clients know, event by event and hour by hour.

Each attempt carries one event of its own, the witness. So the lines say which attempts were stored,
answered or not; from these follows what every other line and every count has to be.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

import msgspec

from tailrace.clock import to_micros
from tailrace.hours import Hour
from tailrace.seal.manifest import SealRecord
from torture.attempts import Attempt, Sent
from torture.landed import Found
from torture.load import WITNESS

_Identity = tuple[int, int, int]
_AttemptKey = tuple[int, int]

# The answers after which an SDK sends again.
LATER = (408, 429, 503)
# Of each kind of fault so many are told; one defect makes thousands.
TOLD_MAX = 5


class Sums(msgspec.Struct):
    """What the proof counted, for the report."""

    attempts: int = 0
    acknowledged: int = 0
    unanswered: int = 0
    unanswered_stored: int = 0
    refused: int = 0
    accepted: int = 0
    exported: int = 0
    duplicates: int = 0
    identifies: int = 0
    merges: int = 0


class Stored(msgspec.Struct, frozen=True):
    """An attempt that was stored, as its witness tells."""

    attempt: Attempt
    upload_millis: int
    hour: Hour


def prove_project(
    project: int,
    found: Iterable[Found],
    records: dict[Hour, SealRecord],
    attempts: Iterable[Attempt],
    sums: Sums,
) -> list[str]:
    """Return every way in which a project's lines and counts are not what they have to be."""
    lines = list(found)
    known = {(a.client, a.number): a for a in attempts if a.project == project}
    faults = Faults()
    faults.tell(_wrong_places(project, lines))
    stored = _stored(lines, known, faults)
    faults.tell(_unkept(known.values(), stored))
    expected = _expected(stored.values())
    faults.tell(_wrong_lines(lines, expected, stored))
    faults.tell(_wrong_counts(project, records, lines, stored.values(), expected))
    _add_up(sums, known.values(), stored, records.values())
    return faults.told()


def millis_of(text: str) -> int:
    """Return the milliseconds since the epoch of a line's time."""
    return to_micros(datetime.fromisoformat(text).replace(tzinfo=UTC)) // 1000


class Faults:
    """What was found wrong, by kind; of each kind the first few are told."""

    def __init__(self) -> None:
        self._told: dict[str, list[str]] = defaultdict(list)
        self._counts: Counter[str] = Counter()

    def tell(self, faults: Iterable[tuple[str, str]]) -> None:
        """Take faults, each as its kind and what it is."""
        for kind, what in faults:
            self._counts[kind] += 1
            if len(self._told[kind]) < TOLD_MAX:
                self._told[kind].append(what)

    def told(self) -> list[str]:
        """Return a sentence for each kind."""
        return [
            f"{kind} ({self._counts[kind]}): {'; '.join(told)}" for kind, told in self._told.items()
        ]


def _wrong_places(project: int, lines: list[Found]) -> Iterator[tuple[str, str]]:
    uuids: set[str] = set()
    for one in lines:
        line = one.line
        if line.app != project:
            yield "line of another project", repr(line)
        if Hour.of_micros(millis_of(line.server_upload_time) * 1000) != one.hour:
            yield "line in another hour than its server_upload_time", f"{one.hour} {line}"
        if line.uuid in uuids:
            yield "uuid used twice", repr(line)
        uuids.add(line.uuid)


def _stored(
    lines: list[Found], known: dict[_AttemptKey, Attempt], faults: Faults
) -> dict[_AttemptKey, Stored]:
    stored: dict[_AttemptKey, Stored] = {}
    for one in lines:
        properties = one.line.event_properties
        if properties.index != WITNESS:
            continue
        key = properties.client, properties.attempt
        attempt = known.get(key)
        if attempt is None:
            faults.tell([("line that nobody sent", repr(one.line))])
        elif key in stored:
            faults.tell([("attempt stored twice", repr(one.line))])
        else:
            millis = millis_of(one.line.server_upload_time)
            stored[key] = Stored(attempt, millis, one.hour)
    return stored


def _unkept(
    attempts: Iterable[Attempt], stored: dict[_AttemptKey, Stored]
) -> Iterator[tuple[str, str]]:
    """Yield what was acknowledged and is missing, what was refused and is there, or for good.

    All that is sent is right, and an SDK throws away what is refused for good: so it is lost.
    """
    for attempt in attempts:
        kept = stored.get((attempt.client, attempt.number))
        name = f"client {attempt.client} attempt {attempt.number}"
        if attempt.status == 200 and kept is None:
            yield "acknowledged and missing", f"{name} at {attempt.upload_millis}"
        elif attempt.status == 200 and kept and kept.upload_millis != attempt.upload_millis:
            yield (
                "another time than was answered",
                f"{name}: answered {attempt.upload_millis}, exported {kept.upload_millis}",
            )
        elif attempt.status not in (None, 200) and kept is not None:
            yield "refused and stored", f"{name} was answered {attempt.status}"
        elif attempt.status not in (None, 200, *LATER):
            yield "refused for good", f"{name} was right and was answered {attempt.status}"


def _expected(stored: Iterable[Stored]) -> dict[tuple[_Identity, int], list[Stored]]:
    """Return of which attempts the one line of each event may be.

    That is the first acknowledged one, or one that was stored before it and not answered: a
    collector that died may bring it to light when the repeat is processed already.
    """
    holding: dict[tuple[_Identity, int], list[Stored]] = defaultdict(list)
    for one in stored:
        for key in {_key(sent, one.attempt.number) for sent in one.attempt.events}:
            holding[key].append(one)
    for key, attempts in holding.items():
        sure = [one.upload_millis for one in attempts if one.attempt.status == 200]
        until = min(sure, default=None)
        if until is not None:
            holding[key] = [one for one in attempts if one.upload_millis <= until]
    return holding


def _key(sent: Sent, attempt: int) -> tuple[_Identity, int]:
    alone = not sent.keyed or sent.index == WITNESS
    return (sent.client, sent.request, sent.index), attempt if alone else 0


def _wrong_lines(
    lines: list[Found],
    expected: dict[tuple[_Identity, int], list[Stored]],
    stored: dict[_AttemptKey, Stored],
) -> Iterator[tuple[str, str]]:
    """Yield events that are missing, doubled, or not those of the first attempt stored."""
    sent = _lines_of(stored.values())
    counts: Counter[tuple[_Identity, int]] = Counter()
    for one in lines:
        line, its = one.line, one.line.event_properties
        identity = its.client, its.request, its.index
        key = (identity, 0) if (identity, 0) in sent else (identity, its.attempt)
        counts[key] += 1
        of = its.client, its.attempt
        if key not in sent:
            yield "line of an attempt that was not stored whole", repr(line)
        elif of not in {(s.attempt.client, s.attempt.number) for s in expected[key]}:
            yield "line of a repeat instead of the first", repr(line)
        elif millis_of(line.server_upload_time) != stored[of].upload_millis:
            yield "events of one request at two times", repr(line)
    for key, wanted in sent.items():
        if counts[key] < wanted:
            yield "event missing", f"{key}: {counts[key]} of {wanted} lines"
        elif counts[key] > wanted:
            yield "event doubled", f"{key}: {counts[key]} instead of {wanted} lines"


def _lines_of(stored: Iterable[Stored]) -> dict[tuple[_Identity, int], int]:
    """Return how many lines each event has: one, but each of those without insert ID."""
    wanted: Counter[tuple[_Identity, int]] = Counter()
    for one in stored:
        for sent in one.attempt.events:
            if not sent.identify:
                key = _key(sent, one.attempt.number)
                wanted[key] = 1 if sent.keyed else wanted[key] + 1
    return dict(wanted)


def _wrong_counts(
    project: int,
    records: dict[Hour, SealRecord],
    lines: list[Found],
    stored: Iterable[Stored],
    expected: dict[tuple[_Identity, int], list[Stored]],
) -> Iterator[tuple[str, str]]:
    """Yield the hours whose manifest does not count what the stored attempts held."""
    accepted: Counter[Hour] = Counter()
    surely: Counter[Hour] = Counter()
    maybe: Counter[Hour] = Counter()
    identified: set[tuple[_Identity, int]] = set()
    for one in stored:
        accepted[one.hour] += len(one.attempt.events)
        for sent in one.attempt.events:
            if sent.identify and not sent.keyed:
                surely[one.hour] += 1
            elif sent.identify:
                identified.add(_key(sent, one.attempt.number))
    for key in identified:
        hours = {one.hour for one in expected[key]}
        (surely if len(hours) == 1 else maybe).update(hours)
    exported = Counter(one.hour for one in lines)
    for hour in sorted({*records, *accepted}):
        record = records.get(hour)
        if record is None:
            yield "hour without a manifest", f"{project} {hour}"
            continue
        identifies = min(max(surely[hour], record.identifies), surely[hour] + maybe[hour])
        counted = record.accepted, record.exported, record.identifies, record.duplicates
        rest = accepted[hour] - exported[hour] - identifies
        wanted = accepted[hour], exported[hour], identifies, rest
        if counted != wanted or record.filtered or record.held:
            yield (
                "counts of an hour",
                f"{project} {hour}: accepted, exported, identifies, duplicates are {counted}, "
                f"filtered {record.filtered}, held {record.held}; the lines say {wanted}",
            )
    counted_all = sum(record.identifies for record in records.values())
    wanted_all = surely.total() + sum(len({s.hour for s in expected[k]}) > 1 for k in identified)
    if counted_all != wanted_all:
        yield "identifies of all hours", f"{project}: {counted_all} instead of {wanted_all}"


def _add_up(
    sums: Sums,
    attempts: Iterable[Attempt],
    stored: dict[_AttemptKey, Stored],
    records: Iterable[SealRecord],
) -> None:
    for attempt in attempts:
        sums.attempts += 1
        sums.acknowledged += attempt.status == 200
        sums.refused += attempt.status not in (None, 200)
        sums.unanswered += attempt.status is None
        is_stored = (attempt.client, attempt.number) in stored
        sums.unanswered_stored += attempt.status is None and is_stored
    for record in records:
        sums.accepted += record.accepted
        sums.exported += record.exported
        sums.duplicates += record.duplicates
        sums.identifies += record.identifies
