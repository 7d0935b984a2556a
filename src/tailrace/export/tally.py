"""Adds up the plan of a manual export: a day's sealed hours, held against a day's objects."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO, Literal, TypeVar

import msgspec

from tailrace.export.deliver import Layout
from tailrace.export.objects import Item, ObjectConflict, Store, look
from tailrace.hours import Hour
from tailrace.state.delivery import DataType, Destination
from tailrace.state.manual_reports import KnownHour

# Of objects and hours that a person has to look at so many are named; the counts have them all.
NAMED_MAX = 20

Fate = Literal["there", "to write", "conflict"]
Named = TypeVar("Named")


class Amount(msgspec.Struct, frozen=True):
    """Objects, data files as well as manifests and markers, and their bytes."""

    objects: int
    bytes: int


class _Expected(msgspec.Struct, frozen=True):
    """An object that an hour is to have; `dropped` if the archive has no copy of it."""

    item: Item
    dropped: bool = False


class Tally:
    """What the sealed hours and the bucket add up to so far."""

    def __init__(
        self, destination: Destination, store: Store, layout: Layout, *, overwrite: bool
    ) -> None:
        self.overwrite = overwrite
        self.hours: Counter[DataType] = Counter()
        self.lines: Counter[DataType] = Counter()
        self.bytes = 0
        self.conflict_keys: list[str] = []
        self.unknown = 0
        self.unknown_keys: list[str] = []
        self.dropped: list[Hour] = []
        self._dropped_hours: set[Hour] = set()
        self._destination = destination
        self._store = store
        self._layout = layout
        self._objects: Counter[Fate] = Counter()
        self._object_bytes: Counter[Fate] = Counter()

    def add(
        self, data_type: DataType, hours: Sequence[KnownHour], there: Iterable[tuple[str, int]]
    ) -> None:
        """Add a day's hours; `there` is key and size of what the bucket has of that day."""
        expected = {hour.hour: list(self._expected(hour)) for hour in hours}
        keys = {one.item.key for of_hour in expected.values() for one in of_hour}
        named_like = tuple(self._begin_of_names(hour) for hour in hours)
        sizes: dict[str, int] = {}
        for key, size in there:
            if key in keys:
                sizes[key] = size
            elif key.startswith(named_like):
                self.unknown += 1
                _name(self.unknown_keys, key)
        for hour in hours:
            self.hours[data_type] += 1
            self.lines[data_type] += sum(known.file.lines for known in hour.files)
            self.bytes += sum(known.file.size_bytes for known in hour.files)
            self._add_hour(hour, expected[hour.hour], sizes)

    @property
    def dropped_hours(self) -> int:
        """How many hours can't be had whole."""
        return len(self._dropped_hours)

    def amount(self, fate: Fate) -> Amount:
        """Return how many objects that is, with their bytes as they are to be."""
        return Amount(self._objects[fate], self._object_bytes[fate])

    def _add_hour(
        self, hour: KnownHour, expected: Sequence[_Expected], sizes: dict[str, int]
    ) -> None:
        fates: list[Fate | None] = [self._fate(one.item, sizes, hour) for one in expected]
        for one, fate in zip(expected, fates, strict=True):
            if fate == "conflict":
                _name(self.conflict_keys, one.item.key)
        if any(
            one.dropped and (fate == "to write" or (fate == "conflict" and self.overwrite))
            for one, fate in zip(expected, fates, strict=True)
        ):
            # The other data type of the hour may be gone as well: it is one hour all the same.
            if hour.hour not in self._dropped_hours:
                _name(self.dropped, hour.hour)
            self._dropped_hours.add(hour.hour)
            fates = ["there" if fate == "there" else None for fate in fates]
        for one, fate in zip(expected, fates, strict=True):
            if fate is not None:
                self._objects[fate] += 1
                self._object_bytes[fate] += one.item.size_bytes

    def _fate(self, item: Item, sizes: dict[str, int], hour: KnownHour) -> Fate:
        size = sizes.get(item.key)
        if size is None:
            return "to write"
        if size != item.size_bytes:
            return "conflict"
        if hour.delivered:
            return "there"
        # Whoever put it, it was not us as far as the ledger goes back.
        try:
            return "to write" if look(self._store, item) is None else "there"
        except ObjectConflict:
            return "conflict"

    def _expected(self, hour: KnownHour) -> Iterator[_Expected]:
        prefix = self._destination.prefix
        for known in hour.files:
            file = known.file
            key = self._layout.file_key(prefix, file.scope, file.hour, file.number)
            item = Item(key, file.size_bytes, file.sha256, file.crc32, _not_opened)
            yield _Expected(item, known.dropped)
        if self._destination.manifest:
            key = self._layout.manifest_key(prefix, hour.scope, hour.hour)
            yield _small(key, self._layout.manifest_body(hour.record, hour.digest, prefix))
        if self._destination.marker:
            yield _small(self._layout.marker_key(prefix, hour.scope, hour.hour), b"")

    def _begin_of_names(self, hour: KnownHour) -> str:
        """Return how the keys of an hour's data files begin, up to the number or the ending."""
        key = self._layout.file_key(self._destination.prefix, hour.scope, hour.hour, 1)
        return key.removesuffix("1.json.gz")


def _small(key: str, body: bytes) -> _Expected:
    sha256 = hashlib.sha256(body).hexdigest()
    return _Expected(Item(key, len(body), sha256, 0, _not_opened))


def _not_opened() -> BinaryIO:
    raise AssertionError("a plan opens nothing")


def _name(names: list[Named], one: Named) -> None:
    if len(names) < NAMED_MAX:
        names.append(one)
