"""The torture's look at the order of objects: what came early, and what was ever changed."""

from __future__ import annotations

import msgspec
import pytest

from tailrace.clock import MICROS
from tailrace.hours import Hour
from tailrace.seal.manifest import EVENTS_SCHEMA, RecordFile, SealRecord
from tailrace.seal.names import file_key, file_name, manifest_key, marker_key
from tailrace.seal.proof import CheckedManifest
from torture.journal import Happening
from torture.order import prove_order
from torture.timeline import Timeline

SCOPE = 300001
HOUR = Hour.parse("2026-03-01T22")
PREFIX = "main/"
FILES = [file_key(PREFIX, SCOPE, HOUR, number) for number in (1, 2)]
MANIFEST = manifest_key(PREFIX, SCOPE, HOUR)
MARKER = marker_key(PREFIX, SCOPE, HOUR)
# On the machine, the hour begins at 0 and takes 10 seconds.
TIMELINE = Timeline(HOUR.start_micros, 0, 0, 360)
OVER = 10 * MICROS


class Copy(msgspec.Struct):
    """One hour below one prefix."""

    bucket: str
    prefix: str
    keys: set[str]
    manifests: dict[tuple[int, Hour], CheckedManifest]


def copy() -> Copy:
    files = tuple(
        RecordFile(file_name(SCOPE, HOUR, number), 1, 100, 200, "ab", "0") for number in (1, 2)
    )
    record = SealRecord(
        *(1, SCOPE, 1, str(HOUR), files, 2, 2, 0, 0, 0, 0, None, None, {}),
        settings=msgspec.Raw(b"null"),
        schema=EVENTS_SCHEMA,
        previous=None,
    )
    checked = CheckedManifest(record, "cd", tuple(FILES))
    return Copy("acme", PREFIX, {*FILES, MANIFEST, MARKER}, {(SCOPE, HOUR): checked})


def created(key: str, *, at: int = OVER, sha256: str = "ab", size: int = 100) -> Happening:
    return Happening(at, "acme", key, "created", size, sha256)


RIGHT = [created(key) for key in (*FILES, MANIFEST, MARKER)]


def faults(happenings: list[Happening]) -> list[str]:
    return list(prove_order(happenings, [copy()], TIMELINE))


def test_files_then_manifest_then_marker_is_right() -> None:
    assert faults(RIGHT) == []


def test_files_may_come_early_and_a_probe_may_go() -> None:
    probe = Happening(0, "acme", f"{PREFIX}_tailrace/access-check-1", "removed", 0, "")
    early = [created(key, at=0) for key in FILES]
    assert faults([probe, *early, *RIGHT[2:]]) == []


@pytest.mark.parametrize(
    ("happenings", "told"),
    [
        ([RIGHT[0], RIGHT[3], RIGHT[1], RIGHT[2]], "_complete came before what it stands for"),
        ([RIGHT[0], RIGHT[2], RIGHT[1], RIGHT[3]], ".json came before what it stands for"),
        ([*RIGHT[:3], created(MARKER, at=OVER - MICROS)], "before its hour was over"),
        ([*RIGHT, RIGHT[0]], "#1.json.gz was created after it had been delivered"),
        (
            [*RIGHT, msgspec.structs.replace(RIGHT[0], kind="replaced")],
            "#1.json.gz was replaced after it had been delivered",
        ),
        (
            [*RIGHT, msgspec.structs.replace(RIGHT[3], kind="removed")],
            "_complete was removed after it had been delivered",
        ),
        ([created(FILES[0], sha256="ef"), *RIGHT[1:]], "came as something else"),
        ([created(FILES[0], size=99), *RIGHT[1:]], "came as something else"),
        (RIGHT[1:], "#1.json.gz is not in the server's journal"),
        ([*RIGHT, created("elsewhere/1#1.json.gz")], "is below no destination's prefix"),
    ],
)
def test_what_came_early_or_was_changed_is_told(happenings: list[Happening], told: str) -> None:
    assert [fault for fault in faults(happenings) if told in fault]
