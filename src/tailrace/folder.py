"""`DataFolder`: where everything lies below the one data folder, its format and its clock.

Called by every process and command before it touches anything else.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from tailrace.clock import SystemClock, to_micros
from tailrace.errors import BadRequest, Corrupt, NeedsOperator, NewerFormat
from tailrace.files import Files, Lock

FORMAT = 1

# Stamps are positive, and there must be time left in which a folder's clock can go on.
START_YEAR_MIN = 1971
START_YEAR_MAX = 9000


class _FormatFile(msgspec.Struct, frozen=True):
    format: int


class ClockFile(msgspec.Struct, frozen=True):
    """The folder's clock: `start` as given with `--clock-start`, empty for the machine's time."""

    format: int
    start: str
    offset_micros: int


_decode_format = msgspec.json.Decoder(_FormatFile).decode
_decode_clock = msgspec.json.Decoder(ClockFile).decode


class DataFolder:
    """The data folder's parts; making one touches nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log = path / "log"
        self.packs = path / "packs"
        self.archive = path / "archive"
        self.run = path / "run"
        self.places = path / "places"
        self.processing_database = path / "processing.sqlite"
        self.database = path / "tailrace.sqlite"
        self.secrets_key = path / "secrets.key"
        self._format = path / "format.json"
        self._clock = path / "clock.json"

    def exists(self) -> bool:
        """Say whether the folder was initialised."""
        return self._format.exists()

    def create(self, files: Files) -> None:
        """Make the folder and its parts; doing it again changes nothing."""
        if not self.exists() and self.path.is_dir():
            # A file system of its own has a lost+found.
            ignored = {"tailrace.toml", "lost+found"}
            foreign = [entry.name for entry in self.path.iterdir() if entry.name not in ignored]
            if foreign and not _is_ours(foreign):
                raise NeedsOperator(
                    f"Cannot use {self.path} as a data folder: it holds other things "
                    f"({', '.join(sorted(foreign)[:3])}). Name an empty folder with --data."
                )
        for folder in (self.path, self.log, self.packs, self.archive, self.run):
            files.make_folder(folder)
        if not self.exists():
            files.put_whole(self._format, [msgspec.json.encode(_FormatFile(FORMAT))])

    def check(self) -> None:
        """Raise `NeedsOperator` if this is no data folder, `NewerFormat` if it is too new."""
        if not self.exists():
            raise NeedsOperator(
                f"There is no tailrace data in {self.path}. "
                f"Run `tailrace init --data {self.path}` first, or name the folder with --data."
            )
        try:
            found = _decode_format(self._format.read_bytes()).format
        except msgspec.MsgspecError as error:
            raise Corrupt(f"{self._format} can't be read: {error}. Restore it.") from error
        if found > FORMAT:
            raise NewerFormat(
                f"{self.path} was written by a newer tailrace (format {found}; this release reads "
                f"up to {FORMAT}). Install that release again."
            )

    def lock(self, files: Files) -> Lock:
        """Take the folder for one service, or raise `InUse`."""
        return files.lock(self.path / "lock", "tailrace serve")

    def clock_file(self) -> ClockFile | None:
        """Return what the folder's first start fixed, or None before it."""
        try:
            content = self._clock.read_bytes()
        except FileNotFoundError:
            return None
        try:
            return _decode_clock(content)
        except msgspec.MsgspecError as error:
            raise Corrupt(f"{self._clock} can't be read: {error}. Restore it.") from error

    def clock(self) -> SystemClock:
        """Return the folder's clock, for every process and command on it."""
        fixed = self.clock_file()
        return SystemClock(0 if fixed is None else fixed.offset_micros)

    def fix_clock(
        self,
        start: str | None,
        files: Files,
        before: Callable[[SystemClock], None] = lambda clock: None,
    ) -> SystemClock:
        """Fix the offset at the first start; refuse a different one at a later start.

        `start` is the time (UTC) that the first start shows, such as `2026-01-02T13:59:30`.
        `before` is called with the clock just before it is fixed; if that fails or the machine
        stops, the next start is the first one again.
        """
        fixed = self.clock_file()
        moment = None if start is None else _parse_start(start)
        if fixed is None:
            offset = 0 if moment is None else moment - SystemClock().now_micros()
            fixed = ClockFile(FORMAT, start or "", offset)
            before(SystemClock(offset))
            files.put_whole(self._clock, [msgspec.json.encode(fixed)])
        elif moment is not None and (not fixed.start or moment != _parse_start(fixed.start)):
            shown = fixed.start or "the machine's time"
            raise NeedsOperator(
                f"Cannot start {self.path} with --clock-start {start}: its clock was fixed to "
                f"{shown} at its first start. Leave the option out, or use a new folder."
            )
        return SystemClock(fixed.offset_micros)


def _is_ours(names: list[str]) -> bool:
    # A start that was cut short before the format file appeared may be gone on with.
    return set(names) <= {"log", "packs", "archive", "run", ".format.json.tmp", "tailrace.toml"}


def _parse_start(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadRequest(
            f"--clock-start {text!r} is no time: write it as 2026-01-02T13:59:30 (UTC)."
        ) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    if not START_YEAR_MIN <= moment.year <= START_YEAR_MAX:
        raise BadRequest(
            f"--clock-start {text!r} is out of range: name a year from {START_YEAR_MIN} to "
            f"{START_YEAR_MAX}."
        )
    return to_micros(moment)
