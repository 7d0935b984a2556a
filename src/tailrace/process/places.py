"""`Places`: where an address is, from a MaxMind-format file that the operator names.

A copy of the file is kept under its digest, and an hour's settings name it: a repeated hour reads
the very same file, whatever the operator put in its place meanwhile.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any

import maxminddb
import msgspec

from tailrace.errors import BadSetting, NeedsOperator
from tailrace.files import Files

# A file of all cities has 60 MB; what is read into memory to be copied has a limit.
FILE_BYTES_MAX = 512 * 1024**2
# Clients come back; with these the memory of one hour's file stays under 20 MB.
_ADDRESSES_MAX = 50_000
# The longest address, and what a client sends in `ip` may be longer: IPv6 with IPv4 at its end.
_ADDRESS_LENGTH_MAX = 45

_SUFFIX = ".mmdb"


class Place(msgspec.Struct, frozen=True):
    """Names in English; `dma` is the number of a metro area of the United States, as text."""

    country: str | None = None
    region: str | None = None
    city: str | None = None
    dma: str | None = None


NOWHERE = Place()
PlaceOf = Callable[[str], Place]


class Places:
    """The copies in `folder`, of which `current` is for hours that begin now; None for none."""

    def __init__(self, folder: Path, current: str | None) -> None:
        self._folder = folder
        self.current = current
        self._open: dict[str, PlaceOf] = {}

    @classmethod
    def adopt(cls, database: str, folder: Path, files: Files) -> Places:
        """Copy the operator's file unless it is there; an empty path means no places.

        Raises `BadSetting` if it can't be read. On return the copy is on disk.
        """
        if not database:
            return cls(folder, None)
        try:
            before = Path(database).stat()
            if before.st_size > FILE_BYTES_MAX:
                raise _bad(database, f"it is larger than {FILE_BYTES_MAX} bytes")
            content = Path(database).read_bytes()
            maxminddb.open_database(database).close()
            after = Path(database).stat()
        except (OSError, maxminddb.InvalidDatabaseError) as error:
            raise _bad(database, str(error)) from error
        # What was opened must be what is copied: hours can't go on with half a file.
        if len(content) != after.st_size or _version_of(before) != _version_of(after):
            raise _bad(database, "it changed while it was read")
        name = hashlib.sha256(content).hexdigest()
        copy = folder / f"{name}{_SUFFIX}"
        if not copy.exists():
            files.make_folder(folder)
            files.put_whole(copy, [content])
        return cls(folder, name)

    def remove_unused(self, in_use: Callable[[], set[str]]) -> None:
        """Remove the copies that are neither current nor in use; ask only if there are others."""
        copies = {copy.name.removesuffix(_SUFFIX) for copy in self._folder.glob(f"*{_SUFFIX}")}
        others = copies - {self.current}
        if others:
            for name in others - in_use():
                (self._folder / f"{name}{_SUFFIX}").unlink()

    def of(self, name: str | None) -> PlaceOf | None:
        """Return the look-up of an hour's file; raise `NeedsOperator` if its copy is gone."""
        if name is None:
            return None
        found = self._open.get(name)
        if found is None:
            # Hours of two files meet only around a change of it.
            self._open = {name: _look_up(self._folder / f"{name}{_SUFFIX}")}
            found = self._open[name]
        return found


def _version_of(stat: os.stat_result) -> tuple[int, int, int]:
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _look_up(path: Path) -> PlaceOf:
    try:
        reader = maxminddb.open_database(path)
    except (OSError, maxminddb.InvalidDatabaseError) as error:
        raise NeedsOperator(
            f"Cannot look up places in {path}, with which an hour was begun: {error}. "
            "Restore it from a backup of the data folder."
        ) from error
    seen: dict[str, Place] = {}

    def place_of(address: str) -> Place:
        if len(address) > _ADDRESS_LENGTH_MAX:
            return NOWHERE
        place = seen.get(address)
        if place is None:
            try:
                place = _place(reader.get(_parsed(address)))
            except (ValueError, maxminddb.InvalidDatabaseError):
                # No address, or one of a version that the file does not have.
                place = NOWHERE
            if len(seen) >= _ADDRESSES_MAX:
                seen.clear()
            seen[address] = place
        return place

    return place_of


def _parsed(address: str) -> IPv4Address | IPv6Address:
    """Return an address, of `::ffff:198.51.100.1` the one in it, as few files hold such.

    Raise `ValueError` for any other text. The reader itself takes a whole number for an address,
    and raises another error for a text that ends at a zero byte.
    """
    parsed = ip_address(address)
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return parsed if mapped is None else mapped


def _place(record: Any) -> Place:
    """Return what a record of a Country or City file says; it is foreign data of any shape."""
    if not isinstance(record, dict):
        return NOWHERE
    subdivisions = record.get("subdivisions")
    region = subdivisions[0] if isinstance(subdivisions, list) and subdivisions else None
    location = record.get("location")
    metro = location.get("metro_code") if isinstance(location, dict) else None
    return Place(
        _english(record.get("country")),
        _english(region),
        _english(record.get("city")),
        str(metro) if isinstance(metro, int) and metro > 0 else None,
    )


def _english(part: Any) -> str | None:
    names = part.get("names") if isinstance(part, dict) else None
    name = names.get("en") if isinstance(names, dict) else None
    return name if isinstance(name, str) and name else None


def _bad(database: str, why: str) -> BadSetting:
    return BadSetting(
        f"Cannot use places.database {database!r}: {why}. Name a City or Country file in the "
        "MaxMind format (.mmdb), or leave the setting empty."
    )
