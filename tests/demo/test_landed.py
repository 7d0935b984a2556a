"""Against the S3 server that the demo uses, with a bucket filled by hand."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest

from tailrace.clock import SteppedClock
from tailrace.demo import landed
from tailrace.demo.landed import Landed, Stored
from tailrace.demo.seaweed import Seaweed
from tailrace.errors import Transient
from tailrace.hours import Hour

HOUR = Hour.parse("2026-01-02T13")
NAME = "300001/300001_2026-01-02_13"


@pytest.fixture
def bucket(server: Seaweed) -> str:
    name = f"acme-{os.urandom(6).hex()}"
    server.create_bucket(name)
    return name


def _landed(server: Seaweed, bucket: str) -> Landed:
    return Landed(server, bucket, "raw/", 300001, HOUR)


def _put(server: Seaweed, bucket: str, key: str, body: bytes = b"") -> None:
    server.client(server.owner).put_object(Bucket=bucket, Key=f"raw/{key}", Body=body)


def _file(*events: tuple[str, int, str, float | None]) -> bytes:
    lines = [
        json.dumps(
            {
                "$insert_id": insert_id,
                "amplitude_id": person,
                "event_type": event_type,
                "event_properties": {} if revenue is None else {"revenue": revenue},
            }
        )
        for insert_id, person, event_type, revenue in events
    ]
    return gzip.compress("".join(line + "\n" for line in lines).encode())


def test_the_marker_is_waited_for_from_the_hours_end_on(server: Seaweed, bucket: str) -> None:
    clock = SteppedClock(HOUR.end_micros - 2_000_000)
    shown: list[int] = []

    def pause() -> None:
        clock.advance(1_000_000)
        if clock.now_micros() == HOUR.end_micros + 3_000_000:
            _put(server, bucket, f"{NAME}_complete")

    after = _landed(server, bucket).wait_for_marker(clock, pause, shown.append)

    assert shown == [2, 1]
    assert after == 3_000_000


def test_a_marker_that_does_not_come_is_said(server: Seaweed, bucket: str) -> None:
    clock = SteppedClock(HOUR.end_micros)
    _put(server, bucket, "300001/300001_2026-01-02_14_complete")

    with pytest.raises(Transient, match="300001_2026-01-02_13_complete is not in the bucket"):
        _landed(server, bucket).wait_for_marker(
            clock, lambda: clock.advance(5_000_000), lambda _: None
        )


def test_only_the_hours_data_files_are_copied_and_counted(
    server: Seaweed, bucket: str, tmp_path: Path
) -> None:
    one = _file(("a", 1, "Order Completed", 2.5), ("b", 1, "Order Completed", 3.0))
    two = _file(("c", 2, "Session Started", None), ("c", 2, "Session Started", None))
    _put(server, bucket, f"{NAME}#1.json.gz", one)
    _put(server, bucket, f"{NAME}#2.json.gz", two)
    _put(server, bucket, f"{NAME}_complete")
    _put(server, bucket, "300001/300001_2026-01-02_1#1.json.gz", b"of another hour")

    there = _landed(server, bucket)
    copies = there.download(tmp_path)

    assert sorted(copy.name for copy in copies) == [
        "300001_2026-01-02_13#1.json.gz",
        "300001_2026-01-02_13#2.json.gz",
    ]
    assert there.listing()[-1] == Stored(f"raw/{NAME}_complete", 0)
    assert landed.count(copies) == (4, 3)
    assert landed.ask(copies).rows == [
        ("Order Completed", 2, 1, 5.5),
        ("Session Started", 2, 1, None),
    ]
    assert json.loads(landed.first_lines(copies, 1)[0])["$insert_id"] == "a"


def test_the_manifest_comes_as_it_lies_there(server: Seaweed, bucket: str) -> None:
    body = b'{"format":1}\n'
    _put(server, bucket, f"_manifests/{NAME}.json", body)

    assert _landed(server, bucket).manifest() == body
