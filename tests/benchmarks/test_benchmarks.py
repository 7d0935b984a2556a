"""The measuring tools are right; how fast anything is, no test asserts."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from isal import isal_zlib

from benchmarks import floor, generator, ingest, journey, load, processing, profiles
from benchmarks.children import Child
from benchmarks.paired import alternate, figure, ratios
from benchmarks.report import Bar, Report, is_met, machine, table, taken_at, write
from tailrace.clock import SteppedClock, SystemClock
from tailrace.upload import Upload

NOW = 1_700_000_000_000_000


def test_the_same_seed_gives_the_same_events() -> None:
    first, again, other = (generator.Generator(seed, NOW).events(50) for seed in (7, 7, 8))

    assert first == again
    assert first != other


def test_events_are_as_large_and_as_varied_as_described() -> None:
    events = generator.Generator(1, NOW).events(3000)
    bodies = generator.bodies("k" * 32, events, 100)
    uploads = [msgspec.json.decode(body, type=Upload) for body in bodies]
    decoded = [event for upload in uploads for event in upload.events]
    keys = Counter(len(msgspec.json.decode(event.event_properties)) for event in decoded)

    assert len(decoded) == 3000
    assert 730 <= sum(map(len, bodies)) / 3000 <= 780
    assert len({event.event_type for event in decoded}) == generator.EVENT_TYPES
    assert (min(keys), max(keys)) == (5, 15)
    assert len({event.insert_id for event in decoded}) == 3000


def test_one_each_gives_every_user_one_event_with_a_device_of_its_own() -> None:
    source = generator.Generator(1, NOW)
    decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
    first = [decode(event)["device_id"] for event in source.one_each(range(100, 160))]
    again = [decode(event)["device_id"] for event in source.one_each(range(100, 160))]

    assert len({bytes(device) for device in first}) == 60
    assert first == again


def test_bodies_hold_every_event_once_and_the_last_holds_the_rest() -> None:
    events = generator.Generator(1, NOW).events(25)
    uploads = [
        msgspec.json.decode(body, type=Upload) for body in generator.bodies("key", events, 10)
    ]

    assert [len(upload.events) for upload in uploads] == [10, 10, 5]
    assert {upload.api_key for upload in uploads} == {"key"}


def test_sides_take_turns_in_every_round() -> None:
    calls: list[str] = []

    def side(name: str) -> int:
        calls.append(name)
        return len(calls)

    values = alternate({"a": lambda: side("a"), "b": lambda: side("b")}, rounds=3)

    assert calls == ["a", "b", "a", "b", "a", "b"]
    assert values == {"a": [1, 3, 5], "b": [2, 4, 6]}


def test_a_figure_is_the_median_with_its_range() -> None:
    one = figure("cpu", "us", [5.0, 1.0, 2.0, 9.0, 3.0])

    assert (one.median, one.lowest, one.highest, one.rounds) == (3.0, 1.0, 9.0, 5)
    with pytest.raises(ValueError, match="cpu has no values"):
        figure("cpu", "us", [])


def test_ratios_are_taken_round_by_round() -> None:
    assert ratios([2.0, 30.0], [1.0, 10.0]) == [2.0, 3.0]
    with pytest.raises(ValueError):
        ratios([1.0], [])


def test_the_table_says_which_bars_are_met_and_which_were_not_measured() -> None:
    bars = [Bar("a", 2.0, most=True), Bar("b", 0.85, most=False), Bar("absent", 1.0, most=True)]
    figures = [figure("a", "ratio", [2.5]), figure("b", "ratio", [0.9])]
    text = table(Report("2026-11-23T17:00:00Z", machine(), figures, bars, ["a remark"]))

    lines = [line.split() for line in text.splitlines()]
    assert ["a", "2.50", "<=", "2.00", "missed"] in lines
    assert ["b", "0.90", ">=", "0.85", "met"] in lines
    assert ["absent", "-", "<=", "1.00", "not", "measured"] in lines
    assert text.endswith("a remark")


@pytest.mark.parametrize(
    ("most", "met"), [(True, [True, True, False]), (False, [False, True, True])]
)
def test_a_bar_includes_its_limit(most: bool, met: list[bool]) -> None:
    bar = Bar("x", 2.0, most=most)

    assert [is_met(bar, value) for value in (1.9, 2.0, 2.1)] == met


def test_a_report_is_written_whole_under_its_time(tmp_path: Path) -> None:
    report = Report(taken_at(SteppedClock(NOW)), machine(), [figure("a", "us", [1.0])], [], [])

    path = write(report, tmp_path / "bench-results")

    assert path.name == "2023-11-14T22-13-20Z.json"
    assert msgspec.json.decode(path.read_bytes(), type=Report) == report


def test_the_profile_names_the_line_that_called_what_takes_the_time() -> None:
    lines = b"".join(generator.Generator(1, NOW).events(2000))

    size, samples = profiles.sampled(
        lambda: sum(floor.gzip_six_bytes(lines) for _ in range(5)) // 5
    )
    text = profiles.describe(samples, "packing")

    assert size == floor.gzip_six_bytes(lines)
    assert max(samples, key=samples.__getitem__).function == "gzip_six_bytes"
    assert "benchmarks.floor gzip_six_bytes" in text


def test_gzip_six_bytes_is_what_gzip_makes() -> None:
    lines = b"".join(generator.Generator(1, NOW).events(500))

    assert abs(floor.gzip_six_bytes(lines) - len(gzip.compress(lines, 6, mtime=0))) <= 16


def test_the_floor_measures_every_part_where_simdjson_is_installed() -> None:
    parse = floor.parser()
    if parse is None:
        pytest.skip("pysimdjson has no wheel for this platform and Python version")
    events = generator.Generator(1, NOW).events(2000)
    lines = b"\n".join(events)

    parts = floor.measure(parse, generator.bodies("key", events, 100), lines)

    assert min(parts.parse, parts.copy, parts.crc, parts.deflate) > 0
    assert parts.seconds == parts.parse + parts.copy + parts.crc + parts.deflate
    assert isal_zlib.crc32(lines) >= 0


def test_the_client_sends_every_request_and_the_child_tells_its_cpu() -> None:
    events = generator.Generator(1, NOW).events(400)
    requests = [load.http_request(body) for body in generator.bodies("key", events, 10)]

    with Child("base", "benchmarks.serve_base") as child:
        before = child.cpu_seconds()
        done = load.run(child.port, requests, 200, 8)
        after = child.cpu_seconds()

    assert done.requests == 200
    assert done.seconds > 0
    assert after > before


def test_the_client_stops_at_an_answer_that_is_no_200() -> None:
    with (
        Child("base", "benchmarks.serve_base") as child,
        pytest.raises(RuntimeError, match="instead of 200"),
    ):
        load.run(child.port, [load.http_request(b"no JSON")], 1, 1)


def test_processing_is_measured_with_fresh_and_with_known_users(tmp_path: Path) -> None:
    figures = processing.measure(1, NOW, rounds=1, events=300, folder=tmp_path)

    medians = {one.name: one.median for one in figures}
    assert medians["processing, fresh users: CPU"] > 0
    assert medians["processing, known users: CPU"] > 0


@pytest.mark.slow(reason="a collector and a base server start as processes")
def test_ingest_is_measured_beside_the_base_for_every_size_of_request(tmp_path: Path) -> None:
    figures = ingest.measure(1, SystemClock().now_micros(), 1, share=0.001, folder=tmp_path)

    names = {one.name for one in figures}
    assert {bar.figure for bar in ingest.BARS} <= names
    assert min(one.median for one in figures) > 0


@pytest.mark.slow(reason="a collector starts as a process, and an hour is sealed")
def test_a_journey_ends_with_a_sealed_file_of_every_event(tmp_path: Path) -> None:
    figures, _ = journey.measure(1, SystemClock().now_micros(), 1, 300, tmp_path)

    medians = {one.name: one.median for one in figures}
    assert 0.5 < medians["journey: exported bytes / gzip -6"] < 2
    assert medians["journey: CPU, all"] > medians["journey: CPU, process"] > 0
