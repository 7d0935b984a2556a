"""The one way in which a destination becomes active: every probe passed.

Called when a destination is added and by `tailrace verify`.
"""

from __future__ import annotations

import msgspec

from tailrace.errors import BadRequest
from tailrace.export.bucket_names import check_region
from tailrace.export.verify import ClientSource, Told, Verification, nobody, verify
from tailrace.state.destinations import Destinations


def verify_and_activate(
    destination_id: int,
    destinations: Destinations,
    clients: ClientSource,
    *,
    region: str | None = None,
    told: Told = nobody,
) -> Verification:
    """Run the probes; activate the destination if all passed, and change nothing if not.

    An outage ends, what waits is tried at once, and what the store can do is noted anew. A paused
    destination stays paused: of it manual exports go on. A `region` that is given is probed in
    place of the destination's, and kept if the bucket was met there: nothing else changes a region.
    `told` hears of each step.
    """
    destination = destinations.get(destination_id)
    if destination.state == "deleted":
        raise BadRequest(f"Cannot verify destination {destination_id}: it is deleted.")
    # Probes write: not into what became another organization's before this one, or meanwhile.
    destinations.refuse_bucket(destination)
    if region is not None:
        wanted = check_region(region, destination.endpoint_url)
        destination = msgspec.structs.replace(destination, region=wanted)
    found = verify(destination, clients, told)
    if region is not None and found.met_in(region):
        destinations.set_region(destination_id, region)
    if found.passed and destination.state == "paused":
        destinations.verified_paused(destination, found.capabilities)
    elif found.passed:
        destinations.activate(destination_id, found.capabilities, probed=destination)
    return found
