"""Groups of events and persons, and what is known of each group (behaviour 3.1.10, 4.5).

Properties of a group belong to a project, a type and a value; `$groupidentify` changes them.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import Any

import msgspec

from tailrace.process.memory import (
    ENDLESS_BYTES,
    ENTRY_BYTES,
    Journal,
    Recent,
    StateNeeded,
    put,
    text_bytes,
)
from tailrace.process.properties import fitting, identified, stored_object
from tailrace.state import processing_rows as rows
from tailrace.upload import EMPTY_OBJECT

# Section 3.1.3: what is beyond these is silently not tracked.
GROUP_TYPES_MAX = 5
GROUP_VALUES_MAX = 10
# Of a group's type, as of every text; those that a user keeps are in each of its lines.
TYPE_CHARACTERS_MAX = 1024

# What is remembered of a group, as JSON; a line may show ten of them.
GROUP_BYTES_MAX = 8 * 1024

# Lines of events with the same groups share what they show of these, as far as it is kept.
SHOWN_BYTES_MAX = 1024 * 1024

# (group type, group value)
Group = tuple[str, str]

# Each type with its values, as they are exported.
GroupLists = Mapping[str, list[str]]

_decode = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode


def group_lists(groups: msgspec.Raw) -> GroupLists:
    """Return groups as lists of strings, cut to 5 types and 10 values (3.1.3, 3.1.10).

    Types are cut as texts are: `collect` leaves the keys of objects as they came.
    """
    lists: dict[str, list[str]] = {}
    for name, value in _decode(groups).items():
        given = value if isinstance(value, list) else [value]
        values = [_group_value(one) for one in given if not isinstance(one, (dict, list))]
        lists[name[:TYPE_CHARACTERS_MAX]] = [one for one in values if one]
    return _limited(lists)


def joined_groups(first: msgspec.Raw, others: msgspec.Raw) -> msgspec.Raw:
    """Return the groups of `first` and, of types that it has none of, those of `others`."""
    if first is EMPTY_OBJECT:
        return others
    lists = group_lists(first)
    if others is not EMPTY_OBJECT:
        lists = _limited({**lists, **_without(group_lists(others), lists)})
    return msgspec.Raw(_encode(lists)) if lists else EMPTY_OBJECT


def _without(lists: GroupLists, names: Container[str]) -> GroupLists:
    return {name: values for name, values in lists.items() if name not in names}


def _limited(lists: GroupLists) -> GroupLists:
    left = GROUP_VALUES_MAX
    kept: dict[str, list[str]] = {}
    for name, values in lists.items():
        if values[:left]:
            kept[name] = values[:left]
            left -= len(kept[name])
        if len(kept) == GROUP_TYPES_MAX or not left:
            break
    return kept


def _group_value(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else _encode(value).decode()


class Groups:
    """Properties of groups: those of the database, and changes that are not committed yet."""

    def __init__(self, connection: rows.Connection, cache_bytes: int) -> None:
        self._connection = connection
        # A group that the database does not know is kept as one without properties.
        self._recent: Recent[int, Group, msgspec.Raw] = Recent(cache_bytes, _group_bytes)
        self._changed: dict[tuple[int, Group], msgspec.Raw] = {}
        self._changed_bytes = {"": 0}
        # Events of one batch mostly have the same few groups: each object is read once.
        self._lists: dict[bytes, GroupLists] = {}
        self._joined: dict[tuple[bytes, bytes], tuple[msgspec.Raw, GroupLists]] = {}
        # What lines showed of groups (by project, an event's own, and those kept), and of what.
        self._shown: dict[tuple[int, bytes, bytes], tuple[list[msgspec.Raw], msgspec.Raw]] = {}
        self._shown_bytes = 0

    def begin_batch(self, brought_bytes_max: int = ENDLESS_BYTES) -> None:
        """Start a batch; what the last ones did not use may be forgotten now.

        Its look-ups raise `TooMuch` where they read more than so many bytes.
        """
        self._recent.age()
        self._recent.limit(brought_bytes_max)
        self._shown.clear()
        self._shown_bytes = 0
        self._lists.clear()
        self._joined.clear()

    def crowded(self, more_bytes_max: int) -> bool:
        """Say whether so much came up since the batch began that it should begin anew."""
        return self._recent.crowded(more_bytes_max)

    def lift_limit(self) -> None:
        """Let later look-ups of this batch read whatever they need."""
        self._recent.limit(ENDLESS_BYTES)

    def look_up(self, project: int, groups: Iterable[msgspec.Raw]) -> None:
        """Bring what is known of these objects of groups into memory."""
        wanted = {
            (name, value)
            for text in set(map(bytes, groups))
            for name, values in self._lists_of(text).items()
            for value in values
        }
        stored = []
        for group in self._recent.missing(project, wanted):
            changed = self._changed.get((project, group))
            if changed is None:
                stored.append(group)
            else:
                self._recent.add(project, group, changed)
        unknown = dict.fromkeys(stored)
        for name, value, properties in rows.find_groups(self._connection, project, stored):
            del unknown[name, value]
            self._recent.bring(project, (name, value), stored_object(properties))
        for group in unknown:
            self._recent.add(project, group, EMPTY_OBJECT)

    def shown(
        self, project: int, own: msgspec.Raw, kept: msgspec.Raw
    ) -> tuple[msgspec.Raw, msgspec.Raw]:
        """Return the groups of an event whose person keeps some, and what is known of each, by type
        and value; groups without properties are left out there.
        """
        key = (bytes(own), bytes(kept))
        joined = self._joined.get(key)
        if joined is None:
            groups = joined_groups(own, kept)
            joined = self._joined[key] = (groups, self._lists_of(bytes(groups)))
        known = self._recent.group(project)
        found = [
            _known(known, (name, value)) for name, values in joined[1].items() for value in values
        ]
        before = self._shown.get((project, *key))
        # Lists compare what is the same object at a glance: most of their groups did not change.
        if before is not None and before[0] == found:
            return joined[0], before[1]
        shown = _by_type(joined[1], found)
        if self._shown_bytes > SHOWN_BYTES_MAX:
            self._shown.clear()
            self._shown_bytes = 0
        self._shown[project, *key] = (found, shown)
        # What is known may have changed since, and is then kept only here.
        self._shown_bytes += 2 * len(shown) + ENTRY_BYTES
        return joined[0], shown

    def identify(
        self, project: int, groups: msgspec.Raw, given: msgspec.Raw, journal: Journal
    ) -> int:
        """Change the properties of each of the groups; return how many were left as they are
        because there would be too much to remember.
        """
        known = self._recent.group(project)
        dropped = 0
        last: tuple[msgspec.Raw, msgspec.Raw] | None = None
        for name, values in group_lists(groups).items():
            # A group that is named twice is added to once: `["a", "a"]`, or `[1, "1"]`.
            for value in dict.fromkeys(values):
                group = (name, value)
                before = _known(known, group)
                # New groups, for one, are all alike: what is known of them is kept once.
                after = last[1] if last and last[0] is before else identified(before, given)
                last = (before, after)
                if after is before:
                    continue
                if not fitting(after, before, GROUP_BYTES_MAX):
                    dropped += 1
                    continue
                self._set(project, group, after, journal)
        return dropped

    def _lists_of(self, text: bytes) -> GroupLists:
        lists = self._lists.get(text)
        if lists is None:
            lists = self._lists[text] = group_lists(msgspec.Raw(text))
        return lists

    def _set(self, project: int, group: Group, properties: msgspec.Raw, journal: Journal) -> None:
        self._recent.count(group, properties)
        put(journal, self._recent.group(project), group, properties)
        key = (project, group)
        before = self._changed.get(key)
        more = _group_bytes(group, properties) - (
            -ENTRY_BYTES if before is None else _group_bytes(group, before)
        )
        put(journal, self._changed_bytes, "", self._changed_bytes[""] + more)
        put(journal, self._changed, key, properties)

    def changed_bytes(self) -> int:
        """Return about how much memory the uncommitted changes take."""
        return self._changed_bytes[""]

    def write(self, connection: rows.Connection) -> None:
        """Write what changed; tell `saved` after the commit."""
        rows.write_groups(
            connection,
            (
                (project, *group, bytes(self._changed[project, group]))
                for project, group in sorted(self._changed)
            ),
        )

    def saved(self) -> None:
        """Forget which entries were not committed."""
        self._changed.clear()
        self._changed_bytes[""] = 0


def _by_type(lists: GroupLists, properties: Iterable[msgspec.Raw]) -> msgspec.Raw:
    """Return `properties`, one of each value of the lists, as lines show them."""
    left = iter(properties)
    found: dict[str, dict[str, msgspec.Raw]] = {}
    for name, values in lists.items():
        for value, known in zip(values, left, strict=False):
            if known is not EMPTY_OBJECT:
                found.setdefault(name, {})[value] = known
    return msgspec.Raw(_encode(found)) if found else EMPTY_OBJECT


def _known(known: Mapping[Group, msgspec.Raw], group: Group) -> msgspec.Raw:
    properties = known.get(group)
    if properties is None:
        raise StateNeeded
    return properties


# A tuple of two, and bytes in a `Raw`.
_GROUP_BYTES = 56 + 96


def _group_bytes(group: Group, properties: msgspec.Raw) -> int:
    return _GROUP_BYTES + text_bytes(group[0]) + text_bytes(group[1]) + len(properties)
