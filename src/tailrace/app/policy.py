"""The bucket policy of a destination, or of one that is still to be added.

Called by `tailrace policy`, and by the pages that show one.
"""

from __future__ import annotations

from collections.abc import Callable

from tailrace.app.destinations import with_last_slash
from tailrace.errors import BadRequest
from tailrace.export.bucket_names import check_bucket_name, check_region
from tailrace.export.encryption import check_kms_key
from tailrace.export.endpoints import check_endpoint
from tailrace.export.policy import Place, check_principal, is_amazon, partition_of, place
from tailrace.seal.names import check_prefix
from tailrace.settings import Settings
from tailrace.state.delivery import Destination
from tailrace.state.drafts import Choices

# What stands in a policy for what is not known yet; nothing that is real looks like it.
BLANK_BUCKET = "YOUR-BUCKET"
BLANK_PRINCIPAL = "ARN-OF-THE-ROLE-OR-USER"
BLANK_KEY = "ARN-OF-THE-KMS-KEY"
BLANKS = (BLANK_BUCKET, BLANK_PRINCIPAL, BLANK_KEY)


def place_for(
    settings: Settings,
    *,
    bucket: str,
    region: str | None,
    prefix: str = "",
    endpoint_url: str | None = None,
    principal: str | None = None,
    kms_key: str | None = None,
) -> Place:
    """Return what a policy is made of, for a bucket that no destination needs to name yet.

    A prefix gets its last slash; without a principal it is the operator's. Raise `BadRequest` that
    names the field and its rule.
    """
    if endpoint_url is not None:
        endpoint_url = check_endpoint(
            endpoint_url, private_allowed=settings.export.private_endpoints
        )
    if kms_key is not None:
        check_kms_key(kms_key, region, endpoint_url)
    return place(
        bucket=bucket,
        prefix=check_prefix(with_last_slash(prefix)),
        region=region,
        endpoint_url=endpoint_url,
        principal=principal or _operators(settings),
        kms_key=kms_key,
    )


def place_of(settings: Settings, destination: Destination, principal: str | None = None) -> Place:
    """Return what a stored destination's policy is made of.

    Without a principal it is the destination's role, or else the operator's. Whose an access key
    is can't be told, so such a destination needs one: raise `BadRequest`.
    """
    if principal is None:
        principal = destination.role_arn
    if principal is None and destination.access_key_id is not None:
        raise BadRequest(
            f"Cannot make the policy of destination {destination.id}: it has the access key "
            f"{destination.access_key_id}, and whose that is can't be told. Give the ARN of the "
            "user with --principal."
        )
    return place(
        bucket=destination.bucket,
        prefix=destination.prefix,
        region=destination.region,
        endpoint_url=destination.endpoint_url,
        principal=principal or _operators(settings),
        kms_key=destination.kms_key_arn,
    )


def _operators(settings: Settings) -> str:
    if not settings.aws.principal_arn:
        raise BadRequest(
            "Cannot make the policy: whom it lets in is not known. Give the ARN with --principal, "
            "or set aws.principal_arn to the role or user that tailrace runs as."
        )
    return settings.aws.principal_arn


def place_typed(settings: Settings, choices: Choices) -> Place:
    """Return what a policy is made of while it is still being typed.

    What is missing, or can't be right, is one of `BLANKS`, or left out.
    """
    endpoint_url = choices.endpoint_url or None
    region = _or_none(lambda: check_region(choices.region, endpoint_url))
    partition = partition_of(region, endpoint_url)
    principal = _or_none(
        lambda: check_principal(
            principal_typed(settings, choices), partition, ours=is_amazon(endpoint_url)
        )
    )
    return Place(
        bucket=_or_none(lambda: check_bucket_name(choices.bucket)) or BLANK_BUCKET,
        prefix=_or_none(lambda: check_prefix(with_last_slash(choices.prefix))) or "",
        region=region,
        endpoint_url=endpoint_url,
        principal=principal or BLANK_PRINCIPAL,
        partition=partition,
        kms_key=_key_typed(choices, region),
    )


def _key_typed(choices: Choices, region: str | None) -> str:
    endpoint_url = choices.endpoint_url or None
    if choices.encryption != "aws:kms" or not is_amazon(endpoint_url):
        return ""
    checked = _or_none(lambda: check_kms_key(choices.kms_key_arn, region, endpoint_url))
    return checked or BLANK_KEY


def principal_typed(settings: Settings, choices: Choices) -> str:
    """Return whom the policy is to let in; empty where that is not known."""
    if choices.access == "role":
        return choices.role_arn
    if choices.access == "operator" and not choices.principal:
        return settings.aws.principal_arn
    return choices.principal


def _or_none(checked: Callable[[], str]) -> str | None:
    try:
        return checked()
    except BadRequest:
        return None
