from __future__ import annotations

import hashlib
import json

import msgspec
import pytest

from tailrace.hours import Hour
from tailrace.seal.manifest import digest, fault, manifest_body, record_bytes, seal_record
from tailrace.state.closing import DueScope, ProjectHourRow
from tailrace.state.sealed import SealedFile

HOUR = Hour.parse("2020-01-25T17")
DUE = DueScope(187520, 189524, True, HOUR.number - 3, "ab" * 32)
COUNTS = ProjectHourRow(
    project=187520,
    hour=HOUR.number,
    organization=189524,
    settings='{"schema_number": 12, "b": null}',
    accepted=20,
    exported=12,
    duplicates=3,
    identifies=2,
    filtered=1,
    held=2,
    first_stamp=HOUR.start_micros + 1_234,
    last_stamp=HOUR.end_micros - 1,
)
FILES = tuple(
    SealedFile(
        187520, HOUR, number, f"187520_2020-01-25_17#{number}.json.gz", 100, "cd" * 32, 255, 6, 900
    )
    for number in (1, 2)
)
DATES = {"2020-01-25": 10, "2020-01-24": 2}


def test_a_records_bytes_are_these() -> None:
    body = record_bytes(seal_record(DUE, HOUR, COUNTS, DATES, FILES))
    file = (
        '{"name":"187520_2020-01-25_17#%d.json.gz","lines":6,"bytes":100,"raw_bytes":900,'
        '"sha256":"' + "cd" * 32 + '","crc32":"000000ff"}'
    )
    assert body.decode() == (
        '{"format":1,"scope":187520,"organization":189524,"hour":"2020-01-25T17",'
        '"files":[' + file % 1 + "," + file % 2 + "],"
        '"accepted":20,"exported":12,"duplicates":3,"identifies":2,"filtered":1,"held":2,'
        '"first_server_upload_time":"2020-01-25 17:00:00.001000",'
        '"last_server_upload_time":"2020-01-25 17:59:59.999000",'
        '"event_dates":{"2020-01-24":2,"2020-01-25":10},'
        '"settings":{"b":null,"schema_number":12},"schema":{"version":1,"keys":49},'
        '"previous":{"hour":"2020-01-25T14","sha256":"' + "ab" * 32 + '","quiet_hours":2}}'
    )
    assert digest(body) == hashlib.sha256(body).hexdigest()


def test_an_hour_without_events_counts_nothing_and_has_no_times() -> None:
    due = DueScope(-189524, 189524, False, None, None)
    record = json.loads(record_bytes(seal_record(due, HOUR, None, {}, ())))
    counts = ("accepted", "exported", "duplicates", "identifies", "filtered", "held")
    assert [record[name] for name in counts] == [0] * 6
    assert (record["files"], record["event_dates"], record["settings"]) == ([], {}, None)
    assert record["first_server_upload_time"] is None
    assert record["previous"] is None
    assert record["schema"] == {"version": 1, "keys": 5}


@pytest.mark.parametrize(
    ("settings", "keys"),
    [
        ('{"schema_number":12}', 49),
        ('{"schema_number":null,"places":null,"extended_columns":false}', 49),
        ('{"schema_number":12,"extended_columns":true}', 55),
    ],
)
def test_the_number_of_keys_is_that_of_the_hours_settings(settings: str, keys: int) -> None:
    counts = msgspec.structs.replace(COUNTS, settings=settings)
    record = json.loads(record_bytes(seal_record(DUE, HOUR, counts, DATES, FILES)))
    assert record["schema"] == {"version": 1, "keys": keys}
    assert record["settings"] == json.loads(settings)


def test_an_hour_that_balances_has_no_fault() -> None:
    assert fault(seal_record(DUE, HOUR, COUNTS, DATES, FILES)) is None


@pytest.mark.parametrize(
    "field", ["accepted", "exported", "duplicates", "identifies", "filtered", "held"]
)
@pytest.mark.parametrize("by", [-1, 1])
def test_one_event_too_many_or_too_few_is_a_fault(field: str, by: int) -> None:
    counts = msgspec.structs.replace(COUNTS, **{field: getattr(COUNTS, field) + by})
    reason = fault(seal_record(DUE, HOUR, counts, DATES, FILES))
    assert reason is not None
    assert "events were accepted" in reason


def test_lines_and_dates_must_be_the_exported_events() -> None:
    lines = fault(seal_record(DUE, HOUR, COUNTS, DATES, FILES[:1]))
    assert lines == "12 events were exported, but the files hold 6 lines"
    dates = fault(seal_record(DUE, HOUR, COUNTS, {"2020-01-25": 11}, FILES))
    assert dates == "12 events were exported, but the dates of 11 were counted"


def test_the_manifest_holds_the_record_byte_for_byte() -> None:
    record = record_bytes(seal_record(DUE, HOUR, COUNTS, DATES, FILES))
    body = manifest_body(record, digest(record), "acme/")
    assert body.endswith(
        b'"seal_sha256":"' + digest(record).encode() + b'","seal":' + record + b"}\n"
    )
    decoded = json.loads(body)
    assert list(decoded) == ["format", "objects", "seal_sha256", "seal"]
    assert decoded["objects"][1] == {
        "name": "187520_2020-01-25_17#2.json.gz",
        "key": "acme/187520/187520_2020-01-25_17#2.json.gz",
        "url": "acme/187520/187520_2020-01-25_17%232.json.gz",
    }
    again = json.dumps(decoded["seal"], separators=(",", ":"), ensure_ascii=False).encode()
    assert hashlib.sha256(again).hexdigest() == decoded["seal_sha256"]


def test_the_manifest_depends_on_the_record_and_the_prefix_alone() -> None:
    record = record_bytes(seal_record(DUE, HOUR, COUNTS, DATES, FILES))
    one = manifest_body(record, digest(record), "a/")
    assert one == manifest_body(record, digest(record), "a/")
    assert one != manifest_body(record, digest(record), "b/")
