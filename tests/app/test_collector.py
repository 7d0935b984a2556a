"""What a collector part tells of itself, and how it goes on while the disk is full."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

import pytest

from tailrace.app.collector import _clock, _counts, _Log, _rates, _tick, limits_of
from tailrace.app.part import PartContext
from tailrace.collect.counters import Counters
from tailrace.collect.limits import Limits
from tailrace.errors import Corrupt, DiskReserve
from tailrace.files import AppendFile, Files
from tailrace.folder import DataFolder
from tailrace.log.partitions import PARTITIONS_FILE
from tailrace.log.record import Record
from tailrace.log.stamping import ClockState
from tailrace.ops.metrics import COUNTERS, GAUGES
from tailrace.seal.disk import DiskGuard
from tailrace.settings import CollectSettings, Settings

RECORD = Record(100001, 300001, "/batch", 0, None, "203.0.113.7", 1, b'{"events":[{}]}')


class Disk(Files):
    """A disk that takes no new segment while it is full."""

    error = 0

    def open_append(self, path: Path) -> AppendFile:
        if self.error:
            raise OSError(self.error, "no", str(path))
        return super().open_append(path)


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def writing(tmp_path: Path, disk: Disk) -> _Log:
    folder = DataFolder(tmp_path / "data")
    folder.create(disk)
    context = PartContext(folder, Settings(), "collector-1")
    context.files = disk
    guard = DiskGuard.of_settings(Files(), folder.path, context.clock, context.settings.disk)
    return _Log(context, 1, guard)


def test_everything_that_a_collector_counts_is_a_metric() -> None:
    counters = Counters()
    counters.requests.update({200: 5, 429: 2, 400: 1, 503: 1})
    counters.events_throttled = 7

    counts = _counts(counters)

    assert counts.keys() <= COUNTERS.keys()
    assert (counts["requests"], counts["requests_refused"], counts["requests_throttled"]) == (
        9,
        3,
        2,
    )
    assert counts["events_throttled"] == 7


def test_a_clock_that_went_wrong_is_a_metric() -> None:
    assert _clock(None) == {"clock_stepped": 0, "clock_behind": 0}
    assert _clock(ClockState("stepped", 1, alarm=True))["clock_stepped"] == 1
    assert _clock(ClockState("behind", 1, alarm=False))["clock_behind"] == 0
    assert _clock(ClockState("behind", 1, alarm=True))["clock_behind"] == 1
    assert _clock(None).keys() <= GAUGES.keys()


def test_without_the_setting_there_are_no_rate_limits() -> None:
    assert _rates(CollectSettings()) is None
    assert _rates(CollectSettings(rate_limits=True)) is not None


def test_a_collector_on_a_full_disk_refuses_uploads_until_there_is_room(
    writing: _Log, disk: Disk
) -> None:
    async def main() -> None:
        disk.error = errno.ENOSPC
        assert not writing.open_if_room()
        with pytest.raises(DiskReserve):
            await writing.submit(RECORD)
        assert writing.clock_state is None

        disk.error = 0
        assert writing.open_if_room()
        assert await writing.submit(RECORD) > 0
        assert writing.open_if_room()

    try:
        asyncio.run(main())
    finally:
        writing.close()


def test_a_disk_with_another_trouble_ends_the_collector(writing: _Log, disk: Disk) -> None:
    disk.error = errno.EIO
    with pytest.raises(OSError, match="Cannot begin the log segment"):
        writing.open_if_room()


def test_a_log_that_can_not_go_on_is_heard_of_though_nobody_sends(
    writing: _Log, tmp_path: Path
) -> None:
    failures: list[Exception] = []

    async def main() -> None:
        writing.open_if_room()
        (tmp_path / "data" / "log" / PARTITIONS_FILE).write_text("nonsense")
        async with asyncio.timeout(20):
            await _tick(writing, asyncio.Event(), failures.append, lambda: True)

    try:
        asyncio.run(main())
    finally:
        writing.close()
    assert [type(failure) for failure in failures] == [Corrupt]


def test_the_limits_are_settings_with_the_documented_defaults() -> None:
    assert limits_of(CollectSettings()) == Limits()
    changed = limits_of(
        CollectSettings(httpapi_bytes_max=5000, batch_bytes_max=6000, events_max=7, id_length_min=1)
    )
    assert (changed.httpapi_bytes_max, changed.batch_bytes_max) == (5000, 6000)
    assert (changed.events_max, changed.id_length_min) == (7, 1)
