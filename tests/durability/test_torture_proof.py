"""The torture's proof: it holds for what a right service exports, and for nothing else."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from tailrace.hours import HOUR_MICROS, Hour
from tailrace.process.times import millis_text
from tailrace.seal.manifest import EVENTS_SCHEMA, SealRecord
from tailrace.seal.merges import MergedId
from torture.attempts import Attempt, Sent
from torture.landed import Found, FoundMerge, Line, Properties
from torture.load import TABLET, WITNESS
from torture.persons import prove_persons
from torture.proof import Sums, prove_project

PROJECT = 300001
FIRST = Hour.parse("2026-03-01T22")

Stamped = tuple[Attempt, int]


def attempt(number: int, millis: int, *, status: int | None = 200, index: int = 0) -> Stamped:
    """Return an attempt of request 1 (two events and an identify), stamped `millis` into FIRST."""
    stamp = FIRST.start_micros // 1000 + millis
    events = (
        Sent(0, 1, index, identify=False, keyed=True),
        Sent(0, 1, index + 1, identify=False, keyed=False),
        Sent(0, 1, index + 2, identify=True, keyed=True),
        Sent(0, 1, WITNESS, identify=False, keyed=True),
    )
    answered = stamp if status == 200 else None
    return Attempt(PROJECT, 0, 1, number, events, status, answered), stamp


def exported(stored: list[Stamped]) -> tuple[list[Found], dict[Hour, SealRecord]]:
    """Return what a right service makes of attempts that it processes in this order."""
    lines: list[Found] = []
    counts: dict[Hour, list[int]] = {}
    seen: set[tuple[int, int]] = set()
    for one, stamp in stored:
        hour = Hour.of_micros(stamp * 1000)
        count = counts.setdefault(hour, [0, 0, 0, 0])
        for sent in one.events:
            count[0] += 1
            key = sent.index, one.number if sent.index == WITNESS else 0
            if sent.keyed and key in seen:
                count[2] += 1
            elif sent.identify:
                count[3] += 1
            else:
                count[1] += 1
                lines.append(line_of(sent, one, stamp, len(lines)))
            if sent.keyed:
                seen.add(key)
    return lines, {hour: record_of(hour, *count) for hour, count in counts.items()}


def line_of(sent: Sent, one: Attempt, stamp: int, number: int) -> Found:
    properties = Properties(sent.client, sent.request, sent.index, one.number)
    line = Line(PROJECT, 7, "", properties, millis_text(stamp), "user-1", f"uuid {number}")
    return Found(line, Hour.of_micros(stamp * 1000))


def record_of(
    hour: Hour, accepted: int, lines: int, duplicates: int, identifies: int
) -> SealRecord:
    return SealRecord(
        format=1,
        scope=PROJECT,
        organization=1,
        hour=str(hour),
        files=(),
        accepted=accepted,
        exported=lines,
        duplicates=duplicates,
        identifies=identifies,
        filtered=0,
        held=0,
        first_server_upload_time=None,
        last_server_upload_time=None,
        event_dates={},
        settings=msgspec.Raw(b"null"),
        schema=EVENTS_SCHEMA,
        previous=None,
    )


def prove(
    lines: list[Found], records: dict[Hour, SealRecord], attempts: list[Stamped]
) -> list[str]:
    return prove_project(PROJECT, lines, records, [one for one, _ in attempts], Sums())


LATER = HOUR_MICROS // 1000

RIGHT = {
    "one attempt": [attempt(1, 10)],
    "an unanswered one that was stored, and its repeat": [
        attempt(1, 10, status=None),
        attempt(2, 20),
    ],
    "a repeat that was processed before the unanswered one": [
        attempt(2, LATER + 20),
        attempt(1, 10, status=None),
    ],
    "a deliberate repeat in another hour": [attempt(1, 10), attempt(2, LATER)],
}


@pytest.mark.parametrize("stored", RIGHT.values(), ids=RIGHT)
def test_what_a_right_service_exports_is_proven(stored: list[Stamped]) -> None:
    assert prove(*exported(stored), stored) == []


def test_what_was_not_answered_may_be_missing_wholly() -> None:
    unanswered, answered = attempt(1, 10, status=None), attempt(2, 20)
    assert prove(*exported([answered]), [unanswered, answered]) == []


def _drop(lines: list[Found], index: int) -> list[Found]:
    return [one for one in lines if one.line.event_properties.index != index]


def _moved(one: Found, hour: Hour) -> Found:
    return msgspec.structs.replace(one, hour=hour)


def _of(one: Found, **properties: int) -> Found:
    changed = msgspec.structs.replace(one.line.event_properties, **properties)
    return msgspec.structs.replace(
        one, line=msgspec.structs.replace(one.line, event_properties=changed)
    )


def _again(one: Found) -> Found:
    return msgspec.structs.replace(one, line=msgspec.structs.replace(one.line, uuid="another"))


WRONG: dict[str, tuple[Callable[[list[Found]], list[Found]], str]] = {
    "the whole request": (lambda lines: [], "acknowledged and missing"),
    "an event": (lambda lines: _drop(lines, 0), "event missing"),
    "an event without insert ID": (lambda lines: _drop(lines, 1), "event missing"),
    "a line twice": (lambda lines: [*lines, lines[0]], "uuid used twice"),
    "an event twice": (lambda lines: [*lines, _again(lines[0])], "event doubled"),
    "an attempt twice": (lambda lines: [*lines, _again(lines[2])], "attempt stored twice"),
    "another hour": (lambda lines: [_moved(lines[0], FIRST.next()), *lines[1:]], "another hour"),
    "a stranger": (lambda lines: [*lines, _of(lines[2], attempt=9)], "nobody sent"),
    "half an attempt": (lambda lines: [*lines, _of(_again(lines[1]), attempt=9)], "not stored"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_missing_doubled_or_misplaced_is_told(name: str) -> None:
    change, told = WRONG[name]
    stored = [attempt(1, 10)]
    lines, records = exported(stored)
    faults = prove(change(lines), records, stored)
    assert any(told in fault for fault in faults), faults


def test_a_refused_request_must_not_be_stored() -> None:
    refused = attempt(1, 10, status=503)
    (fault, *_) = prove(*exported([refused]), [refused])
    assert "refused and stored" in fault


@pytest.mark.parametrize("status", [400, 404, 413])
def test_a_right_request_must_not_be_refused_for_good(status: int) -> None:
    refused, repeated = attempt(1, 10, status=status), attempt(2, 20)
    (fault,) = prove(*exported([repeated]), [refused, repeated])
    assert "refused for good" in fault


@pytest.mark.parametrize("status", [408, 429, 503])
def test_a_request_may_be_put_off(status: int) -> None:
    refused, repeated = attempt(1, 10, status=status), attempt(2, 20)
    assert prove(*exported([repeated]), [refused, repeated]) == []


def test_a_repeat_must_not_take_the_place_of_an_acknowledged_first() -> None:
    first, repeat = attempt(1, 10), attempt(2, 20)
    faults = prove(*exported([repeat, first]), [first, repeat])
    assert any("line of a repeat" in fault for fault in faults)


@pytest.mark.parametrize("field", ["accepted", "exported", "duplicates", "identifies", "held"])
def test_a_count_that_is_wrong_by_one_is_told(field: str) -> None:
    stored = [attempt(1, 10), attempt(2, 20)]
    lines, records = exported(stored)
    record = records[FIRST]
    records[FIRST] = msgspec.structs.replace(record, **{field: getattr(record, field) + 1})
    assert any("counts of an hour" in fault for fault in prove(lines, records, stored))


def test_an_hour_that_was_never_sealed_is_told() -> None:
    stored = [attempt(1, 10)]
    lines, _ = exported(stored)
    assert any("hour without a manifest" in fault for fault in prove(lines, {}, stored))


def of_person(amplitude_id: int, device: str, user: str | None) -> Found:
    line = Line(PROJECT, amplitude_id, device, Properties(0, 1, 0, 1), "", user, "uuid")
    return Found(line, FIRST)


# Two tablets of one user, one of them known before the user was, and one that is nobody's.
PERSONS = [
    of_person(1, TABLET + "1", None),
    of_person(1, TABLET + "1", "user-1"),
    of_person(2, TABLET + "2", None),
    of_person(1, TABLET + "2", "user-1"),
    of_person(3, TABLET + "3", None),
    of_person(4, "device-1", None),
    of_person(5, "", "user-2"),
]
AT = FIRST.start_micros // 1000


def merge(loser: int, survivor: int, *, scope: int = -1, at: int = AT) -> FoundMerge:
    return FoundMerge(MergedId(scope, at, at, loser, survivor), FIRST)


def test_merged_ids_that_make_one_id_of_each_person_are_proven() -> None:
    sums = Sums()
    assert prove_persons(1, PERSONS, [merge(2, 1)], sums) == []
    assert sums.merges == 1


@pytest.mark.parametrize(
    ("merges", "told"),
    [
        ([], "two amplitude ids of one person"),
        ([merge(2, 3)], "two amplitude ids of one person"),
        ([merge(2, 1), merge(3, 1)], "one amplitude id of two persons"),
        ([merge(2, 1), merge(2, 1)], "id merged twice"),
        ([merge(2, 1), merge(1, 5)], "others were merged into it"),
        ([merge(2, 1, scope=-2)], "merge of another organization"),
        ([merge(2, 1, at=AT + LATER)], "merge in another hour"),
    ],
)
def test_merged_ids_that_are_missing_or_wrong_are_told(merges: list[FoundMerge], told: str) -> None:
    faults = prove_persons(1, PERSONS, merges, Sums())
    assert any(told in fault for fault in faults), faults
