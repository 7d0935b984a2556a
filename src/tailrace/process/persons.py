"""What is known of a person in a project: first event, start version, paying (D24).

A person is an amplitude id; what it did first is counted per project, as properties are (4.4.1).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from tailrace.process.memory import ENTRY_BYTES, Journal, Recent, put
from tailrace.process.times import millis_text
from tailrace.state import processing_rows as rows

# (project, amplitude id)
Key = tuple[int, int]

# (first event's milliseconds, the same as text, start version, paying)
Person = tuple[int, str, str | None, bool | None]


class PersonNeeded(Exception):
    """A batch moved an id to a project for which it was not looked up; do that and repeat."""


class Persons:
    """Persons of the database, and those not committed yet."""

    def __init__(self, connection: rows.Connection, cache_bytes: int) -> None:
        self._connection = connection
        self._recent: Recent[Key, Person] = Recent(cache_bytes, lambda _, person: person[2])
        self._changed: dict[Key, Person] = {}
        self._asked: set[Key] = set()
        self._new_from = 0

    def begin_batch(self, next_amplitude_id: int) -> None:
        """Start a batch; ids from `next_amplitude_id` on are made by it and can't be stored yet."""
        self._recent.age()
        self._asked.clear()
        self._new_from = next_amplitude_id

    def look_up(self, keys: Iterable[Key]) -> None:
        """Bring what is known of a batch's candidates into memory."""
        missing: defaultdict[int, list[int]] = defaultdict(list)
        for key in keys:
            self._asked.add(key)
            if self._recent.wanted(key):
                self._recent.reserve(None)
                person = self._changed.get(key)
                if person is None:
                    missing[key[0]].append(key[1])
                else:
                    self._recent.young[key] = person
        for project, ids in missing.items():
            ids.sort()
            for amplitude_id, micros, version, paying in rows.find_persons(
                self._connection, project, ids
            ):
                millis = micros // 1000
                self._recent.reserve(version)
                self._recent.young[project, amplitude_id] = (
                    millis,
                    millis_text(millis),
                    version,
                    None if paying is None else bool(paying),
                )

    def get(self, key: Key) -> Person | None:
        """Return a person, or None before the first event; raise `PersonNeeded` if not known."""
        person = self._recent.young.get(key)
        if person is None and key[1] < self._new_from and key not in self._asked:
            raise PersonNeeded
        return person

    def set(self, key: Key, person: Person, journal: Journal) -> None:
        """Remember a new or changed person."""
        self._recent.reserve(person[2])
        put(journal, self._recent.young, key, person)
        put(journal, self._changed, key, person)

    def changed_bytes(self) -> int:
        """Return about how much memory the uncommitted changes take."""
        return len(self._changed) * ENTRY_BYTES

    def write(self, connection: rows.Connection) -> None:
        """Write what changed; tell `saved` after the commit."""
        rows.write_persons(
            connection,
            [
                (*key, person[0] * 1000, person[2], person[3])
                for key, person in sorted(self._changed.items(), key=lambda item: item[0])
            ],
        )

    def saved(self) -> None:
        """Forget which entries were not committed."""
        self._changed.clear()
