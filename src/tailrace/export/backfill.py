"""The plan of a manual export: what it would find in the bucket, and what it would put there.

Called by `app.backfill` before one is started. It reads the bucket, writes nothing, and holds one
day of the range at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from tailrace.export.deliver import Layout
from tailrace.export.listing import DatedListing
from tailrace.export.objects import Store
from tailrace.export.ranges import HourRange
from tailrace.export.tally import Amount, Tally
from tailrace.hours import Hour
from tailrace.state.delivery import DataType, Destination
from tailrace.state.ledger_view import LedgerView

_DAY_HOURS = 24


class Plan(msgspec.Struct, frozen=True):
    """What a manual export would do now.

    `hours` are the range's sealed ones, `lines` and `bytes` those of their data files; an hour has
    a run for each data type. `conflicts` hold other content than ours: without *overwrite* they
    stay and their runs end in conflict, with it they are written too. `unknown` objects are named
    like files of these hours and are not ours; nothing touches them. `dropped` hours can't be
    exported: the archive has dropped a file that the bucket does not hold. Hours from
    `not_sealed_from` on are left out, because they are not sealed yet.
    """

    destination_id: int
    from_hour: Hour
    until_hour: Hour
    data_types: tuple[DataType, ...]
    overwrite: bool
    hours: dict[DataType, int]
    lines: dict[DataType, int]
    bytes: int
    already_there: Amount
    to_write: Amount
    conflicts: Amount
    conflict_keys: tuple[str, ...]
    unknown: int
    unknown_keys: tuple[str, ...]
    dropped_hours: int
    dropped: tuple[Hour, ...]
    not_sealed_from: Hour | None


def plan(
    destination: Destination,
    asked: HourRange,
    data_types: Sequence[DataType],
    ledger: LedgerView,
    store: Store,
    layout: Layout,
    *,
    overwrite: bool,
) -> Plan:
    """Compare the range's sealed hours with the bucket.

    Objects are told apart by their size, and by the SHA-256 in their metadata where the ledger does
    not know that the hour was delivered. Raise botocore's errors where the bucket can't be read.
    """
    sharing = ledger.sharing_destinations(destination.id)
    tally = Tally(destination, store, layout, overwrite=overwrite)
    for data_type in data_types:
        scope = destination.scope_of(data_type)
        span = ledger.sealed_span(scope, asked.from_hour, asked.until_hour)
        if span is None:
            continue
        begin, until = span[0], span[1].next()
        listings = _listings(destination, store, layout, scope, begin)
        for first in _days(begin, until):
            hours = ledger.known_hours(
                scope, max(begin, first), min(until, first.plus(_DAY_HOURS)), sharing
            )
            there = (one for listing in listings for one in listing.of(first.date))
            tally.add(data_type, hours, there)
    return _plan_of(tally, destination, asked, data_types, ledger.newest_sealed_hour())


def _plan_of(
    tally: Tally,
    destination: Destination,
    asked: HourRange,
    data_types: Sequence[DataType],
    newest_sealed: Hour | None,
) -> Plan:
    open_from = asked.from_hour
    if newest_sealed is not None:
        open_from = max(open_from, newest_sealed.next())
    return Plan(
        destination_id=destination.id,
        from_hour=asked.from_hour,
        until_hour=asked.until_hour,
        data_types=tuple(data_types),
        overwrite=tally.overwrite,
        hours={name: tally.hours[name] for name in data_types},
        lines={name: tally.lines[name] for name in data_types},
        bytes=tally.bytes,
        already_there=tally.amount("there"),
        to_write=tally.amount("to write"),
        conflicts=tally.amount("conflict"),
        conflict_keys=tuple(tally.conflict_keys),
        unknown=tally.unknown,
        unknown_keys=tuple(tally.unknown_keys),
        dropped_hours=tally.dropped_hours,
        dropped=tuple(tally.dropped),
        not_sealed_from=open_from if open_from < asked.until_hour else None,
    )


def _listings(
    destination: Destination, store: Store, layout: Layout, scope: int, first: Hour
) -> list[DatedListing]:
    """Return what reads the folders of files and of manifests, from a date on."""
    keys = [layout.marker_key(destination.prefix, scope, first)]
    if destination.manifest:
        keys.append(layout.manifest_key(destination.prefix, scope, first))
    return [DatedListing(store, key.rpartition(first.date)[0], first.date) for key in keys]


def _days(begin: Hour, until: Hour) -> Iterator[Hour]:
    first = begin.day_start()
    while first < until:
        yield first
        first = first.plus(_DAY_HOURS)
