"""What is known of a person in a project: first event, start version, paying (D24).

A person is an amplitude id; what it did first is counted per project, as properties are (4.4.1).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from tailrace.process.memory import ENTRY_BYTES, Journal, Recent, put, text_bytes
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
        self._recent: Recent[int, int, Person] = Recent(cache_bytes, _person_bytes)
        self._changed: dict[Key, Person] = {}
        self._asked: defaultdict[int, set[int]] = defaultdict(set)
        self._new_from = 0

    def begin_batch(self, next_amplitude_id: int) -> None:
        """Start a batch; ids from `next_amplitude_id` on are made by it and can't be stored yet."""
        self._recent.age()
        self._asked.clear()
        self._new_from = next_amplitude_id

    def look_up(self, project: int, amplitude_ids: set[int]) -> None:
        """Bring what is known of a batch's candidates into memory."""
        self._asked[project] |= amplitude_ids
        stored = []
        for amplitude_id in self._recent.missing(project, amplitude_ids):
            changed = self._changed.get((project, amplitude_id))
            if changed is None:
                stored.append(amplitude_id)
            else:
                self._recent.add(project, amplitude_id, changed)
        if stored:
            for amplitude_id, micros, version, paying in rows.find_persons(
                self._connection, project, stored
            ):
                millis = micros // 1000
                paid = None if paying is None else bool(paying)
                person = (millis, millis_text(millis), version, paid)
                self._recent.add(project, amplitude_id, person)

    def known(self, project: int) -> Mapping[int, Person]:
        """Return a project's persons in memory: all that were looked up and are there."""
        return self._recent.group(project)

    def check_new(self, key: Key) -> None:
        """Raise `PersonNeeded` unless a person that is not in memory is sure to be new."""
        if key[1] < self._new_from and key[1] not in self._asked[key[0]]:
            raise PersonNeeded

    def set(self, key: Key, person: Person, journal: Journal) -> None:
        """Remember a new or changed person."""
        self._recent.count(key[1], person)
        put(journal, self._recent.group(key[0]), key[1], person)
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


# Two numbers, a tuple of four and the time's text.
_PERSON_BYTES = 2 * 32 + 72 + 75


def _person_bytes(_: int, person: Person) -> int:
    return _PERSON_BYTES + text_bytes(person[2])
