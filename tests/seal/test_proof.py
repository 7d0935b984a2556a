from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.errors import Corrupt, NewerFormat
from tailrace.hours import Hour
from tailrace.seal.manifest import digest, manifest_body, record_bytes, seal_record
from tailrace.seal.names import file_name
from tailrace.seal.proof import check_chain, check_manifest
from tailrace.state.closing import DueScope, ProjectHourRow
from tailrace.state.sealed import SealedFile

HOUR = Hour.parse("2020-01-25T17")
PROJECT = 187520


def make_record(
    hour: Hour,
    lines: list[int],
    last: tuple[Hour, str] | None = None,
    settings: str = "{}",
) -> bytes:
    number = last[0].number if last else None
    due = DueScope(PROJECT, 189524, True, number, last[1] if last else None)
    files = [
        SealedFile(PROJECT, hour, n, file_name(PROJECT, hour, n), 99, "cd" * 32, 7, count, 900)
        for n, count in enumerate(lines, 1)
    ]
    total = sum(lines)
    stamp = hour.start_micros
    counts = ProjectHourRow(
        PROJECT, hour.number, 189524, settings, total + 1, total, 1, 0, 0, 0, stamp, stamp
    )
    return record_bytes(seal_record(due, hour, counts, {hour.date: total}, files))


def make_manifest(record: bytes, prefix: str = "acme/") -> bytes:
    return manifest_body(record, digest(record), prefix)


def make_chain(*hours: Hour) -> list[bytes]:
    bodies = []
    last = None
    for hour in hours:
        record = make_record(hour, [3], last)
        bodies.append(make_manifest(record))
        last = (hour, digest(record))
    return bodies


@given(st.lists(st.integers(1, 10**6), max_size=5), st.sampled_from(["", "a/", "a b/ü#/"]))
def test_a_manifest_as_delivered_holds(lines: list[int], prefix: str) -> None:
    checked = check_manifest(make_manifest(make_record(HOUR, lines), prefix))
    assert checked.record.exported == sum(lines)
    assert len(checked.keys) == len(lines)


def test_a_manifest_of_extended_lines_holds_and_one_of_other_keys_does_not() -> None:
    record = make_record(HOUR, [3], settings='{"extended_columns":true}')
    assert b'"keys":55' in record
    assert check_manifest(make_manifest(record)).record.schema.keys == 55
    for other in (
        record.replace(b'"keys":55', b'"keys":49'),
        make_record(HOUR, [3]).replace(b'"keys":49', b'"keys":55'),
    ):
        with pytest.raises(Corrupt, match=r"its settings make lines of (49|55) keys"):
            check_manifest(make_manifest(other))
    odd = record.replace(b'"extended_columns":true', b'"extended_columns":7')
    with pytest.raises(Corrupt, match="This is no manifest"):
        check_manifest(make_manifest(odd))


@given(st.data())
def test_no_other_digit_in_the_record_passes(data: st.DataObject) -> None:
    record = make_record(HOUR, [12, 30])
    body = make_manifest(record)
    start = body.index(record)
    digits = [i for i in range(start, start + len(record)) if chr(body[i]).isdigit()]
    at = data.draw(st.sampled_from(digits))
    other = data.draw(st.sampled_from([d for d in b"123456789" if d != body[at]]))
    with pytest.raises(Corrupt):
        check_manifest(body[:at] + bytes([other]) + body[at + 1 :])


Change = Callable[[dict[str, Any]], None]


def changed(change: Change) -> bytes:
    """Return a manifest whose record was altered and whose digest was made to fit."""
    record = json.loads(make_record(HOUR, [12, 30]))
    change(record)
    return json.dumps(record, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda r: r.update(accepted=44), "44 events were accepted"),
        (lambda r: r.update(exported=41, duplicates=2), "the files hold 42 lines"),
        (lambda r: r["files"][0].update(lines=11), "the files hold 41 lines"),
        (lambda r: r["event_dates"].update({"2020-01-01": 1}), "the dates of 43"),
    ],
)
def test_a_record_that_does_not_balance_is_refused_though_its_digest_fits(
    change: Change, reason: str
) -> None:
    record = changed(change)
    with pytest.raises(Corrupt, match=reason):
        check_manifest(make_manifest(record))


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r["files"].reverse(),
        lambda r: r.update(hour="2020-01-25T18"),
        lambda r: r.update(scope=1),
    ],
)
def test_files_that_are_not_this_hours_are_refused(change: Change) -> None:
    record = changed(change)
    objects = json.loads(make_manifest(make_record(HOUR, [12, 30])))["objects"]
    body = {"format": 1, "objects": objects, "seal_sha256": digest(record)}
    raw = json.dumps(body).encode()[:-1] + b',"seal":' + record + b"}"
    with pytest.raises(Corrupt, match="not numbered as files of this hour"):
        check_manifest(raw)


def test_keys_and_urls_must_be_the_files_own() -> None:
    body = make_manifest(make_record(HOUR, [12, 30]))
    key = b'"key":"acme/187520/187520_2020-01-25_17#1'
    name = b'[{"name":"187520_2020-01-25_17#1'
    for old, new, reason in (
        (key, key.replace(b"/187520/", b"/187521/"), "keys"),
        (key, key.replace(b"#1", b"#2"), "keys"),
        (b"%231", b"%232", "URL"),
        (name, name.replace(b"#1", b"#3"), "objects"),
    ):
        assert old in body
        with pytest.raises(Corrupt, match=reason):
            check_manifest(body.replace(old, new, 1))


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"format":1}', b"\xff", b'{"format":"1"}'])
def test_what_is_no_manifest_is_refused(body: bytes) -> None:
    with pytest.raises(Corrupt, match="no manifest"):
        check_manifest(body)


def test_a_later_release_s_manifest_or_record_is_not_judged() -> None:
    body = make_manifest(make_record(HOUR, [1]))
    with pytest.raises(NewerFormat, match="this manifest: its format is 2"):
        check_manifest(body.replace(b'{"format":1', b'{"format":2', 1))
    record = changed(lambda r: r.update(format=2, something=None))
    with pytest.raises(NewerFormat, match="this seal record: its format is 2"):
        check_manifest(make_manifest(record))


def test_a_chain_with_quiet_hours_holds() -> None:
    bodies = make_chain(HOUR, HOUR.next(), HOUR.plus(5), HOUR.plus(200))
    checked = check_chain(bodies)
    quiet = [c.record.previous.quiet_hours if c.record.previous else None for c in checked]
    assert quiet == [None, 0, 3, 194]


def test_a_missing_hour_is_named() -> None:
    bodies = make_chain(HOUR, HOUR.next(), HOUR.plus(2))
    with pytest.raises(
        Corrupt, match="breaks at 2020-01-25T19: the hour before it is 2020-01-25T18"
    ):
        check_chain([bodies[0], bodies[2]])


def test_an_hour_that_was_sealed_anew_breaks_the_chain() -> None:
    bodies = make_chain(HOUR, HOUR.next())
    bodies[0] = make_manifest(make_record(HOUR, [4]))
    check_manifest(bodies[0])
    with pytest.raises(Corrupt, match="One of the two was altered"):
        check_chain(bodies)


def test_two_scopes_are_no_chain() -> None:
    body = make_chain(HOUR)[0]
    due = DueScope(5, 189524, False, None, None)
    other = record_bytes(seal_record(due, HOUR.next(), None, {}, ()))
    with pytest.raises(Corrupt, match="a chain has one"):
        check_chain([body, make_manifest(other)])


def test_a_merged_id_hour_has_at_most_one_file() -> None:
    due = DueScope(-189524, 189524, False, None, None)
    empty = record_bytes(seal_record(due, HOUR, None, {}, ()))
    assert check_manifest(make_manifest(empty)).keys == ()
    name = file_name(-189524, HOUR, 0)
    file = SealedFile(-189524, HOUR, 0, name, 9, "cd" * 32, 7, 2, 90)
    record = seal_record(due, HOUR, None, {}, (file,))
    record = msgspec.structs.replace(record, accepted=2, exported=2, event_dates={HOUR.date: 2})
    body = make_manifest(record_bytes(record))
    assert check_manifest(body).keys == ("acme/-189524/" + name,)


@pytest.mark.parametrize("deep", [b"[" * 3000, b'{"a":' * 3000])
def test_a_manifest_nested_without_end_is_no_manifest(deep: bytes) -> None:
    with pytest.raises(Corrupt, match="no manifest"):
        check_manifest(b'{"format":1,"objects":[],"seal_sha256":"a","seal":' + deep)
