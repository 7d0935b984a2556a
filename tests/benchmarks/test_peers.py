"""What an engine gets wrong is seen."""

from __future__ import annotations

import gzip
from pathlib import Path

import msgspec
import pytest

from benchmarks.peer import File
from benchmarks.peers import judge

LINES: list[dict[str, object]] = [
    {"uuid": f"{number}", "groups": {}, "price": 1.5, "seen": None} for number in range(10)
]


def _file(path: Path, lines: list[dict[str, object]]) -> Path:
    path.write_bytes(gzip.compress(msgspec.json.Encoder().encode_lines(lines)))
    return path


def _ours(folder: Path) -> list[File]:
    return [File(str(_file(folder / "ours", LINES)), 0, "", 0)]


def test_lines_that_say_the_same_are_right_in_any_order_of_keys(tmp_path: Path) -> None:
    turned = [dict(reversed(line.items())) for line in LINES]
    found = judge(_file(tmp_path / "out", turned[::-1]), _ours(tmp_path))
    assert found.right
    assert (found.lines, found.compared, found.same_order) == (10, 10, 0)


@pytest.mark.parametrize(
    ("field", "value"), [("groups", "{}"), ("price", "1.5"), ("seen", 0), ("more", 1)]
)
def test_a_field_that_says_something_else_is_named(
    tmp_path: Path, field: str, value: object
) -> None:
    changed = [*LINES[:9], LINES[9] | {field: value}]
    found = judge(_file(tmp_path / "out", changed), _ours(tmp_path))
    assert not found.right
    assert found.differing == {field: 1}
    assert f"{field} in 1" in found.sentence("An engine")


def test_a_missing_and_a_doubled_line_are_wrong(tmp_path: Path) -> None:
    missing = judge(_file(tmp_path / "out", LINES[:9]), _ours(tmp_path))
    assert (missing.right, missing.lines, missing.missing) == (False, 9, 1)
    doubled = judge(_file(tmp_path / "out", [*LINES, LINES[0]]), _ours(tmp_path))
    assert (doubled.right, doubled.lines) == (False, 11)
