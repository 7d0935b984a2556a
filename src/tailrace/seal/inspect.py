"""`inspect_file`: what an exported or sealed file holds, and whether it is sound.

Called by `tailrace inspect`. Reads the file once, in pieces, with the standard library's inflater,
which is not the one that wrote it.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from tailrace.clock import to_datetime
from tailrace.errors import BadRequest
from tailrace.hours import Hour
from tailrace.seal.names import parse_file_name

_READ_BYTES = 256 * 1024
_INFLATED_BYTES_MAX = 1024 * 1024
# An upload of 20 MiB whose every character is escaped stays under this.
LINE_BYTES_MAX = 128 * 1024 * 1024
# A damaged file may be wrong in every line; the first few say what is the matter.
PROBLEMS_MAX = 10


class Inspection(msgspec.Struct, frozen=True):
    """What was found. Sizes in bytes; times as the lines have them, of the server's upload time.

    `sound` is true only if the file is one whole gzip member with matching checksum, every line is
    a JSON object with a time, and, where the name says an hour, all times lie in it.
    """

    name: str
    size_bytes: int
    sha256: str
    lines: int
    raw_bytes: int
    first_time: str | None
    last_time: str | None
    crc_ok: bool
    single_member: bool
    sound: bool
    problems: tuple[str, ...]


class _Line(msgspec.Struct):
    server_upload_time: str | None = None
    merge_server_time: int | None = None


def inspect_file(path: Path) -> Inspection:
    """Read a `.json.gz` file through and say what it is; raises `OSError` if it can't be read."""
    member = _Member()
    content = _Content()
    with path.open("rb") as file:
        for raw in member.inflate(file):
            content.feed(raw)
    content.finish()
    problems = [*member.problems, *content.problems, *_wrong_hour(path.name, content)]
    return Inspection(
        name=path.name,
        size_bytes=member.size_bytes,
        sha256=member.sha256.hexdigest(),
        lines=content.lines,
        raw_bytes=content.raw_bytes,
        first_time=content.first_time,
        last_time=content.last_time,
        crc_ok=member.crc_ok,
        single_member=member.single,
        sound=not problems,
        problems=tuple(problems[:PROBLEMS_MAX]),
    )


class _Member:
    """The gzip side: one member, whole, nothing behind it."""

    def __init__(self) -> None:
        self.size_bytes = 0
        self.sha256 = hashlib.sha256()
        self.crc_ok = False
        self.single = False
        self.problems: list[str] = []
        self._inflate = zlib.decompressobj(wbits=31)

    def inflate(self, file: BinaryIO) -> Iterator[bytes]:
        behind = b""
        readable = True
        while block := file.read(_READ_BYTES):
            self.size_bytes += len(block)
            self.sha256.update(block)
            if self._inflate.eof or not readable:
                behind = behind or block[:2]
                continue
            try:
                yield from self._pieces(block)
            except zlib.error as error:
                self.problems.append(f"it can't be inflated: {error}")
                readable = False
            behind = behind or self._inflate.unused_data[:2]
        self._conclude(behind)

    def _pieces(self, block: bytes) -> Iterator[bytes]:
        while True:
            raw = self._inflate.decompress(block, _INFLATED_BYTES_MAX)
            yield raw
            block = self._inflate.unconsumed_tail
            if self._inflate.eof or (not block and len(raw) < _INFLATED_BYTES_MAX):
                return

    def _conclude(self, behind: bytes) -> None:
        # zlib reaches the end of a member only after it compared CRC32 and length.
        self.crc_ok = self._inflate.eof
        self.single = self._inflate.eof and not behind
        if not self._inflate.eof and not self.problems:
            self.problems.append("it ends before its gzip member does")
        if self._inflate.eof and behind == b"\x1f\x8b":
            self.problems.append("it has a second gzip member, which several readers never see")
        elif self._inflate.eof and behind:
            self.problems.append("bytes follow its gzip member")


class _Content:
    """The lines' side: JSON objects, each on its line, with the time that decides their hour."""

    def __init__(self) -> None:
        self.lines = 0
        self.raw_bytes = 0
        self.first_time: str | None = None
        self.last_time: str | None = None
        self.problems: list[str] = []
        self._begun: list[bytes] = []
        self._begun_bytes = 0
        self._decoder = msgspec.json.Decoder(_Line)

    def feed(self, raw: bytes) -> None:
        self.raw_bytes += len(raw)
        *whole, rest = raw.split(b"\n")
        for end in whole:
            self._line(b"".join([*self._begun, end]))
            self._begun, self._begun_bytes = [], 0
        self._begun_bytes += len(rest)
        if self._begun_bytes > LINE_BYTES_MAX:
            self._problem(f"line {self.lines + 1} is longer than {LINE_BYTES_MAX} bytes")
            self._begun, self._begun_bytes = [], 0
        elif rest:
            self._begun.append(rest)

    def finish(self) -> None:
        if self._begun:
            self._problem("its last line does not end with a line feed")
            self._line(b"".join(self._begun))

    def _line(self, line: bytes) -> None:
        self.lines += 1
        try:
            decoded = self._decoder.decode(line)
            time = _time_of(decoded)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError) as error:
            self._problem(f"line {self.lines} is no record: {error}")
            return
        if time is None:
            self._problem(f"line {self.lines} has no server_upload_time")
            return
        self.first_time = time if self.first_time is None else min(self.first_time, time)
        self.last_time = time if self.last_time is None else max(self.last_time, time)

    def _problem(self, text: str) -> None:
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(text)


def _time_of(line: _Line) -> str | None:
    """Return a line's time as text; raise `OverflowError` for one that no calendar has."""
    if line.merge_server_time is None:
        return line.server_upload_time
    return f"{to_datetime(line.merge_server_time * 1000):%Y-%m-%d %H:%M:%S.%f}"


def _wrong_hour(name: str, content: _Content) -> list[str]:
    try:
        hour = parse_file_name(name).hour
    except BadRequest:
        return []
    times = [time for time in (content.first_time, content.last_time) if time is not None]
    outside = [time for time in times if not _in_hour(time, hour)]
    return [f"its name says hour {hour}, but a line is of {time}" for time in outside[:1]]


def _in_hour(time: str, hour: Hour) -> bool:
    return time.startswith(f"{hour.start:%Y-%m-%d %H}:")
