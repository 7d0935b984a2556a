"""One batch: look-ups for all of its keys, then event by event in memory alone.

Per event, in order: dedupe, identity, enrich, render. Nothing here writes; nothing is awaited.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import cast

import msgspec

from tailrace.log.record import Entry, Record
from tailrace.process.chunks import OpenHour, Tally
from tailrace.process.dedupe import Dedupe
from tailrace.process.enrich import (
    DEFAULT_LIBRARY,
    REMOTE,
    attribution_ids,
    group_lists,
    is_empty,
    may_have_operations,
    without_operations,
)
from tailrace.process.event import (
    Portion,
    held_row,
    name_rows,
    portion_of,
    single_portions,
)
from tailrace.process.identity import Identity, Moment
from tailrace.process.memory import Journal, undo
from tailrace.process.persons import PersonNeeded, Persons
from tailrace.process.places import Places
from tailrace.process.render import EMPTY, Line, data_objects, encode
from tailrace.process.settle import locate, settle
from tailrace.process.times import (
    FIRST_MILLIS,
    LAST_MILLIS,
    clamped,
    micros_text,
    millis_text,
    skew_shift,
)
from tailrace.state.processing_rows import HeldRow
from tailrace.upload import EMPTY_OBJECT

NO_SESSION = -1

# Endpoints are few; more of them than this are made up, and remembering those has no use.
_ENDPOINTS_MAX = 64


class Outcome(msgspec.Struct):
    """What a portion came to: its lines as bytes, their dates, the counts, and held events."""

    lines: bytes
    dates: list[str]
    tally: Tally
    held: list[HeldRow]


class Batch:
    """Turns records into lines, with the state that one processor keeps."""

    def __init__(
        self,
        dedupe: Dedupe,
        identity: Identity,
        persons: Persons,
        places: Places,
        uuid_key: bytes,
    ) -> None:
        self._dedupe = dedupe
        self._identity = identity
        self._persons = persons
        self._places = places
        self._uuid_key = uuid_key
        self._data: dict[str, tuple[msgspec.Raw, ...]] = {}

    def prepare(self, entry: Entry, record: Record, hour: int) -> list[Portion | HeldRow]:
        """Decode a record: one portion, or one for each event if the whole can't be decoded."""
        try:
            return [portion_of(entry, record, hour, self._dedupe.key)]
        except MemoryError:
            raise
        except Exception:
            return list(single_portions(entry, record, hour, self._dedupe.key))

    def look_up(self, portions: Sequence[Portion]) -> None:
        """Bring everything that the batch may need into memory; only this reads the database."""
        name_rows(portions, self._uuid_key)
        keys = {key for portion in portions for key in portion.keys}
        keys.discard(None)
        self._dedupe.look_up(cast(set[bytes], keys))
        self._identity.begin_batch()
        self._persons.begin_batch(self._identity.next_amplitude_id)
        by_project: defaultdict[int, list[Portion]] = defaultdict(list)
        for portion in portions:
            by_project[portion.record.project].append(portion)
        for project, group in by_project.items():
            self._look_up_persons(project, group)

    def _look_up_persons(self, project: int, portions: Sequence[Portion]) -> None:
        """Look up who may be behind the events of these portions, as persons of the project."""
        devices: list[str | None] = []
        users: list[str | None] = []
        for portion in portions:
            devices += portion.devices
            users += portion.users
        organization = portions[0].record.organization
        self._persons.look_up(project, self._identity.look_up(organization, devices, users))

    def apply(
        self, portion: Portion, batch: Sequence[Portion], hour: OpenHour, now: int
    ) -> Outcome:
        """Process a portion, or else its events one by one, holding those that raise.

        A failed attempt leaves nothing behind. `now` is the processed time in microseconds.
        """
        # Opened outside of what holds events: without its file an hour can't go on at all.
        self._places.of(hour.settings.places)
        try:
            return self._attempt(portion, hour, now)
        except PersonNeeded:
            pass
        except MemoryError:
            raise
        except Exception as error:
            return self._apart(portion, batch, hour, now, error)
        # An event before it changed what its keys lead to, to an id that this project was not
        # asked for. Ask for all ids of the organization, outside of what holds events.
        organization = portion.record.organization
        relatives = [one for one in batch if one.record.organization == organization]
        self._look_up_persons(portion.record.project, relatives)
        try:
            return self._attempt(portion, hour, now)
        except MemoryError:
            raise
        except Exception as error:
            return self._apart(portion, batch, hour, now, error)

    def _attempt(self, portion: Portion, hour: OpenHour, now: int) -> Outcome:
        journal: Journal = []
        try:
            return self._run(portion, hour, now, journal)
        except BaseException:
            undo(journal)
            self._dedupe.give_back()
            raise

    def _apart(
        self,
        portion: Portion,
        batch: Sequence[Portion],
        hour: OpenHour,
        now: int,
        error: Exception,
    ) -> Outcome:
        """Hold an event that raised; of more than one, process each for itself."""
        if portion.count == 1:
            held = held_row(portion.entry, portion.record, hour.hour, portion.first, error)
            return Outcome(b"", [], Tally(held=1), [held])
        whole = Outcome(b"", [], Tally(), [])
        lines: list[bytes] = []
        for single in single_portions(
            portion.entry, portion.record, portion.hour, self._dedupe.key
        ):
            if isinstance(single, HeldRow):
                whole.held.append(single)
                whole.tally.held += single.events
                continue
            name_rows([single], self._uuid_key)
            part = self.apply(single, batch, hour, now)
            lines.append(part.lines)
            whole.dates += part.dates
            whole.tally.add(part.tally)
            whole.held += part.held
        whole.lines = b"".join(lines)
        return whole

    def _run(self, portion: Portion, hour: OpenHour, now: int, journal: Journal) -> Outcome:
        record, entry = portion.record, portion.entry
        project, organization = record.project, record.organization
        times = _RecordTimes.of(entry, record, now)
        moment = Moment(hour.hour, entry.stamp, times.upload_millis)
        client_upload_millis, shift = times.client_upload_millis, times.shift
        data = self._data_of(record.endpoint)
        default_library = DEFAULT_LIBRARY.get(record.endpoint, DEFAULT_LIBRARY["/2/httpapi"])
        # Looked for in the whole body at once; what is not in it is in none of its events.
        has_operations = may_have_operations(record.body)
        client_address = record.client_address or None
        place_of = self._places.of(hour.settings.places)
        at_device = self._identity.devices(organization)
        persons = self._persons.known(project)
        duplicates = self._dedupe.claim(portion.keys, entry.stamp)
        tally = Tally(duplicates=len(duplicates))
        lines: list[Line] = []
        for offset, (event, device, user, uuid, event_id) in enumerate(
            zip(
                portion.events(),
                portion.devices,
                portion.users,
                portion.uuids,
                portion.event_ids,
                strict=True,
            )
        ):
            if offset in duplicates:
                continue
            event_type = event.event_type
            if event_type == "$groupidentify":
                tally.identifies += 1
                continue
            if device is None:
                raise ValueError("the event has neither device_id nor user_id")
            paid = settle(event, has_operations)
            if event_type == "$identify":
                self._identity.resolve(
                    organization, device, user, times.upload_millis, moment, journal
                )
                tally.identifies += 1
                continue
            client_millis = client_upload_millis if event.time is None else event.time
            event_millis = client_millis + shift
            if not FIRST_MILLIS <= event_millis <= LAST_MILLIS:
                event_millis = clamped(event_millis)
            event_text = millis_text(event_millis)
            client_text = (
                event_text if event_millis == client_millis else millis_text(client_millis)
            )
            known = at_device.get(device)
            if known is not None and (user is None or known[1] == user):
                amplitude_id = known[0]
            else:
                amplitude_id = self._identity.resolve(
                    organization, device, user, event_millis, moment, journal
                )
            version = event.app_version or event.version_name
            person = persons.get(amplitude_id)
            kind = 0
            if person is None:
                key = (project, amplitude_id)
                self._persons.check_new(key)
                person = (event_millis, event_text, version, None)
                self._persons.set(key, person, journal)
                kind = 2
            elif version is not None and person[2] is None:
                person = (person[0], person[1], version, person[3])
                self._persons.set((project, amplitude_id), person, journal)
            if paid and person[3] is not True:
                person = (person[0], person[1], person[2], True)
                self._persons.set((project, amplitude_id), person, journal)
            ip = event.ip if event.ip != REMOTE else client_address
            if place_of is not None and ip is not None:
                locate(event, ip, place_of)
            properties = event.user_properties
            if properties is not EMPTY_OBJECT:
                if has_operations:
                    properties = without_operations(properties)
                if not event.skip_user_properties_sync and not is_empty(properties):
                    kind += 1
            has_ids = event.idfa or event.idfv or event.adid
            has_ids = has_ids or event.android_id or event.android_app_set_id
            attribution = attribution_ids(event) if has_ids else None
            lines.append(
                Line(
                    times.received_text,
                    project,
                    event.carrier,
                    hour.schema,
                    event.city,
                    user,
                    uuid,
                    event_text,
                    event.platform,
                    event.os_version,
                    amplitude_id,
                    times.processed_text,
                    person[1],
                    version,
                    ip,
                    person[3],
                    event.dma,
                    EMPTY,
                    properties,
                    times.client_upload_text,
                    event.insert_id,
                    event_type,
                    event.library or default_library,
                    attribution,
                    None,
                    event.device_manufacturer,
                    person[2],
                    event.location_lng,
                    times.upload_text,
                    event_id if event.event_id is None else event.event_id,
                    event.location_lat,
                    event.os_name,
                    None,
                    event.device_brand,
                    EMPTY if event.groups is EMPTY_OBJECT else group_lists(event.groups),
                    event.event_properties,
                    data[kind],
                    device,
                    event.language,
                    event.device_model,
                    event.country,
                    event.region,
                    None,
                    None,
                    NO_SESSION if event.session_id is None else event.session_id,
                    None,
                    None,
                    None,
                    client_text,
                )
            )
        tally.exported = len(lines)
        return Outcome(
            encode(lines, record.body), [line.event_time[:10] for line in lines], tally, []
        )

    def _data_of(self, endpoint: str) -> tuple[msgspec.Raw, ...]:
        data = self._data.get(endpoint)
        if data is None:
            data = data_objects(endpoint)
            if len(self._data) < _ENDPOINTS_MAX:
                self._data[endpoint] = data
        return data


class _RecordTimes(msgspec.Struct, frozen=True, gc=False):
    """The times that all events of a record share; milliseconds, as they are printed (4.2)."""

    upload_millis: int
    client_upload_millis: int
    shift: int
    received_text: str
    client_upload_text: str
    upload_text: str
    processed_text: str

    @classmethod
    def of(cls, entry: Entry, record: Record, now: int) -> _RecordTimes:
        received = record.received_micros // 1000
        sent = record.client_upload_micros
        client_upload = received if sent is None else sent // 1000
        upload = entry.stamp // 1000
        return cls(
            upload,
            client_upload,
            skew_shift(received, client_upload),
            millis_text(received),
            millis_text(client_upload),
            millis_text(upload),
            micros_text(now),
        )
