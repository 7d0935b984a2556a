"""Persons that state keeps: those of the database, and changes that are not committed yet.

A person is an amplitude id in a project: properties, and what came first, are counted per project
(4.4.1). A merge concerns every project of its organization (D42).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

import msgspec

from tailrace.process.memory import (
    ENDLESS_BYTES,
    ENTRY_BYTES,
    Journal,
    Recent,
    StateNeeded,
    put,
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
from tailrace.process.properties import stored_object
from tailrace.process.sets import Sets
from tailrace.process.times import millis_text
from tailrace.state import processing_rows as rows
from tailrace.upload import EMPTY_OBJECT

# (amplitude id, project)
Key = tuple[int, int]


class More(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What few persons have, in one column as a JSON list; a later release may append to it."""

    groups: msgspec.Raw = EMPTY_OBJECT
    updates: tuple[int, int] | None = None


_decode_more = msgspec.json.Decoder(More).decode
_encode = msgspec.json.Encoder().encode
_replace = msgspec.structs.replace


class Persons:
    """Persons of the database, and those not committed yet."""

    def __init__(self, connection: rows.Connection, cache_bytes: int) -> None:
        self._connection = connection
        self._recent: Recent[int, int, Person] = Recent(cache_bytes, _person_bytes)
        self._changed: dict[Key, Person] = {}
        # Of changed persons, whose two rows differ from what is stored.
        self._changed_rows: dict[Key, None] = {}
        self._changed_properties: dict[Key, msgspec.Raw] = {}
        self._changed_bytes = 0
        self._asked: defaultdict[int, set[int]] = defaultdict(set)
        # Ids that were looked up in all projects, with those that have them.
        self._whole: dict[int, set[int]] = {}
        # Of changed persons, the projects of their ids; a failed portion may leave one too many.
        self._projects_of: dict[int, tuple[int, ...]] = {}
        self._new_from = 0
        self._with_groups: set[int] = set()
        self._devices: Sets[DeviceSet] = Sets(NO_DEVICE)
        self._places: Sets[PlaceSet] = Sets(NO_PLACE)

    def begin_batch(self, next_amplitude_id: int, brought_bytes_max: int = ENDLESS_BYTES) -> None:
        """Start a batch; ids from `next_amplitude_id` on are made by it and can't be stored yet.

        Its look-ups raise `TooMuch` where they read more than so many bytes.
        """
        self._recent.age()
        self._recent.limit(brought_bytes_max)
        self._asked.clear()
        self._whole.clear()
        self._new_from = next_amplitude_id
        self._devices.age()
        self._places.age()

    def crowded(self, more_bytes_max: int) -> bool:
        """Say whether so much came up since the batch began that it should begin anew."""
        return self._recent.crowded(more_bytes_max)

    def lift_limit(self) -> None:
        """Let later look-ups of this batch read whatever they need."""
        self._recent.limit(ENDLESS_BYTES)

    def look_up(self, project: int, amplitude_ids: set[int]) -> None:
        """Bring what is known of a batch's candidates into memory."""
        self._asked[project] |= amplitude_ids
        stored = list(self._missing(project, amplitude_ids))
        if stored:
            for row in rows.find_persons(self._connection, project, stored):
                self._add(row)

    def look_up_whole(self, amplitude_ids: set[int]) -> None:
        """Bring what is known of ids that may merge, in every project that knows them."""
        amplitude_ids = amplitude_ids - self._whole.keys()
        if not amplitude_ids:
            return
        for amplitude_id in amplitude_ids:
            changed = self._projects_of.get(amplitude_id, ())
            self._whole[amplitude_id] = set(changed)
            for project in changed:
                # Whatever is not in memory is among what is stored.
                list(self._missing(project, {amplitude_id}))
        for row in rows.find_persons_anywhere(self._connection, amplitude_ids):
            self._whole[row[0]].add(row[1])
            if list(self._missing(row[1], {row[0]})):
                self._add(row)

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
        for amplitude_id in self._asked[project] | self._whole.keys():
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
            projects = self._projects_of.get(amplitude_id, ())
            if project not in projects:
                self._projects_of[amplitude_id] = (*projects, project)
        else:
            # What a failed portion counted stays: it may be too much, and never too little.
            self._changed_bytes += max(0, person.bytes_taken - replaced.bytes_taken)
        put(journal, self._changed, key, person)
        if person.properties is not before.properties:
            put(journal, self._changed_properties, key, person.properties)
        if key not in self._changed_rows and (before is NOBODY or not _same_row(before, person)):
            put(journal, self._changed_rows, key, None)
        if person.groups is not EMPTY_OBJECT:
            self._with_groups.add(project)

    def keep(self, project: int, amplitude_id: int, person: Person, journal: Journal) -> None:
        """Put a person that is no other than before in its place."""
        person = self._weighed(person)
        self._recent.count(amplitude_id, person)
        put(journal, self._recent.group(project), amplitude_id, person)

    def merge(self, loser: int, survivor: int, journal: Journal) -> int:
        """Lay the loser of a merge over its survivor, in all projects that know the loser (D42).

        Return in how many of them its properties were dropped: there would be too much to remember.
        Raise `StateNeeded` if either was not looked up as a whole.
        """
        for amplitude_id in (loser, survivor):
            if amplitude_id < self._new_from and amplitude_id not in self._whole:
                raise StateNeeded
        projects = {*self._whole.get(loser, ()), *self._projects_of.get(loser, ())}
        dropped = 0
        for project in sorted(projects):
            known = self._recent.group(project)
            lost = known.get(loser)
            if lost is not None:
                person, too_much = merged(known.get(survivor, NOBODY), lost)
                dropped += too_much
                self.remember(project, survivor, person, journal)
        return dropped

    def changed_bytes(self) -> int:
        """Return about how much memory the uncommitted changes take."""
        return self._changed_bytes

    def write(self, connection: rows.Connection) -> None:
        """Write what changed; tell `saved` after the commit."""
        rows.write_persons(connection, [self._row(*key) for key in sorted(self._changed_rows)])
        changed = self._changed_properties
        rows.write_user_properties(
            connection, ((*key, bytes(changed[key])) for key in sorted(changed))
        )

    def saved(self) -> None:
        """Forget which entries were not committed."""
        self._changed.clear()
        self._changed_rows.clear()
        self._projects_of.clear()
        self._changed_properties.clear()
        self._changed_bytes = 0

    def _missing(self, project: int, amplitude_ids: set[int]) -> Iterator[int]:
        for amplitude_id in self._recent.missing(project, amplitude_ids):
            changed = self._changed.get((amplitude_id, project))
            if changed is None:
                yield amplitude_id
            else:
                self._recent.add(project, amplitude_id, changed)

    def _add(self, row: rows.Row) -> None:
        (
            amplitude_id, project, micros, start_version, paying, device, place, language, version,
            more, properties,
        ) = row  # fmt: skip
        device, device_bytes = self._devices.of_text(device)
        place, place_bytes = self._places.of_text(place)
        groups, updates = EMPTY_OBJECT, None
        if more is not None:
            kept = _decode_more(more)
            updates = kept.updates
            if kept.groups != EMPTY_OBJECT:
                groups = kept.groups.copy()
                self._with_groups.add(project)
        shown = stored_object(properties)
        millis = None if micros is None else micros // 1000
        taken = device_bytes + place_bytes
        taken += _own_bytes(start_version, language, version, shown, groups, shown)
        person = Person(
            millis,
            None if millis is None else millis_text(millis),
            start_version,
            None if paying is None else bool(paying),
            device,
            place,
            language,
            version,
            shown,
            groups,
            updates,
            shown,
            taken,
        )
        self._recent.bring(project, amplitude_id, person)

    def _weighed(self, person: Person) -> Person:
        """Return the person with its sets shared, and with the bytes that it takes by itself."""
        device, device_bytes = self._devices.shared(person.device)
        place, place_bytes = self._places.shared(person.place)
        taken = device_bytes + place_bytes
        taken += _own_bytes(
            person.start_version,
            person.language,
            person.version,
            person.properties,
            person.groups,
            person.applied,
        )
        return _replace(person, device=device, place=place, bytes_taken=taken)

    def _row(self, amplitude_id: int, project: int) -> rows.Row:
        person = self._changed[amplitude_id, project]
        few = person.groups is not EMPTY_OBJECT or person.updates is not None
        return (
            amplitude_id,
            project,
            None if person.first_millis is None else person.first_millis * 1000,
            person.start_version,
            person.paying,
            self._devices.text_of(person.device),
            self._places.text_of(person.place),
            person.language,
            person.version,
            _encode(More(person.groups, person.updates)) if few else None,
        )


def _same_row(one: Person, other: Person) -> bool:
    return (
        one.first_millis == other.first_millis
        and one.start_version == other.start_version
        and one.paying is other.paying
        and one.device == other.device
        and one.place == other.place
        and one.language == other.language
        and one.version == other.version
        and one.groups == other.groups
        and one.updates == other.updates
    )


def _own_bytes(
    start_version: str | None,
    language: str | None,
    version: str | None,
    properties: msgspec.Raw,
    groups: msgspec.Raw,
    applied: msgspec.Raw,
) -> int:
    taken = _PERSON_BYTES + len(properties) + len(groups)
    if applied is not properties:
        taken += len(applied)
    for text in (start_version, language, version):
        if text is not None:
            # Whatever its characters take.
            taken += _TEXT_BYTES + 4 * len(text)
    return taken


# The struct, its number, its time's text, and two `Raw`s with what they hold.
_PERSON_BYTES = 128 + 32 + 75 + 2 * 88
# A text beside its characters.
_TEXT_BYTES = 80


def _person_bytes(_: int, person: Person) -> int:
    return person.bytes_taken
