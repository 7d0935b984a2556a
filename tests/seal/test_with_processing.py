"""Sealing over what the real processor commits, with restarts at random moments."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import pytest

from tailrace.archive.folder import FolderArchive
from tailrace.clock import SteppedClock
from tailrace.files import Files
from tailrace.hours import Hour
from tailrace.ids import SystemIds
from tailrace.log.record import Entry, Position, Record
from tailrace.process.loop import Processor
from tailrace.seal.closer import Closer
from tailrace.seal.inspect import inspect_file
from tailrace.seal.manifest import manifest_body
from tailrace.seal.proof import check_chain
from tailrace.state.database import open_database
from tailrace.state.ledger import Ledger
from tailrace.state.processing import HourSettings, ProcessingStore

HOUR = Hour.parse("2026-11-23T13")
PROJECTS = (300001, 300002, 300003)
RECORDS_PER_HOUR = 60


class Log:
    """Entries of one partition in memory, all durable."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def add(self, stamp: int, record: Record | None) -> None:
        at = len(self.entries) + 1
        self.entries.append(Entry(1, at, at + 1, stamp, record))

    def read_round(self, positions: Mapping[int, Position], limit_bytes: int) -> Sequence[Entry]:
        start = positions[1].position - 1 if 1 in positions else 0
        return self.entries[max(start, 0) :][:7]


class Running:
    """One life of a processor and its closer."""

    settings = HourSettings()

    def __init__(self, folder: Path, log: Log, clock: SteppedClock) -> None:
        self.store = ProcessingStore.open(folder / "processing.sqlite", SystemIds())
        self.engine = open_database(folder / "tailrace.sqlite")
        self.ledger = Ledger(self.engine, clock)
        self.archive = FolderArchive(folder / "packs", folder / "archive", Files())
        self.processor = Processor(
            log, self.store, self.archive, clock, Files(), lambda _: self.settings,
            folder / "processing.lock",
        )  # fmt: skip
        self.closer = Closer(
            self.store,
            self.archive,
            self.ledger,
            epoch=self.processor.epoch,
            partition_bytes=3000,
            partitions=lambda: [1],
        )
        self.closer.recover()

    def close(self) -> None:
        self.closer.close()
        self.processor.close()
        self.store.close()
        self.engine.dispose()


def fill(log: Log, chance: random.Random) -> dict[tuple[int, Hour], tuple[int, set[str]]]:
    """Write three hours; return per project and hour what was accepted, and the new insert ids."""
    accepted: dict[tuple[int, Hour], tuple[int, set[str]]] = {}
    seen: set[tuple[int, str]] = set()
    for offset in range(3):
        hour = HOUR.plus(offset)
        for i in range(RECORDS_PER_HOUR):
            project = chance.choice(PROJECTS)
            ids = [f"i{chance.randrange(600)}" for _ in range(chance.randrange(1, 6))]
            events = [
                {"event_type": "e", "device_id": "device-1", "insert_id": name} for name in ids
            ]
            stamp = hour.start_micros + i * 1_000_000 + 1
            body = json.dumps({"events": events}).encode()
            address = "203.0.113.7"
            log.add(
                stamp,
                Record(100001, project, "/2/httpapi", stamp, None, address, len(ids), body),
            )
            count, new = accepted.setdefault((project, hour), (0, set()))
            new |= {name for name in ids if (project, name) not in seen}
            seen |= {(project, name) for name in ids}
            accepted[project, hour] = (count + len(ids), new)
        log.add(hour.end_micros, None)
    return accepted


def test_the_manifest_says_how_the_lines_of_each_hour_were_made(tmp_path: Path) -> None:
    log, clock = Log(), SteppedClock(HOUR.start_micros)
    life = Running(tmp_path, log, clock)
    chosen = (HourSettings(), HourSettings(None, None, True, True, True))
    for offset, settings in enumerate(chosen):
        life.settings = settings
        body = b'{"events":[{"event_type":"e","device_id":"device-1","partner_id":"p"}]}'
        for second in range(2):
            at = HOUR.plus(offset).start_micros + second * 1_000_000
            record = Record(100001, 300001, "/2/httpapi", at, None, "203.0.113.7", 1, body)
            log.add(at, record)
            assert life.processor.run_round() == 1
            # Too late for this hour.
            life.settings = HourSettings(None, None, not settings.extended_columns)
    log.add(HOUR.plus(2).start_micros, None)
    assert life.processor.run_round()
    life.processor.checkpoint()
    life.closer.finish()

    hours = [life.ledger.sealed_hour(300001, HOUR.plus(offset)) for offset in range(2)]
    checked = check_chain(manifest_body(hour.record, hour.digest, "") for hour in hours if hour)
    assert [one.record.schema.keys for one in checked] == [49, 55]
    for hour, one, settings in zip(hours, checked, chosen, strict=True):
        assert json.loads(bytes(one.record.settings)) == msgspec.to_builtins(settings)
        assert hour is not None
        (file,) = hour.files
        path = life.archive.file_path(300001, hour.hour, file.name)
        assert inspect_file(path).sound
        lines = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
        assert [len(line) for line in lines] == [one.record.schema.keys] * 2
        assert {line["$schema"] for line in lines} == {settings.schema_number}
    life.close()


@pytest.mark.slow  # Three hours with some dozens of syncs each, under a dozen restarts.
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_accepted_event_is_in_one_file_or_counted(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    log, clock = Log(), SteppedClock(HOUR.start_micros)
    accepted = fill(log, chance)

    life = Running(tmp_path, log, clock)
    restarts = 0
    while life.processor.run_round():
        if chance.random() < 0.7:
            life.processor.checkpoint()
        for _ in range(chance.randrange(4)):
            life.closer.step()
        if chance.random() < 0.5:
            life.closer.finish()
        if chance.random() < 0.3:
            life.close()
            life = Running(tmp_path, log, clock)
            restarts += 1
    assert restarts > 2
    life.processor.checkpoint()
    life.closer.finish()

    early = 0
    for (project, hour), (count, new) in accepted.items():
        sealed = life.ledger.sealed_hour(project, hour)
        assert sealed is not None
        record = json.loads(sealed.record)
        assert (record["accepted"], record["exported"]) == (count, len(new))
        found: list[str] = []
        for file in sealed.files:
            path = life.archive.file_path(project, hour, file.name)
            assert inspect_file(path).sound, inspect_file(path).problems
            lines = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
            found += [line["$insert_id"] for line in lines]
            times = [line["server_upload_time"] for line in lines]
            assert min(times) >= record["first_server_upload_time"]
            assert max(times) <= record["last_server_upload_time"]
        assert sorted(found) == sorted(new)
        early += len(sealed.files) - 1
    assert early > 0
    assert life.archive.pack_names() == []
    for project in PROJECTS:
        hours = [life.ledger.sealed_hour(project, HOUR.plus(offset)) for offset in range(3)]
        check_chain(manifest_body(s.record, s.digest, "p/") for s in hours if s is not None)
    life.close()
