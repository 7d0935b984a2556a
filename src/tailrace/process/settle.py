"""`settle`: the one place where an event's own fields get the form in which they are exported.

Called once for each event before state is applied to it; doing it twice changes nothing more.
"""

from __future__ import annotations

from tailrace.process.languages import language_name
from tailrace.process.revenue import has_revenue_fields, revenue_of, with_revenue
from tailrace.upload import UploadEvent


def settle(event: UploadEvent, dollars: bool) -> bool:  # noqa: FBT001  # positional: it is hot
    """Set the event's language and revenue properties; return whether somebody paid with it.

    `dollars` says whether a dollar sign may stand in the event at all.
    """
    if event.language is not None:
        event.language = language_name(event.language)
    if has_revenue_fields(event):
        event.event_properties = with_revenue(event)
    elif not dollars:
        return False
    amount = revenue_of(event)
    return amount is not None and amount > 0
