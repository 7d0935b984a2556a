"""Which amplitude id an event gets: the decision table of behaviour 4.3, per organization.

A device leads to an amplitude id, and that to a user ID or to none while it never had one. An
anonymous id belongs to one device only: another device gets an id by a user alone. And a user keeps
its id for ever. So what is kept with a device is right until that device changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import msgspec

from tailrace.process.memory import ENTRY_BYTES, Journal, Recent, put, text_bytes
from tailrace.state import processing_rows as rows

# Beyond this a JSON reader that keeps numbers as doubles would change an id.
AMPLITUDE_ID_MAX = 2**53 - 1

# (amplitude id, its user ID or None)
Known = tuple[int, str | None]

# (organization, device id or user id)
Key = tuple[int, str]


class Merge(msgspec.Struct, frozen=True, gc=False):
    """An anonymous id that turned out to be a known user's (row 7 of 4.3; D9: milliseconds)."""

    merged_amplitude_id: int
    organization: int
    hour: int
    stamp: int
    merge_time: int
    merge_server_time: int


class Moment(msgspec.Struct, frozen=True, gc=False):
    """When a record came: its log hour, its stamp and the same as upload time (ms)."""

    hour: int
    stamp: int
    upload_millis: int


class Identity:
    """Devices, users and the next id: those of the database, and changes not committed yet."""

    def __init__(
        self, connection: rows.Connection, next_amplitude_id: int, cache_bytes: int
    ) -> None:
        self._connection = connection
        # Most events need no user: their device leads to theirs.
        self._devices: Recent[int, str, Known] = Recent(cache_bytes * 3 // 4, _device_bytes)
        self._users: Recent[int, str, int] = Recent(cache_bytes // 4, _user_bytes)
        self._changed_devices: dict[Key, Known] = {}
        self._changed_users: dict[Key, int] = {}
        self._changed_identities: dict[int, Key | tuple[int, None]] = {}
        self._merges: dict[int, Merge] = {}
        self._changed_text_bytes = 0
        self._counter = {"next": next_amplitude_id}

    def begin_batch(self) -> None:
        """Start a batch; what the last ones did not use may be forgotten now."""
        self._devices.age()
        self._users.age()

    def look_up(
        self, organization: int, devices: Sequence[str | None], users: Sequence[str | None]
    ) -> tuple[set[int], set[int]]:
        """Bring what is known of an organization's events into memory, given their ids pairwise.

        Returns the amplitude ids that these events get if nothing changes before them, and maybe
        some more; and those ids that these events may merge, or merge into.
        """
        wanted = set(devices)
        wanted.discard(None)
        self._load_devices(organization, cast(set[str], wanted))
        at_device = self._devices.group(organization)
        found: set[int] = set()
        merging: set[int] = set()
        # A device that leads to its event's user already settles both.
        unsettled: set[str] = set()
        for device, user in zip(devices, users, strict=True):
            known = at_device.get(device) if device is not None else None
            if known is not None:
                found.add(known[0])
                if user is not None and known[1] != user:
                    unsettled.add(user)
                    if known[1] is None:
                        merging.add(known[0])
            elif user is not None:
                unsettled.add(user)
        if unsettled:
            self._load_users(organization, unsettled)
            of_user = self._users.group(organization)
            merging.update(of_user[user] for user in unsettled if user in of_user)
        return found | merging, merging

    def devices(self, organization: int) -> Mapping[str, Known]:
        """Return the devices in memory: all of the batch that are known."""
        return self._devices.group(organization)

    def resolve(
        self,
        organization: int,
        device: str,
        user: str | None,
        event_millis: int,
        moment: Moment,
        journal: Journal,
    ) -> int:
        """Return the event's amplitude id and remember what the event says (rows 1 to 18).

        User IDs win over device IDs; an id that has a user is never merged (rows 9 and 10).
        `event_millis` becomes the merge time; for an identify pass its upload time (D9).
        """
        at_device = self._devices.group(organization).get(device)
        if at_device is not None and (user is None or at_device[1] == user):
            return at_device[0]
        key = (organization, device)
        if user is None:
            amplitude_id = self._next_id(journal)
            put(journal, self._changed_identities, amplitude_id, (organization, None))
            self._set_device(key, (amplitude_id, None), journal)
            return amplitude_id
        of_user = self._users.group(organization).get(user)
        anonymous = at_device is not None and at_device[1] is None
        if of_user is not None:
            if anonymous and at_device is not None:
                merge = Merge(
                    of_user,
                    organization,
                    moment.hour,
                    moment.stamp,
                    event_millis,
                    moment.upload_millis,
                )
                put(journal, self._merges, at_device[0], merge)
            amplitude_id = of_user
        else:
            # An anonymous id becomes the user's own.
            taken = at_device[0] if anonymous and at_device is not None else None
            amplitude_id = self._next_id(journal) if taken is None else taken
            self._set_user((organization, user), amplitude_id, journal)
        self._set_device(key, (amplitude_id, user), journal)
        return amplitude_id

    def _set_device(self, key: Key, value: Known, journal: Journal) -> None:
        organization, device = key
        devices = self._devices.group(organization)
        before = devices.get(device)
        # Counted whole where it changes too: a user ID that comes to it may be 4 kB long.
        self._devices.count(device, value)
        if before is not None:
            amplitude_id, user = before
            if user is not None and user not in self._users.group(organization):
                # Later events of the batch may ask for this user, who was not looked up for itself.
                self._users.add(organization, user, amplitude_id)
        put(journal, devices, device, value)
        put(journal, self._changed_devices, key, value)
        # Each event has a text of its own for one and the same user.
        self._changed_text_bytes += text_bytes(device) + text_bytes(value[1])

    def _set_user(self, key: Key, amplitude_id: int, journal: Journal) -> None:
        organization, user = key
        self._users.count(user, amplitude_id)
        put(journal, self._users.group(organization), user, amplitude_id)
        put(journal, self._changed_users, key, amplitude_id)
        self._changed_text_bytes += text_bytes(user)
        put(journal, self._changed_identities, amplitude_id, key)

    def _next_id(self, journal: Journal) -> int:
        amplitude_id = self._counter["next"]
        if amplitude_id > AMPLITUDE_ID_MAX:
            raise OverflowError("No amplitude id is left below 2^53.")
        put(journal, self._counter, "next", amplitude_id + 1)
        return amplitude_id

    def _load_devices(self, organization: int, devices: set[str]) -> None:
        stored = []
        for device in self._devices.missing(organization, devices):
            changed = self._changed_devices.get((organization, device))
            if changed is None:
                stored.append(device)
            else:
                self._devices.add(organization, device, changed)
        if stored:
            for device, *value in rows.find_devices(self._connection, organization, stored):
                self._devices.add(organization, device, (value[0], value[1]))

    def _load_users(self, organization: int, users: set[str]) -> None:
        stored = []
        for user in self._users.missing(organization, users):
            changed = self._changed_users.get((organization, user))
            if changed is None:
                stored.append(user)
            else:
                self._users.add(organization, user, changed)
        if stored:
            for user, amplitude_id in rows.find_users(self._connection, organization, stored):
                self._users.add(organization, user, amplitude_id)

    @property
    def next_amplitude_id(self) -> int:
        """The id that the next person gets; kept with every checkpoint."""
        return self._counter["next"]

    def changed_bytes(self) -> int:
        """Return about how much memory the uncommitted changes take."""
        return self._changed_text_bytes + ENTRY_BYTES * (
            len(self._changed_devices)
            + len(self._changed_users)
            + len(self._changed_identities)
            + len(self._merges)
        )

    def write(self, connection: rows.Connection) -> None:
        """Write what changed; tell `saved` after the commit."""
        rows.write_devices(
            connection,
            [
                (*key, value[0], value[1] is None)
                for key, value in sorted(self._changed_devices.items(), key=_first)
            ],
        )
        rows.write_users(
            connection, [(*key, value) for key, value in sorted(self._changed_users.items())]
        )
        rows.write_identities(
            connection,
            [(key, *self._changed_identities[key]) for key in sorted(self._changed_identities)],
        )
        rows.write_merges(
            connection,
            [(loser, *msgspec.structs.astuple(merge)) for loser, merge in self._merges.items()],
        )

    def saved(self) -> None:
        """Forget which entries were not committed."""
        self._changed_devices.clear()
        self._changed_users.clear()
        self._changed_identities.clear()
        self._merges.clear()
        self._changed_text_bytes = 0


# A number of over 30 bits, and a tuple of two.
_NUMBER_BYTES = 32
_KNOWN_BYTES = 56 + _NUMBER_BYTES


def _device_bytes(device: str, value: Known) -> int:
    return _KNOWN_BYTES + text_bytes(device) + text_bytes(value[1])


def _user_bytes(user: str, _: int) -> int:
    return _NUMBER_BYTES + text_bytes(user)


def _first(item: tuple[Key, Known]) -> Key:
    return item[0]
