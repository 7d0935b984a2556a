from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailrace.clock import SteppedClock
from tailrace.errors import Corrupt, NewerFormat
from tailrace.files import Files
from tailrace.log.end import END_FILE
from tailrace.log.frame import encode_frame, encode_group
from tailrace.log.reader import LogReader
from tailrace.log.record import Record, encode_record
from tailrace.log.segment import SEGMENT_HEADER_BYTES
from tailrace.log.writer import LogWriter

MakeRecord = Callable[..., Record]
OpenWriter = Callable[..., LogWriter]
ReadAll = Callable[..., list[bytes]]


@pytest.fixture
def folder(log_folder: Path) -> Path:
    return log_folder / "1"


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.log"))


def newest_with_entries(folder: Path) -> Path:
    return [path for path in segments(folder) if path.stat().st_size > SEGMENT_HEADER_BYTES][-1]


def fill(open_writer: OpenWriter, records: list[Record], **options: object) -> LogWriter:
    writer = open_writer(**options)
    for record in records:
        asyncio.run(writer.append(record))
    writer.close()
    return writer


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x10
    path.write_bytes(bytes(data))


def add(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def unanswered_group(path: Path, end: int, records: list[Record]) -> bytes:
    """Return a group as a writer that dies before its sync leaves it."""
    position = int(path.stem) + path.stat().st_size
    data = encode_group(end, 1, position)
    for number, record in enumerate(records):
        stamp = 1_900_000_000_000_000 + number
        data += b"".join(encode_frame(2, stamp, position + len(data), encode_record(record)))
    return data


def test_a_whole_log_is_taken_up_in_a_new_segment(
    open_writer: OpenWriter, make_record: MakeRecord, read_all: ReadAll, folder: Path
) -> None:
    old = fill(open_writer, [make_record("a")])
    before = segments(folder)
    writer = open_writer()
    assert writer.cut_bytes == 0
    assert writer.end == old.end
    asyncio.run(writer.append(make_record("b")))
    assert len(segments(folder)) == len(before) + 1
    assert read_all() == [make_record("a").body, make_record("b").body]


def test_restarts_without_entries_leave_no_pile_of_segments(
    open_writer: OpenWriter, folder: Path
) -> None:
    for _ in range(10):
        open_writer().close()
    assert len(segments(folder)) == 2


def test_whole_unanswered_frames_are_kept_and_become_durable(
    open_writer: OpenWriter, make_record: MakeRecord, read_all: ReadAll, folder: Path
) -> None:
    end = fill(open_writer, [make_record("a")]).end
    path = newest_with_entries(folder)
    add(path, unanswered_group(path, end.position, [make_record("b"), make_record("c")]))
    assert read_all() == [make_record("a").body]
    assert open_writer().cut_bytes == 0
    assert read_all() == [make_record(text).body for text in "abc"]


def test_everything_from_a_bad_frame_is_cut_even_when_whole_frames_follow(
    open_writer: OpenWriter, make_record: MakeRecord, read_all: ReadAll, folder: Path
) -> None:
    end = fill(open_writer, [make_record("a")]).end
    path = newest_with_entries(folder)
    size = path.stat().st_size
    group = unanswered_group(path, end.position, [make_record(text) for text in "bcd"])
    add(path, group)
    third = path.read_bytes().index(make_record("c").body)
    flip(path, third)
    writer = open_writer()
    kept = unanswered_group(path, end.position, [make_record("b")])
    assert read_all() == [make_record("a").body, make_record("b").body]
    assert path.stat().st_size < size + len(group)
    assert writer.cut_bytes == len(group) - len(kept)


def test_cut_positions_are_never_used_again(
    open_writer: OpenWriter, make_record: MakeRecord, folder: Path, reader: LogReader
) -> None:
    end = fill(open_writer, [make_record("a")]).end
    path = newest_with_entries(folder)
    add(path, b"\xff" * 9_000)
    beyond = int(path.stem) + path.stat().st_size
    writer = open_writer()
    assert writer.cut_bytes == 9_000
    asyncio.run(writer.append(make_record("b")))
    assert reader.read(1, end.position, 1 << 20)[0].position >= beyond


def test_damage_before_the_published_end_stops_the_start_and_changes_nothing(
    open_writer: OpenWriter, make_record: MakeRecord, folder: Path
) -> None:
    fill(open_writer, [make_record("a"), make_record("b")])
    path = newest_with_entries(folder)
    flip(path, path.read_bytes().index(make_record("b").body))
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    with pytest.raises(Corrupt, match=r"damaged.*Restore"):
        open_writer()
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


@pytest.mark.parametrize("known_from", ["group", "processor"])
def test_damage_before_an_end_known_elsewhere_stops_the_start(
    open_writer: OpenWriter, make_record: MakeRecord, folder: Path, known_from: str
) -> None:
    end = fill(open_writer, [make_record("a"), make_record("b")]).end
    (folder / END_FILE).unlink()
    path = newest_with_entries(folder)
    hit = {"group": "a", "processor": "b"}[known_from]
    flip(path, path.read_bytes().index(make_record(hit).body))
    with pytest.raises(Corrupt, match="damaged"):
        open_writer(known_end=end.position if known_from == "processor" else 0)


def test_damage_in_the_last_group_is_cut_if_nothing_says_that_it_was_durable(
    open_writer: OpenWriter, make_record: MakeRecord, read_all: ReadAll, folder: Path
) -> None:
    fill(open_writer, [make_record("a"), make_record("b")])
    (folder / END_FILE).unlink()
    path = newest_with_entries(folder)
    flip(path, path.read_bytes().index(make_record("b").body))
    assert open_writer().cut_bytes > len(make_record("b").body)
    assert read_all() == [make_record("a").body]


def test_damage_in_an_older_segment_that_is_not_processed_stops_the_start(
    open_writer: OpenWriter, make_record: MakeRecord, folder: Path, log_folder: Path
) -> None:
    fill(open_writer, [make_record(text) for text in "abc"], segment_bytes=1)
    path = segments(folder)[1]
    flip(path, path.read_bytes().index(make_record("a").body))
    with pytest.raises(Corrupt, match=path.name):
        open_writer()


def test_damage_that_a_processor_has_passed_stops_nothing(
    open_writer: OpenWriter, make_record: MakeRecord, folder: Path
) -> None:
    end = fill(open_writer, [make_record(text) for text in "abc"], segment_bytes=1).end
    path = segments(folder)[1]
    flip(path, path.read_bytes().index(make_record("a").body))
    assert open_writer(known_end=end.position).end == end


def test_a_log_shorter_than_what_was_known_stops_the_start(
    open_writer: OpenWriter, make_record: MakeRecord, folder: Path
) -> None:
    fill(open_writer, [make_record("a"), make_record("b")])
    path = newest_with_entries(folder)
    data = path.read_bytes()
    path.write_bytes(data[: data.index(make_record("b").body) - 90])
    with pytest.raises(Corrupt, match=r"durable"):
        open_writer()


def test_a_position_beyond_the_log_stops_the_start(
    open_writer: OpenWriter, make_record: MakeRecord
) -> None:
    end = fill(open_writer, [make_record("a")]).end
    with pytest.raises(Corrupt, match=str(end.position + 1)):
        open_writer(known_end=end.position + 1)


@pytest.mark.parametrize("gone", [1, 2, -1])
def test_a_missing_segment_stops_the_start(
    open_writer: OpenWriter, make_record: MakeRecord, folder: Path, gone: int
) -> None:
    fill(open_writer, [make_record(text) for text in "abcd"], segment_bytes=1)
    segments(folder)[gone].unlink()
    with pytest.raises(Corrupt, match="backup"):
        open_writer()


def test_an_emptied_folder_stops_the_start_of_a_processed_partition(
    open_writer: OpenWriter, make_record: MakeRecord, folder: Path
) -> None:
    end = fill(open_writer, [make_record("a")]).end
    shutil.rmtree(folder)
    with pytest.raises(Corrupt):
        open_writer(known_end=end.position)


def test_removed_front_segments_stop_only_a_processor_that_has_not_read_them(
    open_writer: OpenWriter, make_record: MakeRecord, folder: Path
) -> None:
    end = fill(open_writer, [make_record(text) for text in "abcd"], segment_bytes=1).end
    for path in segments(folder)[:2]:
        path.unlink()
    with pytest.raises(Corrupt, match="oldest segment"):
        open_writer(known_end=100)
    assert open_writer(known_end=end.position).end == end


@pytest.mark.parametrize("content", [b"", b"TRSE", b"\x00" * SEGMENT_HEADER_BYTES])
def test_a_segment_whose_beginning_was_cut_short_is_replaced(
    open_writer: OpenWriter,
    make_record: MakeRecord,
    read_all: ReadAll,
    folder: Path,
    content: bytes,
) -> None:
    fill(open_writer, [make_record("a")])
    newest = segments(folder)[-1]
    base = int(newest.stem) + newest.stat().st_size
    (folder / f"{base:020d}.log").write_bytes(content)
    asyncio.run(open_writer().append(make_record("b")))
    assert read_all() == [make_record("a").body, make_record("b").body]


def test_a_first_start_that_was_cut_short_begins_anew(
    open_writer: OpenWriter, make_record: MakeRecord, read_all: ReadAll, folder: Path
) -> None:
    folder.mkdir(parents=True)
    (folder / f"{0:020d}.log").write_bytes(b"")
    asyncio.run(open_writer().append(make_record("a")))
    assert read_all() == [make_record("a").body]


def test_a_damaged_header_stops_the_start(
    open_writer: OpenWriter, make_record: MakeRecord, folder: Path
) -> None:
    fill(open_writer, [make_record("a")])
    flip(newest_with_entries(folder), 20)
    with pytest.raises(Corrupt, match="header"):
        open_writer()


def test_a_segment_of_a_newer_release_is_refused(
    open_writer: OpenWriter, make_record: MakeRecord, folder: Path
) -> None:
    fill(open_writer, [make_record("a")])
    path = newest_with_entries(folder)
    data = bytearray(path.read_bytes())
    data[8] += 1
    path.write_bytes(bytes(data))
    with pytest.raises(NewerFormat, match="newer release"):
        open_writer()


def test_a_segment_of_another_partition_is_refused(
    open_writer: OpenWriter, make_record: MakeRecord, folder: Path, log_folder: Path
) -> None:
    fill(open_writer, [make_record("a")])
    (log_folder / "2").mkdir()
    path = newest_with_entries(folder)
    shutil.copy(path, log_folder / "2" / path.name)
    with pytest.raises(Corrupt, match="partition 1"):
        open_writer(2)


@pytest.mark.slow  # some hundred syncs and restarts on real files
@settings(max_examples=40, deadline=None)
@given(
    groups=st.lists(st.lists(st.integers(0, 60), min_size=1, max_size=4), min_size=1, max_size=5),
    published=st.booleans(),
    damage=st.sampled_from(["cut", "flip", "zero"]),
    data=st.data(),
)
def test_any_damage_leaves_every_answered_record_or_stops_the_start(
    tmp_path_factory: pytest.TempPathFactory,
    groups: list[list[int]],
    published: bool,
    damage: str,
    data: st.DataObject,
) -> None:
    """Answered is what lies before the last group, and the last one if its end was published."""
    log_folder = tmp_path_factory.mktemp("log") / "log"
    folder = log_folder / "1"
    clock = SteppedClock(1_770_000_000_000_000)

    def start() -> LogWriter:
        return LogWriter.open(folder, partition=1, clock=clock, files=Files(), known_end=0)

    async def append(writer: LogWriter, sizes: list[int]) -> None:
        records = [Record(1, 2, "/", 3, None, "::1", 1, b"%d" % size * size) for size in sizes]
        # The event loop is not left before all of them wait, but the first may go ahead alone.
        await asyncio.gather(*(writer.append(record) for record in records))
        bodies.extend(record.body for record in records)

    bodies: list[bytes] = []
    writer = start()
    for sizes in groups:
        asyncio.run(append(writer, sizes))
    end = writer.end.position
    writer.close()

    path = newest_with_entries(folder)
    whole = path.read_bytes()
    at = data.draw(st.integers(SEGMENT_HEADER_BYTES, len(whole) - 1))
    if damage == "cut":
        path.write_bytes(whole[:at])
    elif damage == "flip":
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    else:
        # What some file systems leave of pages that were never written.
        path.write_bytes(whole[:at] + bytes(len(whole) - at))
    if not published:
        (folder / END_FILE).unlink()
    try:
        writer = start()
    except Corrupt:
        assert published or at < whole.rindex(b"\x00TRgroup")
        return
    position, found = 0, []
    reader = LogReader(log_folder)
    while entries := reader.read(1, position, 100):
        found += [entry.record.body for entry in entries if entry.record is not None]
        position = entries[-1].next_position
    reader.close()
    writer.close()
    assert found == bodies[: len(found)]
    if published:
        # Only trailing zeros may have been changed into zeros.
        assert found == bodies
        assert end == position
