"""`State`: whom events are of, and what they change: identity, persons and groups as one.

A batch has its look-ups made, then each event or identify is taken in memory, in a journal.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import msgspec

from tailrace.log.record import Record
from tailrace.process.chunks import Tally
from tailrace.process.event import Portion
from tailrace.process.groups import Groups
from tailrace.process.identity import Identity, Moment
from tailrace.process.memory import ENDLESS_BYTES, Journal
from tailrace.process.person import (
    NOBODY,
    Person,
    Said,
    after_event,
    after_identify,
    alone,
    device_set,
    place_set,
    with_facts,
)
from tailrace.process.persons import Persons
from tailrace.process.properties import has_unsupported, is_empty
from tailrace.state import processing_rows as rows
from tailrace.state.processing_rows import HeldRow
from tailrace.upload import EMPTY_OBJECT, UploadEvent

# What a batch's look-ups may bring of persons, and of groups, at once, beside the caches. A
# thousand users with 4 kB each fit; of larger ones fewer are looked up together.
BROUGHT_BYTES_MAX = 4 * 1024 * 1024


class Outcome(msgspec.Struct):
    """What a portion came to: its lines as bytes, their dates, the counts, and held events.

    `updates_dropped` are updates of properties that were not taken, `operations_ignored` those
    with an operation of which nothing is known (D29).
    """

    lines: bytes
    dates: list[str]
    tally: Tally
    held: list[HeldRow]
    updates_dropped: int = 0
    operations_ignored: int = 0


class State:
    """All that is remembered of people and groups.

    `updates_max` is how often a person's properties may change in an hour of the log (D35); None
    for as often as they want.
    """

    def __init__(
        self, identity: Identity, persons: Persons, groups: Groups, updates_max: int | None = None
    ) -> None:
        self.identity = identity
        self.persons = persons
        self.groups = groups
        self.updates_max = updates_max

    def look_up(self, portions: Sequence[Portion]) -> None:
        """Bring everything that a batch may need into memory; only this reads the database.

        Raise `TooMuch` where persons, or groups, take more than `BROUGHT_BYTES_MAX`.
        """
        self._look_up(portions, BROUGHT_BYTES_MAX)

    def look_up_all(self, portions: Sequence[Portion]) -> None:
        """As `look_up`, whatever that takes."""
        self._look_up(portions, ENDLESS_BYTES)

    def _look_up(self, portions: Sequence[Portion], brought_bytes_max: int) -> None:
        self.identity.begin_batch()
        self.persons.begin_batch(self.identity.next_amplitude_id, brought_bytes_max)
        self.groups.begin_batch(brought_bytes_max)
        by_project: defaultdict[int, list[Portion]] = defaultdict(list)
        for portion in portions:
            by_project[portion.record.project].append(portion)
        for project, parts in by_project.items():
            self._look_up_persons(project, parts)
        # Only now it is known whose groups there are.
        for project, parts in by_project.items():
            self._look_up_groups(project, parts)

    def crowded(self) -> bool:
        """Say whether changes took so much beside the caches that a look-up should come next."""
        return self.persons.crowded(BROUGHT_BYTES_MAX) or self.groups.crowded(BROUGHT_BYTES_MAX)

    def look_up_again(self, portion: Portion, batch: Sequence[Portion]) -> None:
        """Bring what a portion needs that its batch did not ask for.

        An event before it changed what its keys lead to, to an id that this project was not asked
        for. So ask for all ids of the organization.
        """
        self.persons.lift_limit()
        self.groups.lift_limit()
        record = portion.record
        relatives = [one for one in batch if one.record.organization == record.organization]
        self._look_up_persons(record.project, relatives)
        siblings = [one for one in relatives if one.record.project == record.project]
        self._look_up_groups(record.project, siblings)

    def resolve(
        self,
        organization: int,
        device_id: str,
        user: str | None,
        event_millis: int,
        outcome: Outcome,
        moment: Moment,
        journal: Journal,
    ) -> int:
        """Return the amplitude id behind a device and a user; merge persons if that merges ids."""
        known = self.identity.devices(organization).get(device_id)
        amplitude_id = self.identity.resolve(
            organization, device_id, user, event_millis, moment, journal
        )
        # An anonymous id that is not the device's any more has lost to the user's.
        if known is not None and known[1] is None and known[0] != amplitude_id:
            outcome.updates_dropped += self.persons.merge(known[0], amplitude_id, journal)
        return amplitude_id

    def take(
        self,
        project: int,
        amplitude_id: int,
        event: UploadEvent,
        said: Said,
        outcome: Outcome,
        hour: int,
        journal: Journal,
    ) -> tuple[Person, int]:
        """Take an ordinary event; return its person as its line shows it, and the kind of `data`.

        The kind is 1 if the event's properties were taken, plus 2 if it is the person's first.
        """
        before = self._person(project, amplitude_id)
        kind = 2 if before.first_text is None else 0
        if event.skip_user_properties_sync:
            if kind:
                first = msgspec.structs.replace(
                    before, first_millis=said.millis, first_text=said.text
                )
                self.persons.remember(project, amplitude_id, first, journal)
                return alone(first, said), kind
            return alone(before, said), kind
        taken = after_event(before, said, hour, self.updates_max)
        if taken.changed:
            self.persons.remember(project, amplitude_id, taken.person, journal)
        elif taken.person is not before:
            self.persons.keep(project, amplitude_id, taken.person, journal)
        outcome.updates_dropped += taken.dropped
        return taken.shown, kind + taken.updated

    def identify(
        self,
        record: Record,
        event: UploadEvent,
        device_id: str,
        user: str | None,
        version: str | None,
        outcome: Outcome,
        moment: Moment,
        journal: Journal,
    ) -> None:
        """Take an identify: it may change identity, and what later events show (3.1.11)."""
        outcome.tally.identifies += 1
        project = record.project
        amplitude_id = self.resolve(
            record.organization, device_id, user, moment.upload_millis, outcome, moment, journal
        )
        if event.skip_user_properties_sync:
            return
        given = event.user_properties
        if is_empty(given):
            given = EMPTY_OBJECT
        device, place = device_set(event), place_set(event)
        said = Said(None, None, device, place, event.language, version, given, pays=False)
        before = self._person(project, amplitude_id)
        taken = after_identify(with_facts(before, event), said, moment.hour, self.updates_max)
        if taken.person is not before:
            self.persons.remember(project, amplitude_id, taken.person, journal)
        outcome.updates_dropped += taken.dropped
        outcome.operations_ignored += has_unsupported(given)

    def identify_groups(
        self, project: int, event: UploadEvent, outcome: Outcome, journal: Journal
    ) -> None:
        """Take a group identify: it changes what later events of these groups show (4.5)."""
        outcome.tally.identifies += 1
        given = event.group_properties
        if event.groups is EMPTY_OBJECT or is_empty(given):
            return
        outcome.updates_dropped += self.groups.identify(project, event.groups, given, journal)
        outcome.operations_ignored += has_unsupported(given)

    def changed_bytes(self) -> int:
        """Return about how much memory the uncommitted changes take."""
        return (
            self.identity.changed_bytes()
            + self.persons.changed_bytes()
            + self.groups.changed_bytes()
        )

    def write(self, connection: rows.Connection) -> None:
        """Write what changed; tell `saved` after the commit."""
        self.identity.write(connection)
        self.persons.write(connection)
        self.groups.write(connection)

    def saved(self) -> None:
        """Forget which changes were not committed."""
        self.identity.saved()
        self.persons.saved()
        self.groups.saved()

    def _person(self, project: int, amplitude_id: int) -> Person:
        person = self.persons.known(project).get(amplitude_id)
        if person is None:
            self.persons.check_new(project, amplitude_id)
            return NOBODY
        return person

    def _look_up_persons(self, project: int, portions: Sequence[Portion]) -> None:
        """Look up who may be behind the events of these portions, as persons of the project."""
        devices: list[str | None] = []
        users: list[str | None] = []
        for portion in portions:
            devices += portion.devices
            users += portion.users
        organization = portions[0].record.organization
        found, merging = self.identity.look_up(organization, devices, users)
        # The whole first: what it brings of this project need not be read twice.
        self.persons.look_up_whole(merging)
        self.persons.look_up(project, found)

    def _look_up_groups(self, project: int, portions: Sequence[Portion]) -> None:
        """Look up the groups of these portions' events, and those of the project's persons."""
        given = [groups for portion in portions for groups in portion.groups]
        given += self.persons.groups(project)
        if given:
            self.groups.look_up(project, given)
