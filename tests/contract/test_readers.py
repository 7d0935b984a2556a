"""Sealed hours read back by the programs that people read them with: every line is there.

The hour comes the whole way: requests, log, processing, sealing.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pandas as pd
import pytest

from tailrace.clock import SteppedClock
from tailrace.hours import HOUR_MICROS, Hour
from tailrace.settings import SealSettings

# Making the hour, once for all tests here, takes two seconds of syncs.
pytestmark = pytest.mark.slow

HOUR = Hour.parse("2026-11-23T07")
REQUESTS, EVENTS = 12, 150
# What readers stumble over if it is not escaped, or is taken for the end of a line.
TEXTS = (
    'a "quote" \\',
    "line\nfeed\r\n",
    "\u2028\u2029\x85",
    "tab\tand\x1fothers",
    "Zürich 🚲",
    "",
)


class Exported(msgspec.Struct, frozen=True):
    """An hour's files, and the texts that were sent with each number."""

    files: list[Path]
    sent: dict[int, str]


@pytest.fixture(scope="module")
def exported(
    new_installation: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Exported:
    """An hour of one project, processed in several goes and cut into several files."""
    clock = SteppedClock(HOUR.start_micros, 1)
    settings = SealSettings(partition_bytes=8 * 1024)
    installation = new_installation(tmp_path_factory.mktemp("data"), clock, seal=settings)
    installation.serve()
    sent: dict[int, str] = {}
    for request in range(REQUESTS):
        numbers = range(request * EVENTS, (request + 1) * EVENTS)
        sent |= {number: TEXTS[number % len(TEXTS)] for number in numbers}
        installation.post(*(event(number, sent[number]) for number in numbers))
        clock.advance(1000)
        if request % 3 == 0:
            with installation.processed() as processed:
                processed.seal()
    # Keys that were read an hour ago are not believed, so the collector starts again.
    installation.stop()
    clock.advance(HOUR_MICROS)
    installation.serve()
    installation.post(event(0, "in the next hour"))
    with installation.processed() as processed:
        processed.seal()
    files = installation.files(HOUR)
    installation.close()
    return Exported(files, sent)


def event(number: int, text: str) -> dict[str, Any]:
    return {
        "event_type": f"Event {number % 7}",
        "device_id": f"device-{number % 50}",
        "event_properties": {"n": number, "text": text},
    }


@pytest.fixture
def gzip_program() -> str:
    found = shutil.which("gzip")
    if found is None:
        reason = "there is no gzip program on this machine"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def texts(raws: Iterator[bytes]) -> dict[int, str]:
    """Return text by number from files that hold a JSON object a line; each number once."""
    properties = [json.loads(line)["event_properties"] for raw in raws for line in raw.splitlines()]
    found = {one["n"]: one["text"] for one in properties}
    assert len(found) == len(properties)
    return found


def test_an_hour_is_cut_into_files_that_are_named_as_documented(exported: Exported) -> None:
    names = [path.name for path in exported.files]

    assert len(names) > 2
    assert names == [f"300001_2026-11-23_7#{number}.json.gz" for number in range(1, len(names) + 1)]


def test_the_gzip_module_reads_every_line(exported: Exported) -> None:
    assert texts(gzip.decompress(path.read_bytes()) for path in exported.files) == exported.sent


def test_the_gzip_program_reads_every_line(exported: Exported, gzip_program: str) -> None:
    for path in exported.files:
        subprocess.run([gzip_program, "-t", path], check=True)

    outputs = [
        subprocess.run([gzip_program, "-dc", path], check=True, capture_output=True).stdout
        for path in exported.files
    ]

    assert texts(iter(outputs)) == exported.sent


def test_zlib_reads_every_line_in_one_shot(exported: Exported) -> None:
    raws = (zlib.decompress(path.read_bytes(), 31) for path in exported.files)

    assert texts(raws) == exported.sent


def test_a_reader_that_stops_at_the_first_gzip_member_misses_nothing(exported: Exported) -> None:
    raws = []
    for path in exported.files:
        reader = zlib.decompressobj(wbits=31)
        raws.append(reader.decompress(path.read_bytes()))
        assert reader.eof
        assert reader.unused_data == b""

    assert texts(iter(raws)) == exported.sent


def test_duckdb_reads_every_line_of_all_files_at_once(exported: Exported) -> None:
    pattern = str(exported.files[0].parent / "*.json.gz")
    with duckdb.connect() as database:
        rows = database.execute(
            "SELECT event_properties.n, event_properties.text, event_type FROM read_json(?)",
            [pattern],
        ).fetchall()

    assert len(rows) == len(exported.sent)
    assert {n: text for n, text, _ in rows} == exported.sent
    assert all(event_type == f"Event {n % 7}" for n, _, event_type in rows)


def test_duckdb_reads_a_single_file_by_its_name(exported: Exported) -> None:
    with duckdb.connect() as database:
        counts = [
            database.execute("SELECT count(*) FROM read_json(?)", [str(path)]).fetchall()[0][0]
            for path in exported.files
        ]

    assert sum(counts) == len(exported.sent)
    assert min(counts) > 0


def test_pandas_reads_every_line(exported: Exported) -> None:
    frame = pd.concat([pd.read_json(path, lines=True) for path in exported.files])

    assert len(frame) == len(exported.sent)
    assert {one["n"]: one["text"] for one in frame["event_properties"]} == exported.sent
    assert set(frame["server_upload_time"].dt.floor("h")) == {pd.Timestamp("2026-11-23 07:00")}
