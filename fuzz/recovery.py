"""Target `recovery`: a partition's files after damage, opened again by a writer and by a reader.

Either the start is refused with a named error and nothing is changed, or what is read afterwards
is a beginning of what was written, with all that was known to be durable.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from functools import cache
from pathlib import Path

import msgspec

from fuzz.choices import Choices, damaged
from fuzz.claims import claim
from tailrace.clock import SteppedClock
from tailrace.errors import Corrupt, NewerFormat, Transient
from tailrace.files import AppendFile, Files
from tailrace.hours import Hour
from tailrace.log.end import END_FILE, EndFile, read_end
from tailrace.log.frame import RECORD, encode_frame, encode_group
from tailrace.log.partitions import register_partition
from tailrace.log.reader import LogReader
from tailrace.log.record import Record, encode_record
from tailrace.log.recover import recover
from tailrace.log.writer import LogWriter

_PARTITION = 1
_RECORDS = 6
# Several segments, and one.
_SEGMENT_BYTES = (300, 1_000_000)
_CHANGES_MAX = 3
_START = Hour.parse("2026-03-05T17").start_micros
NAMED = (Corrupt, NewerFormat, Transient)

Read = list[tuple[int, int, bytes | None]]


class Written(msgspec.Struct, frozen=True):
    """A partition as a writer left it: its files, its entries, and where it ended."""

    files: dict[str, bytes]
    entries: Read
    end: int
    end_stamp: int


class _Unsynced(Files):
    """Real files; a sync has nothing to add to what a reader sees."""

    def sync_folder(self, path: Path) -> None:
        return

    def sync_descriptor(self, descriptor: int) -> None:
        return

    def open_append(self, path: Path) -> AppendFile:
        file = super().open_append(path)
        file.sync_data = lambda: None  # type: ignore[method-assign]
        return file


def target(data: bytes) -> None:
    """Damage a copy of a partition, recover it, and read it."""
    choices = Choices(data)
    written = _written(_SEGMENT_BYTES[choices.number(2)])
    log_folder = Path(_folder()) / "log"
    shutil.rmtree(log_folder, ignore_errors=True)
    folder = log_folder / str(_PARTITION)
    folder.mkdir(parents=True)
    files, entries = dict(written.files), list(written.entries)
    if choices.number(2):
        entries += _add_unanswered(files, written)
    known_end = [0, written.end, written.entries[2][0]][choices.number(3)]
    for _ in range(choices.number(2) + 1):
        _damage(files, choices)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    register_partition(log_folder, _PARTITION, _Unsynced())
    end_kept = files.get(END_FILE) == written.files[END_FILE]
    durable = max(known_end, written.end if end_kept else 0)
    _recover_and_read(log_folder, folder, known_end, durable, entries)


def _damage(files: dict[str, bytes], choices: Choices) -> None:
    names = sorted(files)
    name = names[choices.number(len(names))]
    if choices.number(8) == 1 and len(names) > 1:
        del files[name]
    elif choices.number(8) == 1:
        files[f"{choices.number(65_536):020d}.log"] = files[name]
    else:
        files[name], _ = damaged(files[name], choices, _CHANGES_MAX)


def _recover_and_read(
    log_folder: Path, folder: Path, known_end: int, durable: int, entries: Read
) -> None:
    end_file = EndFile(folder)
    before = _contents(folder)
    try:
        recovered = recover(
            folder,
            partition=_PARTITION,
            known_end=known_end,
            files=_Unsynced(),
            end_file=end_file,
        )
    except NAMED:
        claim(_contents(folder) == before, "a refused start changed something")
        return
    finally:
        end_file.close()
    if recovered.file is not None:
        recovered.file.close()
    claim(recovered.end.position >= durable, "recovery ends before what was durable")
    published = read_end(folder)
    claim(published == recovered.end, "another end is published")
    try:
        read = _read_all(log_folder)
    except NAMED:
        return
    claim(read == entries[: len(read)], "an altered entry is read")
    wanted = [entry for entry in entries if entry[0] <= durable]
    claim(len(read) >= len(wanted), "a durable entry is dropped in silence")


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def _read_all(log_folder: Path) -> Read:
    reader = LogReader(log_folder)
    read: Read = []
    try:
        position = 0
        while entries := reader.read(_PARTITION, position, 256):
            read += [
                (e.next_position, e.stamp, None if e.record is None else e.record.body)
                for e in entries
            ]
            claim(entries[-1].next_position > position, "reading does not go on")
            position = entries[-1].next_position
    finally:
        reader.close()
    return read


def _add_unanswered(files: dict[str, bytes], written: Written) -> Read:
    """Append a whole group that was written and never synced; recovery may keep it."""
    name = max(name for name in files if name.endswith(".log"))
    base = int(name.removesuffix(".log"))
    position = base + len(files[name])
    group = encode_group(written.end, written.end_stamp, position)
    body = b'{"events":["late"]}'
    stamp = written.end_stamp + 1000
    frame = b"".join(
        encode_frame(RECORD, stamp, position + len(group), encode_record(_record(body)))
    )
    files[name] += group + frame
    return [(position + len(group) + len(frame), stamp, body)]


def _record(body: bytes) -> Record:
    return Record(100_001, 300_001, "/2/httpapi", 1000, None, "::1", 1, body)


@cache
def _folder() -> str:
    return tempfile.mkdtemp(prefix="tailrace-fuzz-")


@cache
def _written(segment_bytes: int) -> Written:
    with tempfile.TemporaryDirectory(prefix="tailrace-fuzz-") as root:
        log_folder = Path(root) / "log"
        folder = log_folder / str(_PARTITION)
        clock = SteppedClock(_START)
        writer = LogWriter.open(
            folder,
            partition=_PARTITION,
            clock=clock,
            files=Files(),
            known_end=0,
            segment_bytes=segment_bytes,
        )

        async def fill() -> None:
            for number in range(_RECORDS):
                clock.advance(1000)
                await writer.append(_record(b'{"events":["%d"]}' % number + b" " * 20 * number))

        asyncio.run(fill())
        end = writer.end
        writer.close()
        kept = {
            path.name: path.read_bytes()
            for path in folder.iterdir()
            if path.suffix == ".log" or path.name == END_FILE
        }
        return Written(kept, _read_all(log_folder), end.position, end.stamp)
