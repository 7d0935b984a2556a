"""What the owners' buckets hold at the end: every copy whole, and none with less than it owes."""

from __future__ import annotations

from collections.abc import Iterator

from tailrace.demo.seaweed import Seaweed
from tailrace.hours import Hour
from tailrace.state.delivery import LIVING_STATES, DataType
from torture.buckets import Owners, covers
from torture.landed import Copy, same_hours

# By bucket and prefix.
Copies = dict[tuple[str, str], Copy]

# Of a place that a destination has left, any hour may be unfinished.
BEFORE_ALL = Hour(0)


def copies_of(owners: Owners, server: Seaweed) -> Copies:
    """Return what lies at each place that an owner ever had."""
    return {(one.bucket, one.prefix): Copy(server, one.bucket, one.prefix) for one in owners.owned}


def prove_copies(copies: Copies, owners: Owners, last: Hour) -> Iterator[str]:
    """Yield what is wrong with what lies in the buckets, up to the hour `last`."""
    mains = {one.project: copies[one.bucket, one.prefix] for one in owners.owned if one.main}
    for main in mains.values():
        yield from main.check_chains()
    with owners.opened() as destinations:
        found = destinations.list(states=(*LIVING_STATES, "deleted"))
    for destination in found:
        main = mains[destination.project]
        places = [copies[one.bucket, one.prefix] for one in owners.places[destination.id]]
        # An hour that was on its way when its destination left is whole elsewhere, or nowhere.
        for left in places if destination.state == "deleted" else places[:-1]:
            yield from left.check_whole(BEFORE_ALL)
        if destination.state != "deleted":
            yield from places[-1].check_whole(last)
        for scope, hours in main.scopes().items():
            data_type: DataType = "events" if scope > 0 else "merged-ids"
            due = {
                hour
                for hour in hours
                if covers(destination, hour)
                and hour <= last
                and (destination.id, data_type, hour) not in owners.left_out
            }
            yield from same_hours(main, places, scope, due)


def unfinished_uploads(owners: Owners, server: Seaweed) -> int:
    """Return how many multipart uploads were begun in the buckets and never ended."""
    client = server.client(server.owner)
    return sum(
        len(client.list_multipart_uploads(Bucket=bucket).get("Uploads", []))
        for bucket in {one.bucket for one in owners.owned}
    )
