"""`Person`: what is remembered of an amplitude id in a project, and what changes it (4.4, D24).

Pure functions; each returns the very person that it was given where nothing changes.
"""

from __future__ import annotations

import msgspec

from tailrace.process.groups import joined_groups
from tailrace.process.properties import fitting, identified, laid_over
from tailrace.upload import EMPTY_OBJECT, UploadEvent

# platform, os_name, os_version, device_brand, device_manufacturer, device_model, carrier
DeviceSet = tuple[
    str | None, str | None, str | None, str | None, str | None, str | None, str | None
]
# country, region, city, dma
PlaceSet = tuple[str | None, str | None, str | None, str | None]

# What is remembered of a person's properties, as JSON. They are in each of its lines, of which as
# many as a portion has events lie in memory at once.
PROPERTIES_BYTES_MAX = 32 * 1024

NO_DEVICE: DeviceSet = (None, None, None, None, None, None, None)
NO_PLACE: PlaceSet = (None, None, None, None)


class Person(msgspec.Struct, frozen=True, gc=False):
    """One person in one project.

    `first_millis` and its text are None until the first event. `properties` and `groups` are as
    lines show them. `updates` counts updates of properties: the log hour of the last one, and how
    many it has. `applied` are the plain properties that came last and are in `properties` as they
    are; it saves work and isn't stored. `bytes_taken` is what the person takes in memory.
    """

    first_millis: int | None = None
    first_text: str | None = None
    start_version: str | None = None
    paying: bool | None = None
    device: DeviceSet = NO_DEVICE
    place: PlaceSet = NO_PLACE
    language: str | None = None
    version: str | None = None
    properties: msgspec.Raw = EMPTY_OBJECT
    groups: msgspec.Raw = EMPTY_OBJECT
    updates: tuple[int, int] | None = None
    applied: msgspec.Raw = EMPTY_OBJECT
    bytes_taken: int = 0


NOBODY = Person()

_FLAGS = {"true": True, "false": False}

_replace = msgspec.structs.replace


class Said(msgspec.Struct, frozen=True, gc=False):
    """What an event or identify says of its person, once its own fields are settled.

    `millis` and `text` are the event's time, None for an identify. `pays` says that it brings
    revenue (D24). `exposed` are the operations of an exposure (3.1.11), done before its properties
    are set.
    """

    millis: int | None
    text: str | None
    device: DeviceSet
    place: PlaceSet
    language: str | None
    version: str | None
    properties: msgspec.Raw
    pays: bool
    exposed: msgspec.Raw = EMPTY_OBJECT


class Taken(msgspec.Struct, frozen=True, gc=False):
    """A person after an event: what to remember, and what the event's line shows.

    `changed` says whether it differs from before, `updated` that the event's properties were taken,
    `dropped` that they were not: there were too many updates in this hour, or it would be too much.
    """

    person: Person
    shown: Person
    changed: bool
    updated: bool
    dropped: bool


def device_set(event: UploadEvent) -> DeviceSet:
    """Return what an event itself says of its device."""
    return (
        event.platform,
        event.os_name,
        event.os_version,
        event.device_brand,
        event.device_manufacturer,
        event.device_model,
        event.carrier,
    )


def place_set(event: UploadEvent) -> PlaceSet:
    """Return what an event itself says of its place."""
    return (event.country, event.region, event.city, event.dma)


def after_event(before: Person, said: Said, hour: int, updates_max: int | None) -> Taken:
    """Take what an ordinary event says of its person; its plain properties are sets."""
    person = settled(before, said)
    if said.pays and person.paying is not True:
        person = _replace(person, paying=True)
    given = said.properties
    if given is EMPTY_OBJECT and said.exposed is EMPTY_OBJECT:
        return _not_updated(before, person, dropped=False)
    if updates_max is not None:
        counted = _counted(person, hour, updates_max)
        if counted is None:
            return _not_updated(before, person, dropped=True)
        person = counted
    properties = person.properties
    if said.exposed is not EMPTY_OBJECT:
        properties = identified(properties, said.exposed)
    properties = laid_over(properties, given)
    if not fitting(properties, person.properties, PROPERTIES_BYTES_MAX):
        # Nothing that a client sent is left out of the line of its own event.
        shown = _replace(person, properties=properties)
        return Taken(person, shown, person is not before, updated=False, dropped=True)
    changed = person is not before or properties is not before.properties
    applied = properties if properties == given else given.copy()
    person = _replace(person, properties=properties, applied=applied)
    return Taken(person, person, changed, updated=True, dropped=False)


def after_identify(before: Person, said: Said, hour: int, updates_max: int | None) -> Taken:
    """Take what an identify says: operations in the server's order, then plain keys (4.4.2)."""
    person = settled(before, said)
    given = said.properties
    if given is EMPTY_OBJECT:
        return _not_updated(before, person, dropped=False)
    if updates_max is not None:
        counted = _counted(person, hour, updates_max)
        if counted is None:
            return _not_updated(before, person, dropped=True)
        person = counted
    properties = identified(person.properties, given)
    if not fitting(properties, person.properties, PROPERTIES_BYTES_MAX):
        return _not_updated(before, person, dropped=True)
    if properties is not person.properties:
        person = _replace(person, properties=properties, applied=EMPTY_OBJECT)
    return Taken(person, person, person is not before, updated=True, dropped=False)


def settled(before: Person, said: Said) -> Person:
    """Return the person with the default properties that an event or identify sends (4.4.3).

    Whatever is sent of the device set or of the location set resets the rest of it.
    """
    if before is NOBODY:
        device, place, version = said.device, said.place, said.version
        return Person(said.millis, said.text, version, None, device, place, said.language, version)
    changes: dict[str, object] = {}
    if said.millis is not None and before.first_millis is None:
        changes["first_millis"], changes["first_text"] = said.millis, said.text
    if said.version is not None:
        if said.version != before.version:
            changes["version"] = said.version
        if before.start_version is None:
            changes["start_version"] = said.version
    if said.device not in (NO_DEVICE, before.device):
        changes["device"] = said.device
    if said.place not in (NO_PLACE, before.place):
        changes["place"] = said.place
    if said.language is not None and said.language != before.language:
        changes["language"] = said.language
    return _replace(before, **changes) if changes else before


def alone(person: Person, said: Said) -> Person:
    """Return what the line of an event shows that neither reads nor writes properties (4.4.5)."""
    return Person(
        person.first_millis,
        person.first_text,
        device=said.device,
        place=said.place,
        language=said.language,
        version=said.version,
        properties=said.properties,
    )


def with_facts(before: Person, event: UploadEvent) -> Person:
    """Return the person with what only an identify sets: `paying`, `start_version`, groups."""
    changes: dict[str, object] = {}
    paying = event.paying
    if isinstance(paying, str):
        # Sent as text by most; other texts say nothing (D24).
        paying = _FLAGS.get(paying.strip().lower())
    if paying is not None and paying is not before.paying:
        changes["paying"] = paying
    if event.start_version is not None and event.start_version != before.start_version:
        changes["start_version"] = event.start_version
    if event.groups is not EMPTY_OBJECT:
        joined = joined_groups(event.groups, before.groups)
        if joined != before.groups:
            changes["groups"] = joined
    return _replace(before, **changes) if changes else before


def merged(survivor: Person, loser: Person) -> tuple[Person, bool]:
    """Return the survivor of a merge, and whether the loser's properties were dropped (4.4.8, D42).

    They and the loser's groups are laid over the survivor's, unless it would be too much. Of all
    else the survivor's stays where it has any.
    """
    properties = laid_over(survivor.properties, loser.properties)
    dropped = not fitting(properties, survivor.properties, PROPERTIES_BYTES_MAX)
    if dropped:
        properties = survivor.properties
    ours = survivor.first_millis is not None
    person = _replace(
        survivor,
        first_millis=survivor.first_millis if ours else loser.first_millis,
        first_text=survivor.first_text if ours else loser.first_text,
        start_version=survivor.start_version or loser.start_version,
        paying=loser.paying if survivor.paying is None else survivor.paying,
        device=loser.device if survivor.device == NO_DEVICE else survivor.device,
        place=loser.place if survivor.place == NO_PLACE else survivor.place,
        language=survivor.language or loser.language,
        version=survivor.version or loser.version,
        properties=properties,
        groups=joined_groups(loser.groups, survivor.groups),
        applied=EMPTY_OBJECT,
    )
    return person, dropped


def _not_updated(before: Person, person: Person, *, dropped: bool) -> Taken:
    return Taken(person, person, person is not before, updated=False, dropped=dropped)


def _counted(person: Person, hour: int, updates_max: int) -> Person | None:
    """Return the person with one update more in this hour, or None if there is none left."""
    updates = person.updates
    count = updates[1] if updates is not None and updates[0] == hour else 0
    if count >= updates_max:
        return None
    return _replace(person, updates=(hour, count + 1))
