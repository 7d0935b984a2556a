"""`RecentEvents`: the events that were accepted last, for pages that show them arrive.

It follows the log behind the writers, only while somebody asks, and keeps a few of each project.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from pathlib import Path

import msgspec

from tailrace.errors import Corrupt
from tailrace.log.partitions import partition_folder
from tailrace.log.reader import LogReader
from tailrace.log.record import Entry, Record
from tailrace.log.segment import list_segments

# A page shows no more, and a busy installation has thousands of projects.
EVENTS_MAX = 50
PROJECTS_MAX = 200

# Of an event so much is shown; all that is kept is under 30 MB, on the busiest installation.
RAW_CHARACTERS_MAX = 2000

# What is read at once: it must not keep a page waiting. Further behind, the newest are what counts.
READ_BYTES = 4 * 1024 * 1024


class AcceptedEvent(msgspec.Struct, frozen=True):
    """An event that was answered with 200. Texts are as they were sent, empty where there was none.

    `accepted_micros` is the log's time of its request. `raw` is the event's JSON as the log has it,
    cut where it is longer than `RAW_CHARACTERS_MAX`. `number` is its place in the request, from 1.
    """

    accepted_micros: int
    endpoint: str
    event_type: str
    user_id: str
    device_id: str
    raw: str
    number: int


class _Event(msgspec.Struct, frozen=True):
    event_type: str | int | float | None = None
    user_id: str | int | float | None = None
    device_id: str | int | float | None = None


class _Body(msgspec.Struct, frozen=True):
    events: list[msgspec.Raw] = []


_decode_body = msgspec.json.Decoder(_Body, strict=False).decode
_decode_event = msgspec.json.Decoder(_Event, strict=False).decode


class RecentEvents:
    """Follows one log folder; safe for several threads."""

    def __init__(self, log_folder: Path) -> None:
        self._folder = log_folder
        self._reader = LogReader(log_folder)
        self._lock = threading.Lock()
        self._reached: dict[int, int] = {}
        self._kept: OrderedDict[int, deque[AcceptedEvent]] = OrderedDict()

    def close(self) -> None:
        """Close the log's files."""
        with self._lock:
            self._reader.close()

    def of(self, project: int) -> tuple[AcceptedEvent, ...]:
        """Return a project's last events that are durable now, newest first.

        Those of before the first call are told only if the log was short then.
        """
        with self._lock:
            for partition, end in self._reader.durable_ends().items():
                self._follow(partition, end.position)
            return tuple(reversed(self._kept.get(project, ())))

    def _follow(self, partition: int, end: int) -> None:
        reached = self._reached.get(partition)
        if reached is None:
            reached = self._first(partition, end)
        if end - reached > READ_BYTES:
            reached = end
        while reached < end:
            entries = self._read(partition, reached)
            if not entries:
                reached = end
                break
            for entry in entries:
                self._keep(entry)
            reached = entries[-1].next_position
        self._reached[partition] = reached

    def _first(self, partition: int, end: int) -> int:
        folder = partition_folder(self._folder, partition)
        places = [one.first_position for one in list_segments(folder, partition).segments]
        return min((one for one in places if end - one <= READ_BYTES), default=end)

    def _read(self, partition: int, after: int) -> list[Entry]:
        try:
            return self._reader.read(partition, after, READ_BYTES)
        except Corrupt:
            # Segments that were removed meanwhile, or damage, which stops the processor and is
            # told there: to go on at the end shows what comes next.
            return []

    def _keep(self, entry: Entry) -> None:
        if entry.record is None:
            return
        project = entry.record.project
        kept = self._kept.setdefault(project, deque(maxlen=EVENTS_MAX))
        self._kept.move_to_end(project)
        kept.extend(_events(entry.record, entry.stamp))
        while len(self._kept) > PROJECTS_MAX:
            self._kept.popitem(last=False)


def _events(record: Record, stamp: int) -> list[AcceptedEvent]:
    try:
        events = _decode_body(record.body).events
    except msgspec.MsgspecError:
        # What can't be shown is still something that came.
        events = [msgspec.Raw(b"")]
    first = max(0, len(events) - EVENTS_MAX)
    return [
        _accepted(record.endpoint, stamp, bytes(one), number)
        for number, one in enumerate(events[first:], start=first + 1)
    ]


def _accepted(endpoint: str, stamp: int, raw: bytes, number: int) -> AcceptedEvent:
    try:
        event = _decode_event(raw)
    except msgspec.MsgspecError:
        event = _Event()
    # In UTF-8 no character takes more than four bytes.
    text = raw[: 4 * RAW_CHARACTERS_MAX + 4].decode("utf-8", "replace")
    if len(text) > RAW_CHARACTERS_MAX:
        text = f"{text[:RAW_CHARACTERS_MAX]}…"
    return AcceptedEvent(
        accepted_micros=stamp,
        endpoint=endpoint,
        event_type=_text(event.event_type),
        user_id=_text(event.user_id),
        device_id=_text(event.device_id),
        raw=text,
        number=number,
    )


def _text(value: str | float | None) -> str:
    return "" if value is None else str(value)
