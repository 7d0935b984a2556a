"""What the mails about room, the disk and the operator's own faults say."""

from __future__ import annotations

from collections.abc import Sequence

from tailrace.notify.amounts import counted, duration, size
from tailrace.notify.letter import Facts, Heading, Letter, Paragraph, Part, Small
from tailrace.notify.room import WATCHED_SECONDS_MIN, Room, watched_words
from tailrace.state.delivery import Destination
from tailrace.state.faults import Fault
from tailrace.state.owed import Owed

_OPERATOR = Small("Sent to whoever runs tailrace (smtp.operator). It is mailed once.")

# Most sentences name a bucket or a file. With so many it is plain what they have in common.
_SENTENCES_MAX = 10


def room_letter(room: Room) -> Letter:
    """Return the mail to the operator that the disk will be full."""
    return Letter(
        f"tailrace's disk has room for {_left(room)}",
        (
            Paragraph(
                f"The disk of tailrace's data folder has room for {_left(room)} at the rate of "
                f"{watched_words(room)}. Then uploads are refused with 503 until there is room "
                "again."
            ),
            _disk(room),
            Heading("What to do"),
            Paragraph(
                "Add to the disk, or let tailrace give up sealed files that were delivered: "
                "archive.evict or archive.keep_days. What is not delivered is never given up. "
                "tailrace status names the destinations that do not take their hours."
            ),
            _OPERATOR,
        ),
    )


def waiting_room_letter(room: Room, destination: Destination, waits: Owed) -> Letter:
    """Return the mail to those whose refused bucket makes the disk fill."""
    return Letter(
        f"Room for {_left(room)}: access to {destination.bucket} is refused "
        f"({destination.name}, destination {destination.id})",
        (
            Paragraph(
                f"Access to the bucket {destination.bucket} is refused, so its hours wait on "
                f"tailrace's disk, and that has room for {_left(room)} at the rate of "
                f"{watched_words(room)}. Then new events are refused with 503. What waits is not "
                "lost."
            ),
            Facts(
                (
                    (
                        "Destination",
                        f"{destination.name} ({destination.id}), "
                        f"s3://{destination.bucket}/{destination.prefix}",
                    ),
                    (
                        "Waiting",
                        f"{counted(waits.hours, 'closed hour')}, "
                        f"{counted(waits.events, 'event')}, {size(waits.size_bytes)}",
                    ),
                )
            ),
            Paragraph(
                "The mail about the outage says what is missing. Once access is back, all that "
                "waits goes out by itself."
            ),
            Small("Sent to the admins of the organization and to whoever added the destination."),
        ),
    )


_RESERVES = {
    1: "Sealed files that were delivered are given up if archive.evict is on.",
    2: "Uploads are refused with 503. All that was accepted is still sealed and delivered.",
    3: "Only deliveries go on: events that were accepted wait in the log.",
}


def disk_letter(room: Room, reserve: int) -> Letter:
    """Return the mail to the operator that a reserve of disk space is broken into."""
    ordinal = {1: "first", 2: "second", 3: "third"}[reserve]
    return Letter(
        f"tailrace's disk is under the {ordinal} reserve",
        (
            Paragraph(
                f"Less is free on the disk of tailrace's data folder than the {ordinal} of three "
                f"reserves. {_RESERVES[reserve]}"
            ),
            _disk(room),
            Paragraph("Free some space, or add to the disk. Nothing needs to be restarted."),
            _OPERATOR,
        ),
    )


def fault_letter(faults: Sequence[Fault]) -> Letter:
    """Return the mail to the operator that deliveries fail for reasons of one code of his own."""
    return Letter(
        f"tailrace cannot deliver: {faults[0].cause.code}",
        (
            Paragraph(
                "Deliveries fail for a reason that only whoever runs tailrace can mend. The owners "
                "of the buckets are not told. No event is lost; what waits goes out by itself."
            ),
            Heading("What is wrong"),
            *_what_is_wrong(faults),
            Small(
                "Sent to whoever runs tailrace (smtp.operator), once a day while it lasts. "
                "tailrace status shows what is retried."
            ),
        ),
    )


def _what_is_wrong(faults: Sequence[Fault]) -> list[Part]:
    """Return each different sentence with its destinations, and each fix below those it is of."""
    destinations: dict[tuple[str, str], list[int]] = {}
    for fault in faults:
        words = (fault.cause.fix, fault.cause.sentence)
        destinations.setdefault(words, []).append(fault.destination_id)
    parts: list[Part] = []
    told = sorted(destinations.items(), key=lambda one: one[1])[:_SENTENCES_MAX]
    for fix in dict.fromkeys(fix for (fix, _), _ in told):
        for (_, sentence), numbers in (one for one in told if one[0][0] == fix):
            parts += [Paragraph(sentence), _destinations(numbers)]
        parts.append(Paragraph(fix))
    among = {number for _, numbers in told for number in numbers}
    others = [fault.destination_id for fault in faults if fault.destination_id not in among]
    if others:
        parts += [Paragraph("The same is met at others:"), _destinations(others)]
    return parts


def _destinations(numbers: Sequence[int]) -> Facts:
    what = "Destination" if len(numbers) == 1 else "Destinations"
    return Facts(((what, ", ".join(str(number) for number in numbers)),))


def _disk(room: Room) -> Facts:
    filled = "not known yet"
    if room.watched_seconds >= WATCHED_SECONDS_MIN:
        filled = "nothing"
        if room.filled_bytes > 0:
            filled = f"{size(room.filled_bytes)} in {watched_words(room)}"
    return Facts(
        (
            ("Free", size(room.free_bytes)),
            ("Before uploads stop", size(max(0, room.usable_bytes))),
            ("Filled by", filled),
        )
    )


def _left(room: Room) -> str:
    left = room.seconds_left or 0.0
    return "less than an hour" if left < 3600 else duration(left)
