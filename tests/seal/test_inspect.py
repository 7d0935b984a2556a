from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from pathlib import Path

import pytest

from tailrace.seal import inspect as inspecting
from tailrace.seal.inspect import inspect_file

NAME = "300001_2026-11-23_13#1.json.gz"


def line(time: str, **more: object) -> bytes:
    return json.dumps({"uuid": "x", "server_upload_time": time, **more}).encode() + b"\n"


LINES = (
    line("2026-11-23 13:20:00.100000")
    + line("2026-11-23 13:00:00.000000", event_type="é")
    + line("2026-11-23 13:59:59.999000")
)


def write(folder: Path, data: bytes, name: str = NAME) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def test_a_sound_file_tells_what_it_holds(tmp_path: Path) -> None:
    data = gzip.compress(LINES, mtime=0)
    found = inspect_file(write(tmp_path, data))
    assert found.sound
    assert found.problems == ()
    assert (found.crc_ok, found.single_member) == (True, True)
    assert (found.lines, found.raw_bytes, found.size_bytes) == (3, len(LINES), len(data))
    assert found.sha256 == hashlib.sha256(data).hexdigest()
    assert found.first_time == "2026-11-23 13:00:00.000000"
    assert found.last_time == "2026-11-23 13:59:59.999000"


def test_a_merged_id_file_is_read_by_its_own_time(tmp_path: Path) -> None:
    record = (
        b'{"scope":-100001,"merge_time":1795438800000,"merge_server_time":1795439130521,'
        b'"amplitude_id":2,"merged_amplitude_id":1}\n'
    )
    found = inspect_file(write(tmp_path, gzip.compress(record), "-100001_2026-11-23_13.json.gz"))
    assert found.sound, found.problems
    assert found.first_time == "2026-11-23 13:05:30.521000"


def test_a_second_member_is_told_from_trailing_bytes(tmp_path: Path) -> None:
    data = gzip.compress(LINES)
    second = inspect_file(write(tmp_path, data + data))
    assert (second.sound, second.single_member, second.crc_ok) == (False, False, True)
    assert "second gzip member" in second.problems[0]
    assert second.lines == 3
    trailing = inspect_file(write(tmp_path, data + b"\0" * 600_000))
    assert trailing.problems == ("bytes follow its gzip member",)
    assert trailing.size_bytes == len(data) + 600_000


def test_a_cut_file_is_not_sound(tmp_path: Path) -> None:
    data = gzip.compress(LINES)
    for size in (0, 5, len(data) // 2, len(data) - 1):
        found = inspect_file(write(tmp_path, data[:size]))
        assert not found.sound
        assert not found.crc_ok
        assert "it ends before its gzip member does" in found.problems


def test_a_wrong_checksum_is_not_sound(tmp_path: Path) -> None:
    data = bytearray(gzip.compress(LINES))
    data[-8] ^= 1
    found = inspect_file(write(tmp_path, bytes(data)))
    assert (found.sound, found.crc_ok) == (False, False)
    assert "incorrect data check" in found.problems[0]


def test_a_file_that_is_no_gzip_is_not_sound(tmp_path: Path) -> None:
    found = inspect_file(write(tmp_path, LINES))
    assert not found.sound
    assert "can't be inflated" in found.problems[0]


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (LINES + b"{broken\n", "line 4 is no record"),
        (b"\n" + LINES, "line 1 is no record"),
        (LINES + b"[]\n", "line 4 is no record"),
        (LINES + b"{}\n", "line 4 has no server_upload_time"),
        (LINES[:-1], "last line does not end"),
        (b'{"a":' + b"[" * 3000 + b"\n", "line 1 is no record"),
        (b'{"merge_server_time":1000000000000000}\n', "line 1 is no record"),
        (line("2026-11-23 14:00:00.000000"), "says hour 2026-11-23T13, but a line is of"),
    ],
)
def test_wrong_lines_are_named(tmp_path: Path, lines: bytes, problem: str) -> None:
    found = inspect_file(write(tmp_path, gzip.compress(lines)))
    assert not found.sound
    assert problem in found.problems[0]


def test_a_file_of_another_name_is_not_held_to_an_hour(tmp_path: Path) -> None:
    assert inspect_file(write(tmp_path, gzip.compress(LINES), "copy.gz")).sound


def test_only_the_first_problems_are_kept(tmp_path: Path) -> None:
    found = inspect_file(write(tmp_path, gzip.compress(b"x\n" * 1000)))
    assert found.lines == 1000
    assert len(found.problems) == inspecting.PROBLEMS_MAX


def test_lines_longer_than_a_block_are_one_line(tmp_path: Path) -> None:
    long = line("2026-11-23 13:00:00.000000", text="x" * 3_000_000)
    found = inspect_file(write(tmp_path, gzip.compress(long + LINES, 1)))
    assert found.sound
    assert found.lines == 4


def test_a_line_without_end_does_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspecting, "LINE_BYTES_MAX", 2_000_000)
    found = inspect_file(write(tmp_path, zlib.compress(b" " * 9_000_000, 1, 31)))
    assert not found.sound
    assert "longer than 2000000 bytes" in found.problems[0]
