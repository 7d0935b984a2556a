"""What the mail about stores that have only failed for a day says."""

from __future__ import annotations

from collections.abc import Sequence

from tailrace.notify.amounts import counted, micros_between, moment, size
from tailrace.notify.letter import Facts, Heading, Letter, Paragraph, Part, Small
from tailrace.notify.stalls import Stall

# With so many it is plain what they have in common; the others are named by their numbers.
_TOLD_MAX = 10


def stall_letter(stalls: Sequence[Stall], now_micros: int) -> Letter:
    """Return the mail to the operator that nothing reaches some destinations."""
    longest = micros_between(min(one.since_micros for one in stalls), now_micros)
    first = stalls[0].destination
    which = counted(len(stalls), "destination")
    if len(stalls) == 1:
        which = f"{first.bucket} ({first.name}, destination {first.id})"
    return Letter(
        f"Nothing was delivered to {which} for {longest}",
        (
            Paragraph(
                "Stores that are busy or away are tried again until they are well, and nobody is "
                f"told. This has lasted for {longest}. The owners of the buckets are not told. No "
                "event is lost; what waits goes out by itself."
            ),
            *(part for one in stalls[:_TOLD_MAX] for part in _told(one)),
            *_others(stalls[_TOLD_MAX:]),
            Heading("What to do"),
            Paragraph(
                "If the store is well, look at the way to it from tailrace's machine: its name, "
                "proxies, firewalls. tailrace status shows what is retried."
            ),
            Small(
                "Sent to whoever runs tailrace (smtp.operator), once a day while nothing is "
                "delivered."
            ),
        ),
    )


def _told(one: Stall) -> tuple[Part, ...]:
    found, waits = one.destination, one.owed
    return (
        Heading(f"{found.name} ({found.id})"),
        Facts(
            (
                ("Bucket", f"s3://{found.bucket}/{found.prefix}"),
                *((("Store", found.endpoint_url),) if found.endpoint_url else ()),
                ("Since", moment(one.since_micros)),
                (
                    "Waiting",
                    f"{counted(waits.hours, 'closed hour')}, "
                    f"{counted(waits.events, 'event')}, {size(waits.size_bytes)}",
                ),
            )
        ),
        Paragraph(one.cause.sentence),
    )


def _others(stalls: Sequence[Stall]) -> tuple[Part, ...]:
    if not stalls:
        return ()
    numbers = ", ".join(str(one.destination.id) for one in stalls)
    return Heading("Others"), Facts((("Destinations", numbers),))
