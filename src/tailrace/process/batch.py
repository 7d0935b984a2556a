"""One batch: look-ups for all of its keys, then event by event in memory alone.

Per event, in order: dedupe, identity, properties, groups, render. Nothing here writes; nothing is
awaited.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import msgspec

from tailrace.log.record import Entry, Record
from tailrace.process.chunks import OpenHour, Tally
from tailrace.process.dedupe import Dedupe
from tailrace.process.devices import UNNAMED, DeviceCatalog
from tailrace.process.enrich import (
    DEFAULT_LIBRARY,
    REMOTE,
    attribution_ids,
    may_have_operations,
)
from tailrace.process.event import (
    Portion,
    held_row,
    name_rows,
    portions_of,
    single_portions,
    singles_of,
)
from tailrace.process.exposure import EXPOSURE, EXPOSURE_SHOWN, exposed, exposure_shown
from tailrace.process.identity import Moment
from tailrace.process.memory import Journal, StateNeeded, TooMuch, undo
from tailrace.process.person import NO_DEVICE, NO_PLACE, Said, device_set, place_set
from tailrace.process.places import Places
from tailrace.process.properties import is_empty, without_operations
from tailrace.process.record_times import RecordTimes
from tailrace.process.render import Line, data_objects, encode
from tailrace.process.settle import locate, settle
from tailrace.process.state import Outcome, State
from tailrace.process.times import FIRST_MILLIS, LAST_MILLIS, clamped, millis_text
from tailrace.process.user_agents import UserAgents, equip
from tailrace.state.processing_rows import HeldRow
from tailrace.upload import EMPTY_OBJECT

NO_SESSION = -1

# Endpoints are few; more of them than this are made up, and remembering those has no use.
_ENDPOINTS_MAX = 64


class Batch:
    """Turns records into lines, with the state that one processor keeps."""

    def __init__(self, dedupe: Dedupe, state: State, places: Places, uuid_key: bytes) -> None:
        self._dedupe = dedupe
        self._state = state
        self._places = places
        self._uuid_key = uuid_key
        self._agents = UserAgents()
        self._devices = DeviceCatalog()
        self._data: dict[str, tuple[msgspec.Raw, ...]] = {}

    def prepare(self, entry: Entry, record: Record, hour: int) -> list[Portion | HeldRow]:
        """Decode a record: into few portions, or one for each event if it can't be as a whole."""
        try:
            return [*portions_of(entry, record, hour, self._dedupe.key)]
        except MemoryError:
            raise
        except Exception:
            return list(single_portions(entry, record, hour, self._dedupe.key))

    def begin(self, portions: Sequence[Portion]) -> None:
        """Start a batch: name its rows, and look up its dedupe keys."""
        name_rows(portions, self._uuid_key)
        keys = {key for portion in portions for key in portion.keys}
        keys.discard(None)
        self._dedupe.look_up(cast(set[bytes], keys))

    def look_up(self, portions: Sequence[Portion]) -> Sequence[Portion]:
        """Bring everything that the first of these portions may need into memory; return them.

        With little known of each person that is all of them. Look up the others once these are
        applied: what was looked up before may be forgotten then.
        """
        while len(portions) > 1:
            try:
                self._state.look_up(portions)
            except TooMuch:
                portions = portions[: len(portions) // 2]
            else:
                return portions
        self._state.look_up_all(portions)
        return portions

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
        except StateNeeded:
            pass
        except MemoryError:
            raise
        except Exception as error:
            return self._apart(portion, batch, hour, now, error)
        # This reads the database, whose errors hold no events.
        self._state.look_up_again(portion, batch)
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
        for single in singles_of(portion, self._dedupe.key):
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
            whole.updates_dropped += part.updates_dropped
            whole.operations_ignored += part.operations_ignored
        whole.lines = b"".join(lines)
        return whole

    def _run(self, portion: Portion, hour: OpenHour, now: int, journal: Journal) -> Outcome:
        record, entry = portion.record, portion.entry
        project, organization = record.project, record.organization
        times = RecordTimes.of(entry, record, now)
        moment = Moment(hour.hour, entry.stamp, times.upload_millis)
        data = self._data_of(record.endpoint)
        default_library = DEFAULT_LIBRARY.get(record.endpoint, DEFAULT_LIBRARY["/2/httpapi"])
        # Looked for in the whole body at once; what is not in it is in none of its events.
        has_operations = may_have_operations(portion.body)
        client_address = record.client_address or None
        unlimited = self._state.updates_max is None
        state = self._state
        at_device = state.identity.devices(organization)
        persons = state.persons.known(project)
        place_of = self._places.of(hour.settings.places)
        names_devices = hour.settings.devices is not None
        agent_of = self._agents.of if names_devices else None
        drop_bots = hour.settings.drop_bots
        names_of = self._devices.names
        line_of, schema = hour.layout.line, hour.layout.schema
        events = portion.events()
        duplicates = self._dedupe.claim(portion.keys, entry.stamp)
        outcome = Outcome(b"", [], Tally(duplicates=len(duplicates)), [])
        lines: list[Line] = []
        for offset, (event, device_id, user, uuid, event_id) in enumerate(
            zip(
                events,
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
            # An event's own fields are settled here, before state meets them.
            version = event.app_version or event.version_name
            if event_type == "$groupidentify":
                state.identify_groups(project, event, outcome, journal)
                continue
            if device_id is None:
                raise ValueError("the event has neither device_id nor user_id")
            if agent_of is not None and event.user_agent is not None:
                agent = agent_of(event.user_agent)
                if agent.is_bot and drop_bots:
                    outcome.tally.filtered += 1
                    continue
                equip(event, agent)
            pays = settle(event, has_operations)
            ip = event.ip if event.ip != REMOTE else client_address
            if place_of is not None and ip is not None:
                locate(event, ip, place_of)
            if event_type == "$identify":
                state.identify(record, event, device_id, user, version, outcome, moment, journal)
                continue
            client_millis = times.client_upload_millis if event.time is None else event.time
            event_millis = client_millis + times.shift
            if not FIRST_MILLIS <= event_millis <= LAST_MILLIS:
                event_millis = clamped(event_millis)
            event_text = millis_text(event_millis)
            client_text = (
                event_text if event_millis == client_millis else millis_text(client_millis)
            )
            known = at_device.get(device_id)
            if known is not None and (user is None or known[1] == user):
                amplitude_id = known[0]
            else:
                amplitude_id = state.resolve(
                    organization, device_id, user, event_millis, outcome, moment, journal
                )
            device = device_set(event)
            place = place_set(event)
            given = event.user_properties
            if given is not EMPTY_OBJECT:
                if has_operations:
                    given = without_operations(given)
                if is_empty(given):
                    given = EMPTY_OBJECT
            event_properties, changes = event.event_properties, EMPTY_OBJECT
            if event_type == EXPOSURE:
                event_type = EXPOSURE_SHOWN
                changes = exposed(event_properties)
                event_properties = exposure_shown(event_properties)
            person = persons.get(amplitude_id)
            if (
                person is not None
                and person.first_text is not None
                and (device == person.device or device == NO_DEVICE)
                and (place == person.place or place == NO_PLACE)
                and (event.language is None or event.language == person.language)
                and (version is None or version == person.version)
                and (given is EMPTY_OBJECT or (unlimited and given == person.applied))
                and changes is EMPTY_OBJECT
                and not event.skip_user_properties_sync
                and (not pays or person.paying is True)
            ):
                # Most events change nothing of their person.
                shown = person
                kind = 0 if given is EMPTY_OBJECT else 1
            else:
                shown, kind = state.take(
                    project,
                    amplitude_id,
                    event,
                    Said(
                        event_millis,
                        event_text,
                        device,
                        place,
                        event.language,
                        version,
                        given,
                        pays,
                        changes,
                    ),
                    outcome,
                    hour.hour,
                    journal,
                )
            groups = group_properties = EMPTY_OBJECT
            if event.groups is not EMPTY_OBJECT or shown.groups is not EMPTY_OBJECT:
                groups, group_properties = state.groups.shown(project, event.groups, shown.groups)
            platform, os_name, os_version, brand, manufacturer, model, carrier = shown.device
            device_type, device_family = names_of(shown.device) if names_devices else UNNAMED
            country, region, city, dma = shown.place
            has_ids = event.idfa or event.idfv or event.adid
            has_ids = has_ids or event.android_id or event.android_app_set_id
            attribution = attribution_ids(event) if has_ids else None
            lines.append(
                line_of(
                    times.received_text,
                    project,
                    carrier,
                    schema,
                    city,
                    user,
                    uuid,
                    event_text,
                    platform,
                    os_version,
                    amplitude_id,
                    times.processed_text,
                    shown.first_text,
                    shown.version,
                    ip,
                    shown.paying,
                    dma,
                    group_properties,
                    shown.properties,
                    times.client_upload_text,
                    event.insert_id,
                    event_type,
                    event.library or default_library,
                    attribution,
                    device_type,
                    manufacturer,
                    shown.start_version,
                    event.location_lng,
                    times.upload_text,
                    event_id if event.event_id is None else event.event_id,
                    event.location_lat,
                    os_name,
                    None,
                    brand,
                    groups,
                    event_properties,
                    data[kind],
                    device_id,
                    shown.language,
                    model,
                    country,
                    region,
                    None,
                    None,
                    NO_SESSION if event.session_id is None else event.session_id,
                    device_family,
                    None,
                    None,
                    client_text,
                )
            )
        if not hour.layout.plain:
            hour.layout.finish(lines, portion.uuids, events)
        outcome.tally.exported = len(lines)
        outcome.lines = encode(lines, portion.body)
        outcome.dates = [line.event_time[:10] for line in lines]
        return outcome

    def _data_of(self, endpoint: str) -> tuple[msgspec.Raw, ...]:
        data = self._data.get(endpoint)
        if data is None:
            data = data_objects(endpoint)
            if len(self._data) < _ENDPOINTS_MAX:
                self._data[endpoint] = data
        return data
