"""`settle`: the one place where an event's own fields get the form in which they are exported.

Called once for each event before state is applied to it; doing it twice changes nothing more.
"""

from __future__ import annotations

from tailrace.process.languages import language_name
from tailrace.process.places import PlaceOf
from tailrace.process.revenue import has_revenue_fields, revenue_of, with_revenue
from tailrace.upload import UploadEvent


def settle(event: UploadEvent, dollars: bool) -> bool:  # noqa: FBT001  # positional: it is hot
    """Set the event's language and revenue properties; return whether somebody paid with it.

    `dollars` says whether a dollar sign may stand in the event at all.
    """
    if event.language is not None:
        # A text of blanks alone names nothing, and an exported field is never "" (D40).
        event.language = language_name(event.language) or None
    if has_revenue_fields(event):
        event.event_properties = with_revenue(event)
    elif not dollars:
        return False
    amount = revenue_of(event)
    return amount is not None and amount > 0


def locate(event: UploadEvent, address: str, place_of: PlaceOf) -> None:
    """Set the place of an address, unless the event says any part of a place itself (3.1.9)."""
    if event.country or event.region or event.city or event.dma:
        return
    place = place_of(address)
    event.country, event.region, event.city, event.dma = (
        place.country,
        place.region,
        place.city,
        place.dma,
    )
