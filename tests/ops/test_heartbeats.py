from __future__ import annotations

from pathlib import Path

from tailrace.files import Files
from tailrace.ops.heartbeats import STALE_MICROS, Heart, is_alive, read_heartbeats


def test_a_beat_is_read_back_and_grows_stale(tmp_path: Path) -> None:
    heart = Heart(tmp_path, "processor", Files())
    heart.beat(5, {"a": "b"}, {"c": 1.0})
    (beat,) = read_heartbeats(tmp_path)
    assert (beat.part, beat.facts, beat.counters) == ("processor", {"a": "b"}, {"c": 1.0})
    assert is_alive(beat, 5 + STALE_MICROS)
    assert not is_alive(beat, 6 + STALE_MICROS)
    heart.stop()
    assert read_heartbeats(tmp_path) == []


def test_a_disk_that_takes_no_file_ends_nothing_but_the_news(tmp_path: Path) -> None:
    heart = Heart(tmp_path, "serve", Files())
    heart.beat(5, {}, {})
    # A folder in the place of the temporary file: writing it fails, as on a full disk.
    (tmp_path / ".serve.json.tmp").mkdir()
    heart.beat(6, {}, {})
    (beat,) = read_heartbeats(tmp_path)
    assert beat.beat_micros == 5


def test_a_beat_from_before_the_machine_started_is_no_life(tmp_path: Path) -> None:
    Heart(tmp_path, "serve", Files()).beat(5_000_000, {}, {})
    (beat,) = read_heartbeats(tmp_path)
    assert not is_alive(beat, 4_000_000)


def test_a_torn_beat_is_no_word_and_no_error(tmp_path: Path) -> None:
    Heart(tmp_path, "serve", Files()).beat(5, {}, {})
    (tmp_path / "web.json").write_bytes(b"")
    (tmp_path / "processor.json").write_bytes(b"\0" * 40)
    assert [beat.part for beat in read_heartbeats(tmp_path)] == ["serve"]
