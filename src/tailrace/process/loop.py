"""`Processor`: reads the log in rounds, and commits at checkpoints; it owns its domain's state.

The main loop calls `run_round`, then `checkpoint` when one is due. Any error ends the process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from tailrace.clock import MICROS, Clock
from tailrace.errors import InUse
from tailrace.files import Files
from tailrace.hours import HOUR_MICROS
from tailrace.log.record import Entry, Position
from tailrace.process.batch import Batch
from tailrace.process.checkpoint import Changes, Checkpoints, PackArchive
from tailrace.process.chunks import SMALL_RAW_BYTES, OpenHour, open_hour
from tailrace.process.dedupe import Dedupe
from tailrace.process.event import PORTION_EVENTS_MAX, Portion
from tailrace.process.groups import Groups
from tailrace.process.identity import Identity
from tailrace.process.memory import ENTRY_BYTES
from tailrace.process.persons import Persons
from tailrace.process.places import Places
from tailrace.process.state import Outcome, State
from tailrace.state import processing_rows as rows
from tailrace.state.insertions import Insertions
from tailrace.state.processing import HourSettings, Move, ProcessingStore
from tailrace.state.processing_rows import HeldRow, Place

# A round is decoded as a whole; with Python's objects it takes several times its bytes.
ROUND_BYTES = 8 * 1024 * 1024
# Look-ups are made per batch: enough keys to sort, few enough to stay in the processor's caches.
BATCH_EVENTS = 2_000
# Open lines, and changes that the database does not have: what a checkpoint bounds (memory bar).
OPEN_BYTES_MAX = 64 * 1024 * 1024
# So much more, and they are written ahead of the checkpoint, which can't come before the batch ends
# and never cuts a record. A batch's lines are seldom as long.
AHEAD_BYTES_MIN = 8 * 1024 * 1024
# The log is durable, so this only bounds what a restart repeats.
CHECKPOINT_MICROS = 30 * MICROS
# Read caches for devices and users, for persons and for groups; what they drop is read again.
IDENTITY_CACHE_BYTES = 64 * 1024 * 1024
PERSON_CACHE_BYTES = 32 * 1024 * 1024
GROUP_CACHE_BYTES = 8 * 1024 * 1024

_decode_settings = msgspec.json.Decoder(HourSettings).decode


class Rounds(Protocol):
    """The log, as the processor reads it."""

    def read_round(self, positions: Mapping[int, Position], limit_bytes: int) -> Sequence[Entry]:
        """Return the next durable entries of all partitions, ordered by (stamp, partition).

        `positions` holds where each partition was left; one that is absent is read from its start.
        Raises `Corrupt` if a position lies beyond its partition's end.
        """
        ...


class Processor:
    """One domain's processor. One thread calls; after an error it refuses to go on."""

    def __init__(
        self,
        rounds: Rounds,
        store: ProcessingStore,
        archive: PackArchive,
        clock: Clock,
        files: Files,
        settings_of: Callable[[int], HourSettings],
        lock_file: Path,
        updates_max: int | None = None,
        places: Places | None = None,
    ) -> None:
        """`updates_max` is how often a person's properties may change in an hour; None: always."""
        self._lock = files.lock(lock_file, "the processor")
        try:
            self._rounds = rounds
            self._store = store
            self._clock = clock
            self._settings_of = settings_of
            self._epoch = store.draw_epoch()
            self._checkpoints = Checkpoints(store, archive, self._epoch)
            connection = store.connection
            self._dedupe = Dedupe(
                Insertions(connection, store.keys_folder, files, self._epoch),
                store.meta_bytes("dedupe_key"),
                store.meta_text("dedupe_hash"),
            )
            self._state = State(
                Identity(connection, store.meta_number("next_amplitude_id"), IDENTITY_CACHE_BYTES),
                Persons(connection, PERSON_CACHE_BYTES),
                Groups(connection, GROUP_CACHE_BYTES),
                updates_max,
            )
            self._batch = Batch(
                self._dedupe,
                self._state,
                places or Places(lock_file.with_name("places"), None),
                store.meta_bytes("uuid_key"),
            )
            self._committed = {
                place.partition: Position(place.partition, place.position, place.stamp)
                for place in store.positions().values()
            }
            self._positions = dict(self._committed)
            self._small_bytes = rows.small_chunk_bytes(connection, SMALL_RAW_BYTES)
        except BaseException:
            self._lock.release()
            raise
        self._hours: dict[tuple[int, int], OpenHour] = {}
        self._held: list[HeldRow] = []
        self._retried: set[Place] = set()
        self._last_stamp = max((place.stamp for place in self._positions.values()), default=0)
        self._line_bytes = 0
        self._held_bytes = 0
        # Since this processor's start: what it counts of itself.
        self.updates_dropped = 0
        self.operations_ignored = 0
        self._unsaved_since: int | None = None
        self._hour_left = False
        # Parts of the next checkpoint are written already.
        self._ahead = False
        self._failed = False

    @property
    def epoch(self) -> int:
        """The number under which this processor commits."""
        return self._epoch

    @property
    def positions(self) -> Mapping[int, Position]:
        """How far each partition was read, committed or not."""
        return self._positions

    def run_round(self) -> int:
        """Process what the log holds, up to a round's size; return the number of entries.

        What is left when a checkpoint has become due is read again by the next round; one that is
        begun is ended first.

        Raises whatever the log or the database raises; then this processor is of no more use.
        """
        if self._ahead:
            self.checkpoint()
        with self._or_fail():
            entries = self._rounds.read_round(self._positions, ROUND_BYTES)
            processed = 0
            for batch in _batches(entries):
                self._run_batch(batch)
                processed += len(batch)
                # Lines may be many times as long as what was sent: they show what is remembered.
                if self._ahead or self._open_size() >= OPEN_BYTES_MAX:
                    break
            return processed

    def checkpoint_due(self) -> bool:
        """Say whether to commit now: much is open, an hour ended, or 30 s went by."""
        if self._unsaved_since is None:
            return False
        if self._ahead or self._hour_left or self._open_size() >= OPEN_BYTES_MAX:
            return True
        return self._clock.steady_micros() - self._unsaved_since >= CHECKPOINT_MICROS

    def checkpoint(self) -> None:
        """Commit everything since the last checkpoint; nothing was read means nothing is written.

        On return output, position and state are on disk together. Any error means that none of it
        counts, and that this processor is of no more use.
        """
        with self._or_fail():
            if self._unsaved_since is None:
                return
            changes = Changes(
                moves=list(self._moves()),
                hours=[hour for _, hour in sorted(self._hours.items()) if hour.tally.accepted],
                held=self._held,
                retried=sorted(self._retried),
                last_stamp=self._last_stamp,
            )
            self._checkpoints.commit(changes, self._dedupe, self._state)
            self._committed = dict(self._positions)
            self._held = []
            self._retried = set()
            self._line_bytes = 0
            self._held_bytes = 0
            self._unsaved_since = None
            self._hour_left = False
            self._ahead = False
            self._forget_past_hours()

    def close(self) -> None:
        """Give the lock back; what is not committed is read from the log again."""
        self._failed = True
        self._dedupe.close()
        self._lock.release()

    def _run_batch(self, entries: Sequence[Entry]) -> None:
        if self._unsaved_since is None:
            self._unsaved_since = self._clock.steady_micros()
        self._open_hours(entries)
        prepared = [(entry, list(self._prepare(entry))) for entry in entries]
        portions = [one for _, parts in prepared for one in parts if isinstance(one, Portion)]
        self._batch.begin(portions)
        ready: Sequence[Portion] = ()
        applied = until = unseen = 0
        now = self._clock.now_micros()
        for entry, parts in prepared:
            for part in parts:
                hour = self._hours[_hour_key(entry, part)]
                if isinstance(part, HeldRow):
                    hour.tally.held += part.events
                    self._hold(part)
                    continue
                if applied == until:
                    ready = self._batch.look_up(portions[applied:])
                    until += len(ready)
                self._take(self._batch.apply(part, ready, hour, now), hour)
                applied += 1
                unseen += part.count
                if unseen >= PORTION_EVENTS_MAX:
                    unseen = 0
                    if self._write_ahead() or self._state.crowded():
                        until = applied
            self._pass(entry)

    def _write_ahead(self) -> bool:
        """Write lines, and then state, ahead of the next checkpoint if they are too much to wait.

        Say whether state was written: look up again, then. What was looked up leaves out changes
        that memory held until now.
        """
        bytes_max = OPEN_BYTES_MAX + AHEAD_BYTES_MIN
        if self._line_bytes >= AHEAD_BYTES_MIN and self._open_size() >= bytes_max:
            self._checkpoints.put_ahead(self._worth_packing())
            self._line_bytes = sum(hour.raw_bytes for hour in self._hours.values())
            self._ahead = True
        if self._state.changed_bytes() < AHEAD_BYTES_MIN or self._open_size() < bytes_max:
            return False
        self._checkpoints.write_ahead(self._state)
        self._ahead = True
        return True

    def _worth_packing(self) -> list[OpenHour]:
        """Return the hours whose lines make large chunks; all, if there is little in such."""
        large = [hour for hour in self._hours.values() if hour.raw_bytes >= SMALL_RAW_BYTES]
        if sum(hour.raw_bytes for hour in large) >= AHEAD_BYTES_MIN:
            return large
        return [hour for hour in self._hours.values() if hour.lines]

    def _prepare(self, entry: Entry) -> Iterator[Portion | HeldRow]:
        if entry.record is None:
            return
        number = entry.stamp // HOUR_MICROS
        hour = self._hours[entry.record.project, number]
        hour.accept(entry.record.events, entry.stamp)
        retried = entry.record.retry_of
        if retried is not None and not self._take_back(retried):
            # It was retried twice, and the first time has settled it.
            hour.tally.duplicates += entry.record.events
            return
        yield from self._batch.prepare(entry, entry.record, number)

    def _take_back(self, place: Place) -> bool:
        """Hold an event no longer, with the next commit; say whether it was held until now."""
        if place in self._retried or not rows.is_held(self._store.connection, place):
            return False
        self._retried.add(place)
        return True

    def _take(self, outcome: Outcome, hour: OpenHour) -> None:
        hour.tally.add(outcome.tally)
        self.updates_dropped += outcome.updates_dropped
        self.operations_ignored += outcome.operations_ignored
        for row in outcome.held:
            self._hold(row)
        if outcome.lines:
            hour.lines.append(outcome.lines)
            hour.raw_bytes += len(outcome.lines)
            hour.dates.update(outcome.dates)
            hour.line_count += outcome.tally.exported
            self._line_bytes += len(outcome.lines)

    def _hold(self, row: HeldRow) -> None:
        self._held.append(row)
        self._held_bytes += len(row.event) + ENTRY_BYTES

    def _pass(self, entry: Entry) -> None:
        before = self._positions.get(entry.partition)
        if before is not None and entry.stamp // HOUR_MICROS > before.stamp // HOUR_MICROS:
            self._hour_left = True
        self._positions[entry.partition] = Position(
            entry.partition, entry.next_position, entry.stamp
        )
        self._last_stamp = max(self._last_stamp, entry.stamp)

    def _open_hours(self, entries: Sequence[Entry]) -> None:
        """Store the settings of project-hours before their first record is processed."""
        new: list[tuple[object, ...]] = []
        for entry in entries:
            record = entry.record
            if record is None:
                continue
            key = (record.project, entry.stamp // HOUR_MICROS)
            if key in self._hours:
                continue
            stored = rows.find_project_hour(self._store.connection, *key)
            if stored is None:
                settings = self._settings_of(record.project)
                text = msgspec.json.encode(settings).decode()
                new.append((*key, record.organization, text, entry.stamp, entry.stamp))
            else:
                settings = _decode_settings(stored)
            self._hours[key] = open_hour(
                *key, record.organization, settings, self._small_bytes.pop(key, 0)
            )
        if new:
            with self._store.owned_transaction(self._epoch) as connection:
                rows.add_project_hours(connection, new)

    def _moves(self) -> Iterator[Move]:
        for partition, place in sorted(self._positions.items()):
            before = self._committed.get(partition)
            read_from = 0 if before is None else before.position
            if place.position != read_from:
                yield Move(partition, read_from, place.position, place.stamp)

    def _open_size(self) -> int:
        return (
            self._line_bytes
            + self._held_bytes
            + self._dedupe.changed_bytes()
            + self._state.changed_bytes()
        )

    def _forget_past_hours(self) -> None:
        # A partition may still come with a record for one of these; it is opened again then.
        current = self._last_stamp // HOUR_MICROS
        self._hours = {key: hour for key, hour in self._hours.items() if key[1] >= current}

    def _or_fail(self) -> _Guard:
        if self._failed:
            raise InUse(
                "This processor failed before or was closed, so its memory and its database may "
                "differ. Start a new one."
            )
        return _Guard(self)

    def _fail(self) -> None:
        self._failed = True


class _Guard:
    """Marks the processor as failed when the block raises."""

    def __init__(self, processor: Processor) -> None:
        self._processor = processor

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._processor._fail()


def _hour_key(entry: Entry, part: Portion | HeldRow) -> tuple[int, int]:
    project = part.project if isinstance(part, HeldRow) else part.record.project
    return project, entry.stamp // HOUR_MICROS


def _batches(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    """Cut a round where its events are many enough for one batch of look-ups."""
    batch: list[Entry] = []
    events = 0
    for entry in entries:
        batch.append(entry)
        events += 1 if entry.record is None else entry.record.events
        if events >= BATCH_EVENTS:
            yield batch
            batch, events = [], 0
    if batch:
        yield batch
