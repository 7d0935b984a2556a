from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.errors import NewerFormat
from tailrace.log.end import END_FILE, End, EndFile, read_end


def test_a_published_end_is_seen_at_once_and_replaced_in_place(tmp_path: Path) -> None:
    file = EndFile(tmp_path)
    for end in (End(10, 20), End(2**62, 2**61), End(3, 4)):
        file.publish(end)
        assert read_end(tmp_path) == end
    file.close()


def test_no_file_and_an_empty_file_publish_nothing(tmp_path: Path) -> None:
    assert read_end(tmp_path) is None
    (tmp_path / END_FILE).write_bytes(b"")
    assert read_end(tmp_path) is None


@given(st.data())
def test_a_torn_end_publishes_nothing(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("end")
    file = EndFile(folder)
    file.publish(End(1_234, 5_678))
    file.close()
    whole = bytearray((folder / END_FILE).read_bytes())
    at = data.draw(st.integers(8, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    (folder / END_FILE).write_bytes(bytes(whole))
    assert read_end(folder) is None


def test_an_end_that_is_only_half_taken_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: plain(fd, data[: len(data) // 2], at))
    file = EndFile(tmp_path)
    with pytest.raises(OSError, match="only 14 of the end's 28 bytes"):
        file.publish(End(1, 2))
    file.close()


def test_an_end_of_a_newer_release_is_refused(tmp_path: Path) -> None:
    file = EndFile(tmp_path)
    file.publish(End(1, 2))
    file.close()
    data = bytearray((tmp_path / END_FILE).read_bytes())
    data[6] += 1
    (tmp_path / END_FILE).write_bytes(bytes(data))
    with pytest.raises(NewerFormat, match="newer release"):
        read_end(tmp_path)


def test_a_file_that_became_longer_is_cut_when_an_end_is_published(tmp_path: Path) -> None:
    (tmp_path / END_FILE).write_bytes(b"x" * 100)
    assert read_end(tmp_path) is None

    file = EndFile(tmp_path)
    file.publish(End(10, 20))
    file.close()

    assert read_end(tmp_path) == End(10, 20)
