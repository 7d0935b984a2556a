"""View values of what is to be mended: in words, and as a policy in which what is new stands out.

The wizard and the failure page both show them.
"""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import quote

import msgspec

from tailrace.errors import BadRequest
from tailrace.export.answers import KMS_DENIED, REGION, TABLE
from tailrace.export.bucket_names import check_region
from tailrace.export.policy import Place, as_json, bucket_policy, is_amazon
from tailrace.export.verify import Verification
from tailrace.notify.admin_letters import mending_letter
from tailrace.notify.letter import Letter, as_text
from tailrace.notify.to_add import ToAdd, missing_actions, to_add
from tailrace.state.delivery import Cause, Destination
from tailrace.web.policy_pieces import Pieces, with_added

# What mail programs take in a link; a longer text is only copied.
LINK_CHARACTERS_MAX = 8000


class ToSend(msgspec.Struct, frozen=True):
    """A text to send to somebody else; `link` opens a mail program, if the text fits into one."""

    subject: str
    text: str
    link: str


class Fix(msgspec.Struct, frozen=True):
    """What is wrong and how it is mended.

    `policy` is the whole policy where a part of it is missing and whom it lets in is known, and
    `to_add` are statements of the rest, such as for a key. `region` is where the bucket lies, if
    that is all that is wrong.
    """

    title: str
    sentence: str
    steps: tuple[str, ...]
    missing: tuple[str, ...]
    policy: Pieces
    to_add: tuple[ToAdd, ...]
    letter: ToSend
    region: str


def fix(
    destination: Destination,
    cause: Cause,
    place: Place | None,
    principal_arn: str,
    region: str | None = None,
) -> Fix:
    """Return how a cause is mended. `place` is whom a policy lets in where, None if not known.

    `region` is what the store says of the bucket.
    """
    missing = missing_actions(cause)
    of_bucket = any(one.startswith("s3:") for one in missing)
    added = to_add(destination, cause, principal_arn)
    lies_in = _region(destination, cause, region)
    return Fix(
        title=cause.title or "tailrace can't use this bucket",
        sentence=cause.sentence,
        steps=_steps(destination, cause, missing, lies_in),
        missing=missing,
        policy=_policy(place, missing) if place is not None and of_bucket else (),
        to_add=tuple(one for one in added if one.of_key) if place and of_bucket else added,
        letter=to_send(mending_letter(cause, added, destination.bucket)),
        region=lies_in,
    )


def fix_of(
    destination: Destination, found: Verification, place: Place | None, principal_arn: str
) -> Fix | None:
    """Return how to mend what checks found; None if there is nothing to."""
    cause = found.cause
    if cause is None:
        return None
    return fix(destination, cause, place, principal_arn, found.region)


def to_send(letter: Letter) -> ToSend:
    """Return a letter as a text, and as a link that opens a mail program with it."""
    text = as_text(letter)
    link = f"mailto:?subject={quote(letter.subject)}&body={quote(text)}"
    return ToSend(letter.subject, text, link if len(link) <= LINK_CHARACTERS_MAX else "")


def _steps(
    destination: Destination, cause: Cause, missing: Collection[str], region: str
) -> tuple[str, ...]:
    if region:
        return (
            f"Take {region} as the bucket's region: the button here does it, and checks again.",
        )
    if cause.kind == "conflict":
        return (
            "Move the object away, or leave it and start a manual export of its hour with "
            "Overwrite previously exported data.",
            "Try it now here: what met other content is put once more.",
        )
    if TABLE.get(cause.code) is REGION or cause.code == "WrongRegion":
        return ("Check again here: the region in which the bucket lies is then offered.",)
    of_key = tuple(one for one in missing if one.startswith("kms:"))
    of_bucket = tuple(one for one in missing if one not in of_key)
    in_console = is_amazon(destination.endpoint_url)
    steps: list[str] = []
    if in_console and of_bucket:
        where = f"the bucket {destination.bucket}, Permissions, Bucket policy, Edit"
        steps.append(f"Open the console of S3: {where}.")
    if len(missing) > 1 and of_bucket:
        listed = ", ".join(of_bucket)
        steps.append(f"Add {listed} to the policy of the bucket, without a Deny against them.")
    if in_console and of_key:
        key = destination.kms_key_arn or "the key of the bucket's encryption"
        steps.append(f"Open the console of KMS: {key}, Key policy, Edit.")
    if len(missing) > 1 and of_key:
        steps.append(KMS_DENIED.fix)
    if len(missing) < 2:
        steps.append(cause.fix)
    return (*steps, "Check again here; what waits goes out at once.")


def _policy(place: Place, missing: Collection[str]) -> Pieces:
    return with_added(as_json(bucket_policy(place)), missing)


def _region(destination: Destination, cause: Cause, region: str | None) -> str:
    if cause.code != "WrongRegion" or region is None:
        return ""
    try:
        return check_region(region, destination.endpoint_url)
    except BadRequest:
        return ""
