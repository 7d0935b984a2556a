"""However often the processor dies, and however the log is cut, the same lines come out."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tailrace.hours import HOUR_MICROS
from tailrace.process.user_agents import rules_version
from tailrace.state.processing import HourSettings

PROJECTS = {300001: 100001, 300002: 100001, 300003: 100002}
TYPES = ("open", "buy", "$identify", "$groupidentify", "$exposure")
AGENTS = (
    "Mozilla/5.0 (X11; Linux x86_64; rv:121.0) Gecko/20100101 Firefox/121.0",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
)
RECORDS = 120
COUNTED = ("exported", "duplicates", "identifies", "filtered", "held")


def fill(bench: Any, seed: int) -> None:
    """Put records of few people and devices of three projects into the log, over two hours."""
    choose = random.Random(seed)
    bench.settings = HourSettings(devices=rules_version(), drop_bots=True)
    stamp = bench.hour.end_micros - HOUR_MICROS // 20
    for _ in range(RECORDS):
        stamp += choose.choice((1, 1000, HOUR_MICROS // 400))
        project = choose.choice(list(PROJECTS))
        events = [event(choose) for _ in range(choose.randint(1, 6))]
        bench.send(
            *events,
            project=project,
            organization=PROJECTS[project],
            partition=choose.randint(1, 2),
            stamp=stamp,
            endpoint=choose.choice(("/2/httpapi", "/batch")),
        )


def event(choose: random.Random) -> dict[str, Any]:
    given: dict[str, Any] = {"event_type": choose.choice(TYPES)}
    # One with neither id is held.
    if choose.random() < 0.8:
        given["device_id"] = f"device-{choose.randrange(6)}"
    if choose.random() < 0.5:
        given["user_id"] = f"user-{choose.randrange(4)}"
    if choose.random() < 0.5:
        given["insert_id"] = f"insert-{choose.randrange(12)}"
    if choose.random() < 0.3:
        given["app_version"] = f"{choose.randrange(3)}.0"
    if choose.random() < 0.2:
        given["groups"] = {"team": choose.choice(("a", ["b", 1]))}
    if choose.random() < 0.3:
        given["user_agent"] = choose.choice(AGENTS)
    if given["event_type"] == "$exposure":
        given["event_properties"] = {"flag_key": "color", "variant": choose.choice(("a", None))}
    return given


def outcome(bench: Any) -> Any:
    hours = (bench.hour, bench.hour.next())
    keys = [(project, hour) for project in PROJECTS for hour in hours]
    lines = {key: bench.lines(*key) for key in keys}
    for line in (line for found in lines.values() for line in found):
        del line["processed_time"]
    tables = ("device", "user", "identity", "person", "merge", "held", "event_date")
    rows = {table: sorted(bench.rows(f"SELECT * FROM {table}")) for table in tables}
    return lines, {key: bench.counts(*key) for key in keys}, rows


@pytest.mark.parametrize("seed", range(12))
def test_a_replay_renders_alike_wherever_the_log_was_cut(
    tmp_path: Path, make_bench: Callable[[Path], Any], seed: int
) -> None:
    choose = random.Random(1000 + seed)
    whole, cut = make_bench(tmp_path / "whole"), make_bench(tmp_path / "cut")
    fill(whole, seed)
    fill(cut, seed)

    whole.run()
    rounds = 1
    while rounds:
        cut.clock.advance(choose.randrange(10_000_000))
        cut.log.round_entries = choose.randint(1, 12)
        rounds = cut.processor.run_round()
        if choose.random() < 0.3:
            cut.processor.checkpoint()
        if choose.random() < 0.15:
            cut.crash()
            rounds = 1
    cut.run()

    found = outcome(cut)
    assert found == outcome(whole)
    assert all(sum(counts[name] for counts in found[1].values()) for name in COUNTED)
