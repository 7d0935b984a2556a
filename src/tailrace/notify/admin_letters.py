"""What a person sends to whoever may change a bucket: the words of a page, to be pasted."""

from __future__ import annotations

from tailrace.export.key_policy import key_lines
from tailrace.export.policy import (
    GRANTS,
    KEY_ACTIONS,
    Place,
    as_cli_lines,
    as_json,
    bucket_policy,
    is_amazon,
    key_statement,
)
from tailrace.notify.letter import Code, Heading, Letter, Paragraph, Part
from tailrace.notify.to_add import ToAdd
from tailrace.state.delivery import Cause


def set_up_letter(at: Place, new_bucket: str) -> Letter:
    """Return what is asked of whoever owns the bucket; `new_bucket` is the line that makes it."""
    parts: list[Part] = [
        Paragraph(
            f"Hello, please let {at.principal} put files into the bucket {at.bucket}, below "
            f"{at.prefix or 'its root'}. It is tailrace, which exports our events there hour by "
            "hour."
        ),
        Heading("1. The bucket"),
        Paragraph("If it does not exist yet, this line makes it:"),
        Code(new_bucket),
        Heading("2. Its policy"),
        Paragraph(_where(at)),
        Code(as_json(bucket_policy(at))),
        *_of_key(at),
        Heading("What each action is for"),
        *(Paragraph(f"{grant.action}: {grant.why}") for grant in GRANTS),
        Heading("The same with the AWS CLI"),
        Code(as_cli_lines(at)),
        *([Code(key_lines(at))] if at.kms_key else []),
    ]
    return Letter(f"Please let tailrace export to the bucket {at.bucket}", tuple(parts))


def _of_key(at: Place) -> list[Part]:
    if not at.kms_key:
        return [
            Paragraph(
                "If the bucket encrypts with a KMS key, the key's policy has to allow "
                f"{' and '.join(KEY_ACTIONS)} as well."
            )
        ]
    return [
        Heading("3. The policy of the KMS key"),
        Paragraph(f'Please add this to the policy of {at.kms_key}, in its "Statement":'),
        Code(as_json(key_statement(at))),
    ]


def mending_letter(cause: Cause, to_add: tuple[ToAdd, ...], bucket: str) -> Letter:
    """Return what is asked of whoever can mend a refused access."""
    parts: list[Part] = [
        Paragraph(
            f"Hello, tailrace, which exports our events to the bucket {bucket}, can't do so now: "
            f"{cause.title or 'access is refused'}."
        ),
        Heading("What is wrong"),
        Paragraph(cause.sentence),
        Heading("What to do"),
        Paragraph(cause.fix),
    ]
    for one in to_add:
        parts += [Paragraph(f'Add this to {one.where}, beside what is in its "Statement":')]
        parts += [Code(one.json)]
    parts.append(Paragraph("No event is lost meanwhile: what waits goes out once access is back."))
    return Letter(f"Please mend access to the bucket {bucket}", tuple(parts))


def _where(at: Place) -> str:
    if is_amazon(at.endpoint_url):
        return (
            "In the console of S3: the bucket, Permissions, Bucket policy, Edit. A bucket that has "
            "a policy keeps it: add the statements to it."
        )
    return f"In the administration of {at.endpoint_url}. A policy that is there stays: add to it."
