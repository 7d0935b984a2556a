"""Persons that state keeps: those of the database, and changes that are not committed yet.

A person is an amplitude id in a project: properties, and what came first, are counted per project
(4.4.1). A merge concerns every project of its organization (D42).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import TypeVar, cast

import msgspec

from tailrace.process.memory import (
    ENTRY_BYTES,
    Journal,
    Recent,
    StateNeeded,
    put,
    text_bytes,
)
from tailrace.process.person import (
    NO_DEVICE,
    NO_PLACE,
    NOBODY,
    DeviceSet,
    Person,
    PlaceSet,
    merged,
)
from tailrace.process.times import millis_text
from tailrace.state import processing_rows as rows
from tailrace.upload import EMPTY_OBJECT

# (amplitude id, project)
Key = tuple[int, int]

# Many persons have one device set, and many one location set: each of these is kept once. Larger
# and rarer ones belong to their person alone, so that nobody fills the memory with them.
SHARED_SETS_MAX = 20_000
SHARED_BYTES_MAX = 640

S = TypeVar("S", DeviceSet, PlaceSet)


class Fields(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What of a person lies in one column, as a JSON list; a later release may append to it."""

    device: DeviceSet | None = None
    place: PlaceSet | None = None
    language: str | None = None
    version: str | None = None
    groups: msgspec.Raw = EMPTY_OBJECT
    updates: tuple[int, int] | None = None


_NO_FIELDS = Fields()
_decode_fields = msgspec.json.Decoder(Fields).decode
_encode = msgspec.json.Encoder().encode
_replace = msgspec.structs.replace


class Persons:
    """Persons of the database, and those not committed yet."""

    def __init__(self, connection: rows.Connection, cache_bytes: int) -> None:
        self._connection = connection
        self._recent: Recent[int, int, Person] = Recent(cache_bytes, _person_bytes)
        self._changed: dict[Key, Person] = {}
        self._changed_properties: dict[Key, msgspec.Raw] = {}
        self._changed_bytes = 0
        self._asked: defaultdict[int, set[int]] = defaultdict(set)
        self._whole: set[int] = set()
        self._new_from = 0
        self._projects: defaultdict[int, set[int]] = defaultdict(set)
        self._with_groups: set[int] = set()
        self._sets: dict[DeviceSet | PlaceSet, DeviceSet | PlaceSet] = {}

    def begin_batch(self, next_amplitude_id: int) -> None:
        """Start a batch; ids from `next_amplitude_id` on are made by it and can't be stored yet."""
        self._recent.age()
        self._asked.clear()
        self._whole.clear()
        self._new_from = next_amplitude_id
        if len(self._sets) > SHARED_SETS_MAX:
            self._sets.clear()

    def look_up(self, organization: int, project: int, amplitude_ids: set[int]) -> None:
        """Bring what is known of a batch's candidates into memory."""
        self._projects[organization].add(project)
        self._asked[project] |= amplitude_ids
        stored = list(self._missing(project, amplitude_ids))
        if stored:
            self._add_rows(rows.find_persons(self._connection, project, stored))

    def look_up_whole(self, organization: int, amplitude_ids: set[int]) -> None:
        """Bring what is known of ids that may merge, in every project of their organization."""
        amplitude_ids = amplitude_ids - self._whole
        if not amplitude_ids:
            return
        self._whole |= amplitude_ids
        projects = self._projects[organization]
        for project in projects:
            # What these leave out is stored or is nowhere.
            for _ in self._missing(project, amplitude_ids):
                pass
        found = rows.find_persons_anywhere(self._connection, amplitude_ids)
        projects.update(row[1] for row in found)
        self._add_rows([row for row in found if row[0] not in self._recent.group(row[1])])

    def known(self, project: int) -> Mapping[int, Person]:
        """Return a project's persons in memory: all that were looked up and are there."""
        return self._recent.group(project)

    def check_new(self, project: int, amplitude_id: int) -> None:
        """Raise `StateNeeded` unless a person that is not in memory is sure to be new."""
        if (
            amplitude_id < self._new_from
            and amplitude_id not in self._asked[project]
            and amplitude_id not in self._whole
        ):
            raise StateNeeded

    def groups(self, project: int) -> Iterator[msgspec.Raw]:
        """Yield the groups of all persons of a project that were looked up."""
        if project not in self._with_groups:
            return
        known = self._recent.group(project)
        for amplitude_id in self._asked[project] | self._whole:
            person = known.get(amplitude_id)
            if person is not None and person.groups is not EMPTY_OBJECT:
                yield person.groups

    def remember(self, project: int, amplitude_id: int, person: Person, journal: Journal) -> None:
        """Remember a new or changed person."""
        person = self._weighed(person)
        known = self._recent.group(project)
        before = known.get(amplitude_id, NOBODY)
        key = (amplitude_id, project)
        self._recent.count(amplitude_id, person)
        put(journal, known, amplitude_id, person)
        replaced = self._changed.get(key)
        if replaced is None:
            self._changed_bytes += person.bytes_taken + ENTRY_BYTES
        else:
            # What a failed portion counted stays: it may be too much, and never too little.
            self._changed_bytes += max(0, person.bytes_taken - replaced.bytes_taken)
        put(journal, self._changed, key, person)
        if person.properties is not before.properties:
            put(journal, self._changed_properties, key, person.properties)
        if person.groups is not EMPTY_OBJECT:
            self._with_groups.add(project)

    def keep(self, project: int, amplitude_id: int, person: Person, journal: Journal) -> None:
        """Put a person that is no other than before in its place."""
        person = self._weighed(person)
        self._recent.count(amplitude_id, person)
        put(journal, self._recent.group(project), amplitude_id, person)

    def merge(self, organization: int, loser: int, survivor: int, journal: Journal) -> None:
        """Lay the loser of a merge over its survivor, in all projects that know the loser (D42).

        Raise `StateNeeded` if either was not looked up as a whole.
        """
        for amplitude_id in (loser, survivor):
            if amplitude_id < self._new_from and amplitude_id not in self._whole:
                raise StateNeeded
        for project in sorted(self._projects[organization]):
            known = self._recent.group(project)
            lost = known.get(loser)
            if lost is not None:
                person = merged(known.get(survivor, NOBODY), lost)
                self.remember(project, survivor, person, journal)

    def changed_bytes(self) -> int:
        """Return about how much memory the uncommitted changes take."""
        return self._changed_bytes

    def write(self, connection: rows.Connection) -> None:
        """Write what changed; tell `saved` after the commit."""
        rows.write_persons(
            connection, [_row(*key, self._changed[key]) for key in sorted(self._changed)]
        )
        changed = self._changed_properties
        rows.write_user_properties(
            connection, [(*key, bytes(changed[key])) for key in sorted(changed)]
        )

    def saved(self) -> None:
        """Forget which entries were not committed."""
        self._changed.clear()
        self._changed_properties.clear()
        self._changed_bytes = 0

    def _missing(self, project: int, amplitude_ids: set[int]) -> Iterator[int]:
        for amplitude_id in self._recent.missing(project, amplitude_ids):
            changed = self._changed.get((amplitude_id, project))
            if changed is None:
                yield amplitude_id
            else:
                self._recent.add(project, amplitude_id, changed)

    def _add_rows(self, found: list[rows.Row]) -> None:
        for amplitude_id, project, micros, version, paying, fields, properties in found:
            kept = _NO_FIELDS if fields is None else _decode_fields(fields)
            millis = None if micros is None else micros // 1000
            shown = _raw(properties)
            person = Person(
                millis,
                None if millis is None else millis_text(millis),
                version,
                None if paying is None else bool(paying),
                kept.device or NO_DEVICE,
                kept.place or NO_PLACE,
                kept.language,
                kept.version,
                shown,
                EMPTY_OBJECT if kept.groups == EMPTY_OBJECT else kept.groups.copy(),
                kept.updates,
                shown,
            )
            if person.groups is not EMPTY_OBJECT:
                self._with_groups.add(project)
            self._recent.add(project, amplitude_id, self._weighed(person))

    def _weighed(self, person: Person) -> Person:
        """Return the person with its sets shared, and with the bytes that it takes by itself."""
        device, device_bytes = self._shared(person.device)
        place, place_bytes = self._shared(person.place)
        taken = (
            _PERSON_BYTES + device_bytes + place_bytes + len(person.properties) + len(person.groups)
        )
        if person.applied is not person.properties:
            taken += len(person.applied)
        for text in (person.version, person.start_version, person.language):
            if text is not None:
                # Whatever its characters take.
                taken += _TEXT_BYTES + 4 * len(text)
        return _replace(person, device=device, place=place, bytes_taken=taken)

    def _shared(self, fields: S) -> tuple[S, int]:
        """Return the set that is kept for all who have these fields, and what it takes more."""
        kept = self._sets.get(fields)
        if kept is not None:
            return cast(S, kept), 0
        taken = _TUPLE_BYTES + sum(map(text_bytes, fields))
        if taken <= SHARED_BYTES_MAX:
            self._sets[fields] = fields
        return fields, taken


def _raw(stored: bytes | None) -> msgspec.Raw:
    return EMPTY_OBJECT if stored is None or stored == b"{}" else msgspec.Raw(stored)


def _row(amplitude_id: int, project: int, person: Person) -> rows.Row:
    fields = Fields(
        None if person.device == NO_DEVICE else person.device,
        None if person.place == NO_PLACE else person.place,
        person.language,
        person.version,
        person.groups,
        person.updates,
    )
    return (
        amplitude_id,
        project,
        None if person.first_millis is None else person.first_millis * 1000,
        person.start_version,
        person.paying,
        None if fields == _NO_FIELDS else _encode(fields),
    )


# The struct, its number, its time's text, and two `Raw`s with what they hold.
_PERSON_BYTES = 128 + 32 + 75 + 2 * 88
# A text beside its characters, and a tuple of seven.
_TEXT_BYTES = 80
_TUPLE_BYTES = 96


def _person_bytes(_: int, person: Person) -> int:
    return person.bytes_taken
