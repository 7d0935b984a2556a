"""What is found of a range of hours that is to be exported, and how a client is told (3.6)."""

from __future__ import annotations

from typing import Protocol

import msgspec

from tailrace.collect import answers
from tailrace.collect.answers import Answer
from tailrace.hours import Hour

# Sealing follows an hour's end within seconds, and a running export ends after minutes.
RETRY_SECONDS = 30


class Hours(msgspec.Struct, frozen=True):
    """A range of hours, both ends included."""

    first: Hour
    last: Hour


class Zip(Protocol):
    """A zip that is ready to be read. Its files stay until `close`. Any thread may call."""

    @property
    def length(self) -> int:
        """How many bytes it has."""
        ...

    @property
    def through(self) -> Hour:
        """The last hour of the range that it covers: later ones have not ended."""
        ...

    def read(self) -> bytes:
        """Return the next bytes, or none at the end; raise `Corrupt` or `OSError`."""
        ...

    def close(self) -> None:
        """Let the files go; waits for a `read` that is under way."""
        ...


class Missing(msgspec.Struct, frozen=True):
    """Why there is no zip of the range: one of the classes below."""

    hours: Hours


class NoData(Missing, frozen=True):
    """All hours are closed, and none has a file."""


class NotClosed(Missing, frozen=True):
    """`hour`, and maybe later ones, is over but not sealed; `alarmed` if it can't be."""

    hour: Hour
    alarmed: bool


class NotOver(Missing, frozen=True):
    """There is no file yet, and `hour` goes on for some seconds more."""

    hour: Hour
    seconds: int


class NotKept(Missing, frozen=True):
    """The archive dropped files of the hours `gone`, once they had been delivered."""

    gone: tuple[Hour, ...]


class TooMuch(Missing, frozen=True):
    """The files of the range are more than one export may have."""

    files: int
    files_max: int
    size_bytes: int
    size_bytes_max: int


class SealedExports(Protocol):
    """Where sealed files are found. All calls may block; `Transient` says to try again."""

    def present(self) -> Hour:
        """Return the hour that it is now; it alone never blocks."""
        ...

    def secret_key_is(self, project: int, secret_key: str) -> bool:
        """Tell whether this is the project's secret key."""
        ...

    def find(self, project: int, hours: Hours) -> Zip | Missing:
        """Return the zip of a project's hours, or why there is none.

        Raise `Corrupt` where a file is not there that should be.
        """
        ...


def missing_answer(missing: Missing) -> Answer:
    """Return the answer for a range without a zip.

    A 404 is taken for "no data" by clients, so it is given for that alone.
    """
    match missing:
        case NoData(hours):
            which = f"Each hour from {hours.first} to {hours.last} is closed, and none has events."
            return answers.text(404, f"Raw data files were not found. {which}")
        case NotClosed(_, hour, alarmed):
            return later(503, _not_closed(hour, alarmed=alarmed))
        case NotOver(_, hour, seconds):
            sentence = (
                f"No hour of the range that is over has events, and {hour} goes on until "
                f"{hour.next()}:00 UTC. Ask again when all of the range is over."
            )
            return later(503, sentence, seconds + RETRY_SECONDS)
        case NotKept(_, gone):
            return answers.text(410, _not_kept(gone))
        case TooMuch():
            return answers.text(400, _too_much(missing))
    raise TypeError(f"{missing!r} has no answer.")


def later(status: int, sentence: str, seconds: int = RETRY_SECONDS) -> Answer:
    """Return an answer that says when to ask again."""
    headers = ((b"retry-after", b"%d" % seconds),)
    return msgspec.structs.replace(answers.text(status, sentence), headers=headers)


def _not_closed(hour: Hour, *, alarmed: bool) -> str:
    if alarmed:
        return (
            f"Hour {hour} can't be sealed; nothing of it is lost. Whoever runs tailrace finds the "
            'reason with "tailrace status". Earlier hours can be exported.'
        )
    return f"Hour {hour} is not sealed yet. Try again later, or ask for earlier hours."


def _not_kept(gone: tuple[Hour, ...]) -> str:
    first, last, count = gone[0], gone[-1], len(gone)
    which = f"Hour {first} is" if count == 1 else f"{count} hours from {first} to {last} are"
    return (
        f"{which} not kept here any more: the files were delivered and then removed "
        "(archive.keep_days, archive.evict). Take them from the bucket, and ask for other hours."
    )


def _too_much(found: TooMuch) -> str:
    if found.size_bytes > found.size_bytes_max:
        return (
            f"The range has {found.size_bytes:,} bytes, and an export at most "
            f"{found.size_bytes_max:,} (collect.export_bytes_max). Shorten the time range."
        )
    return (
        f"The range has {found.files:,} files, and an export at most {found.files_max:,}. "
        "Shorten the time range."
    )
