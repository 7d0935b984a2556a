"""What the mail about runs in conflict says: what lies in the way, and the two ways out."""

from __future__ import annotations

from tailrace.notify.amounts import counted
from tailrace.notify.letter import Code, Facts, Heading, Letter, Paragraph, Small
from tailrace.state.conflicts import InConflict
from tailrace.state.delivery import Destination


def conflict_letter(destination: Destination, found: InConflict) -> Letter:
    """Return the mail to those who may decide about the objects in a bucket."""
    bucket, number = destination.bucket, destination.id
    objects = "\n".join(f"s3://{bucket}/{key}" for key in found.keys)
    which = "This object is" if len(found.keys) == 1 else "These objects are"
    more = found.runs - len(found.keys)
    waits = "waits" if found.runs == 1 else "wait"
    return Letter(
        f"Other objects lie where files are to go in {bucket} "
        f"({destination.name}, destination {number})",
        (
            Paragraph(
                f"{counted(found.runs, 'run')} to the bucket {bucket} {waits} for somebody's "
                "decision: where a file is to go lies an object with other content. tailrace has "
                "overwritten nothing. No event is lost, and other hours go out meanwhile."
            ),
            Facts(
                (
                    (
                        "Destination",
                        f"{destination.name} ({number}), s3://{bucket}/{destination.prefix}",
                    ),
                    *((("Store", destination.endpoint_url),) if destination.endpoint_url else ()),
                    ("In conflict", counted(found.runs, "run")),
                )
            ),
            Heading("What lies in the way"),
            Paragraph(f"{which} not tailrace's, or {_changed(len(found.keys))} since:"),
            Code(objects),
            *((Paragraph(f"{counted(more, 'more run')} met others."),) if more > 0 else ()),
            Heading("What to do"),
            Paragraph(
                "Either move them away, then press Try now on the page of the failure, or have "
                f"whoever runs tailrace look again: tailrace verify {number}"
            ),
            Paragraph(
                "Or replace them, by a manual export of their hours with Overwrite previously "
                f"exported data: on the page, or by tailrace backfill {number} with --overwrite"
            ),
            Small(
                "Sent to the admins of the organization and to whoever added the destination. It "
                "is mailed once; if more runs meet such objects, again after a day."
            ),
        ),
    )


def _changed(objects: int) -> str:
    return "was changed" if objects == 1 else "were changed"
