"""The state of a large population, made by the code that makes it from events, in larger commits.

Nothing but the number of people in a commit differs from what millions of requests would leave:
keys arrive in random order, and so the tables' pages are as full as they would be.
"""

from __future__ import annotations

import time
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.generator import device_of, profile_of, user_of
from benchmarks.places import Place
from benchmarks.population import (
    Population,
    company_of,
    company_properties,
    groups_of,
    properties_of,
)
from tailrace.hours import HOUR_MICROS
from tailrace.ids import SystemIds
from tailrace.log.record import Record
from tailrace.process.chunks import Tally
from tailrace.process.groups import Groups
from tailrace.process.identity import Identity, Moment
from tailrace.process.memory import Journal
from tailrace.process.person import Said, device_set, place_set
from tailrace.process.persons import Persons
from tailrace.process.state import Outcome, State
from tailrace.process.times import millis_text
from tailrace.state.processing import ProcessingStore
from tailrace.upload import UploadEvent

# A commit writes nearly every page of the devices, whose ids are random: few large ones.
_COMMIT_USERS = 500_000
_BATCH_USERS = 2_000
_PAGE_CACHE_KIB = 256 * 1024
_CACHE_BYTES = 8 * 1024 * 1024
_FIRST_SEEN_MILLIS = 1_700_000_000_000


class Made(msgspec.Struct, frozen=True):
    """What a population took: CPU seconds to make, and bytes of each table on disk."""

    seconds: float
    table_bytes: dict[str, int]


def populate(database: Path, place: Place, population: Population) -> Made:
    """Make every user of the population known to a new processing database."""
    began = time.process_time()
    store = ProcessingStore.open(database, SystemIds())
    try:
        # What is only the scene of a measure needs no way back.
        for pragma in (
            "synchronous = OFF",
            "journal_mode = OFF",
            f"cache_size = -{_PAGE_CACHE_KIB}",
        ):
            store.connection.execute(f"PRAGMA {pragma}").fetchall()
        _Maker(store, place).make(population)
        seconds = time.process_time() - began
        sizes = dict(
            store.connection.execute(
                "SELECT name, sum(pgsize) FROM dbstat GROUP BY name"
            ).fetchall()
        )
    finally:
        store.close()
    return Made(seconds, sizes)


class _Maker:
    """People's first events and identifies, taken as a batch takes them."""

    def __init__(self, store: ProcessingStore, place: Place) -> None:
        self._store = store
        self._place = place
        connection = store.connection
        self._state = State(
            Identity(connection, store.meta_number("next_amplitude_id"), _CACHE_BYTES),
            Persons(connection, _CACHE_BYTES),
            Groups(connection, _CACHE_BYTES),
        )
        micros = _FIRST_SEEN_MILLIS * 1000
        self._record = Record(
            organization=place.organization,
            project=place.project,
            endpoint="/2/httpapi",
            received_micros=micros,
            client_upload_micros=None,
            client_address="",
            events=1,
            body=b"",
        )
        self._moment = Moment(micros // HOUR_MICROS, micros, _FIRST_SEEN_MILLIS)
        self._outcome = Outcome(b"", [], Tally(), [])

    def make(self, population: Population) -> None:
        """Take everybody, in the order in which they came."""
        self._commit_companies(population.users)
        arrivals = population.arrivals()
        while users := list(islice(arrivals, _COMMIT_USERS)):
            for at in range(0, len(users), _BATCH_USERS):
                self._begin_batch()
                for user in users[at : at + _BATCH_USERS]:
                    self._take(user)
            self._commit()

    def _begin_batch(self) -> None:
        state = self._state
        state.identity.begin_batch()
        state.persons.begin_batch(state.identity.next_amplitude_id)
        state.groups.begin_batch()

    def _take(self, user: int) -> None:
        journal: Journal = []
        state, place, moment = self._state, self._place, self._moment
        device, user_id = device_of(user), user_of(user)
        groups = groups_of(user)
        if groups:
            event = _event(user, "$identify", groups=groups)
            state.identify(
                self._record,
                event,
                device,
                user_id,
                event.app_version,
                self._outcome,
                moment,
                journal,
            )
        event = _event(user, "Signed up")
        given = msgspec.Raw(msgspec.json.encode(properties_of(user)))
        millis = _FIRST_SEEN_MILLIS + user
        amplitude_id = state.resolve(
            place.organization, device, user_id, millis, self._outcome, moment, journal
        )
        said = Said(
            millis,
            millis_text(millis),
            device_set(event),
            place_set(event),
            event.language,
            event.app_version,
            given,
            pays=user % 20 == 1,
        )
        state.take(place.project, amplitude_id, event, said, self._outcome, moment.hour, journal)

    def _commit_companies(self, users: int) -> None:
        project = self._place.project
        self._begin_batch()
        for company in range(company_of(users - 1) + 1):
            # A company is named by its first user that has one.
            named = next(
                (
                    groups
                    for user in range(company * 100, company * 100 + 100)
                    if (groups := groups_of(user))
                ),
                None,
            )
            if named is None:
                continue
            event = UploadEvent("$groupidentify")
            event.groups = _raw(named)
            event.group_properties = _raw(company_properties(company))
            self._state.groups.look_up(project, [event.groups])
            self._state.identify_groups(project, event, self._outcome, [])
        self._commit()

    def _commit(self) -> None:
        with self._store.transaction() as connection:
            self._state.write(connection)
            self._store.set_meta("next_amplitude_id", self._state.identity.next_amplitude_id)
        self._state.saved()


def _event(user: int, event_type: str, groups: dict[str, str] | None = None) -> UploadEvent:
    event: dict[str, Any] = {"event_type": event_type, **profile_of(user)}
    found = msgspec.convert(event, UploadEvent)
    if groups:
        found.groups = _raw(groups)
    return found


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))
