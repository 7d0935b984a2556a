"""Target `bucket`: objects of a bucket that anybody may have changed, read by proof and inspect."""

from __future__ import annotations

import gzip
import tempfile
import zlib
from functools import cache
from pathlib import Path

import msgspec

from fuzz.choices import Choices, damaged
from fuzz.claims import NotJson, claim, strict_json
from tailrace.errors import Corrupt, NewerFormat
from tailrace.hours import Hour
from tailrace.seal.inspect import PROBLEMS_MAX, inspect_file
from tailrace.seal.manifest import digest, manifest_body, record_bytes, seal_record
from tailrace.seal.names import file_name
from tailrace.seal.proof import check_chain, check_manifest
from tailrace.state.closing import DueScope, ProjectHourRow
from tailrace.state.sealed import SealedFile

_HOUR = Hour.parse("2026-03-05T17")
_PROJECT = 300_001
_CHANGES_MAX = 3
_NAMES = ("300001_2026-03-05_17#1.json.gz", "-100001_2026-03-05_17.json.gz", "any.gz")


def target(data: bytes) -> None:
    """Read an input as a manifest, as a seal record whose digest fits, or as a file."""
    choices = Choices(data)
    way = choices.number(5)
    if way == 0:
        _manifest(choices.rest())
    elif way == 1:
        _record(choices.rest())
    elif way == 2:
        _damaged_manifest(choices)
    else:
        _file(choices, packed=way == 3)


def _manifest(body: bytes) -> None:
    try:
        checked = check_manifest(body)
    except (Corrupt, NewerFormat):
        return
    claim(checked.record.accepted >= checked.record.exported, "an accounting that can't be")
    try:
        check_chain([body, body])
    except (Corrupt, NewerFormat):
        return
    claim(False, "an hour follows itself")


def _record(seal: bytes) -> None:
    """Let the digest fit, so that what is behind it is reached."""
    try:
        objects = [
            {"name": file["name"], "key": file["name"], "url": file["name"]}
            for file in strict_json(seal)["files"]
        ]
    except (NotJson, KeyError, TypeError):
        objects = []
    head = {"format": 1, "objects": objects, "seal_sha256": digest(seal)}
    try:
        body = msgspec.json.encode(head)[:-1]
    except UnicodeEncodeError:
        return
    _manifest(body + b',"seal":' + seal + b"}")


def _damaged_manifest(choices: Choices) -> None:
    sound = _sound_manifest()
    body, _ = damaged(sound, choices, _CHANGES_MAX)
    try:
        checked = check_manifest(body)
    except (Corrupt, NewerFormat):
        return
    wanted = check_manifest(sound)
    # Nothing but what lies outside of the record and its objects may differ.
    claim(checked.record == wanted.record, "an altered record passes")
    claim(checked.sha256 == wanted.sha256, "an altered digest passes")


def _file(choices: Choices, *, packed: bool) -> None:
    name = _NAMES[choices.number(len(_NAMES))]
    content = choices.rest()
    if packed:
        content = gzip.compress(content, 1, mtime=0)
    path = _folder() / name
    path.write_bytes(content)
    found = inspect_file(path)
    claim(found.size_bytes == len(content), "the size is wrong")
    claim(len(found.problems) <= PROBLEMS_MAX, "more problems than are shown")
    claim(found.sound == (not found.problems), "a problem, and sound")
    raw = _single_member(content)
    claim(found.crc_ok or raw is None, "a sound member is called broken")
    claim(not (found.sound and raw is None), "what is no single member is called sound")
    if found.sound and raw is not None:
        claim(found.lines == raw.count(b"\n") and found.raw_bytes == len(raw), "miscounted")
        for line in raw.split(b"\n")[:-1]:
            msgspec.json.decode(line)


def _single_member(content: bytes) -> bytes | None:
    inflate = zlib.decompressobj(31)
    try:
        raw = inflate.decompress(content)
    except zlib.error:
        return None
    return raw if inflate.eof and not inflate.unused_data else None


@cache
def _sound_manifest() -> bytes:
    due = DueScope(_PROJECT, 100_001, True, _HOUR.number - 1, "ab" * 32)
    files = [
        SealedFile(_PROJECT, _HOUR, n, file_name(_PROJECT, _HOUR, n), 99, "cd" * 32, 7, 5, 900)
        for n in (1, 2)
    ]
    stamp = _HOUR.start_micros
    counts = ProjectHourRow(_PROJECT, _HOUR.number, 100_001, "{}", 12, 10, 1, 1, 0, 0, stamp, stamp)
    record = record_bytes(seal_record(due, _HOUR, counts, {_HOUR.date: 10}, files))
    return manifest_body(record, digest(record), "acme/")


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="tailrace-fuzz-"))
