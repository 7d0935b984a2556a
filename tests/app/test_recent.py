"""What pages are told of the events that came last."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tailrace.app.recent import EVENTS_MAX, RAW_CHARACTERS_MAX, READ_BYTES, RecentEvents
from tailrace.clock import SteppedClock
from tailrace.files import Files
from tailrace.log.record import Record
from tailrace.log.writer import LogWriter

PROJECT = 300001


class Log:
    """A log with one partition, whose collector may start again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = SteppedClock(1_800_000_000_000_000)

    def append(self, *bodies: object, project: int = PROJECT) -> None:
        """Append a record of each body as a collector does that runs for this call."""

        async def all_of_them() -> None:
            writer = LogWriter.open(
                self.folder / "1", partition=1, clock=self.clock, files=Files(), known_end=0
            )
            for body in bodies:
                encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
                record = Record(100001, project, "/2/httpapi", 1, None, "::1", 1, encoded)
                await writer.append(record)
            writer.close()

        asyncio.run(all_of_them())


def _event(name: str, **more: object) -> dict[str, object]:
    return {"events": [{"event_type": name, **more}]}


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "log")


@pytest.fixture
def recent(log: Log) -> Iterator[RecentEvents]:
    followed = RecentEvents(log.folder)
    yield followed
    followed.close()


def _types(recent: RecentEvents, project: int = PROJECT) -> list[str]:
    return [one.event_type for one in recent.of(project)]


def test_events_of_a_short_log_are_told_also_across_restarts(
    log: Log, recent: RecentEvents
) -> None:
    log.append(_event("a", user_id="first"), _event("b", device_id=7))
    log.append(_event("c"))
    assert _types(recent) == ["c", "b", "a"]
    log.append(_event("d"))
    assert _types(recent) == ["d", "c", "b", "a"]
    assert [(one.user_id, one.device_id) for one in recent.of(PROJECT)][2:] == [
        ("", "7"),
        ("first", ""),
    ]


def test_a_project_is_told_of_its_own_events_alone(log: Log, recent: RecentEvents) -> None:
    log.append(_event("theirs"), project=300002)
    log.append(_event("mine"))
    assert _types(recent) == ["mine"]
    assert _types(recent, 300003) == []


def test_what_is_kept_is_bounded(log: Log, recent: RecentEvents) -> None:
    log.append({"events": [{"event_type": str(number)} for number in range(EVENTS_MAX + 5)]})
    assert _types(recent) == [str(number) for number in range(EVENTS_MAX + 4, 4, -1)]


def test_far_behind_it_goes_on_with_what_comes_next(log: Log, recent: RecentEvents) -> None:
    log.append(_event("seen"))
    assert _types(recent) == ["seen"]
    log.append(_event("passed over", user_id="x" * (READ_BYTES + 1)))
    assert _types(recent) == ["seen"]
    log.append(_event("next"))
    assert _types(recent) == ["next", "seen"]


def test_a_body_that_can_not_be_shown_is_still_an_event(log: Log, recent: RecentEvents) -> None:
    log.append(b'{"events": [{"event_type": {"a": 1}}]}')
    assert _types(recent) == [""]


def test_without_a_log_there_is_nothing(recent: RecentEvents) -> None:
    assert recent.of(PROJECT) == ()


def test_an_event_is_told_as_it_came_and_a_long_one_is_cut(log: Log, recent: RecentEvents) -> None:
    log.append(_event("a", user_properties={"city": "Zürich 🚲"}), _event("🚲" * 5000))
    long, short = recent.of(PROJECT)
    assert json.loads(short.raw) == {"event_type": "a", "user_properties": {"city": "Zürich 🚲"}}
    assert len(long.raw) == RAW_CHARACTERS_MAX + 1
    assert long.raw.endswith("…")
