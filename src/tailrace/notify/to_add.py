"""The statement that a bucket's owner has to add, of exactly the actions that are missing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from tailrace.errors import BadRequest
from tailrace.export.policy import (
    KEY_ACTIONS,
    Place,
    Statement,
    as_json,
    key_statement,
    partition_of,
    place,
    statements,
)
from tailrace.state.delivery import Cause, Destination


class ToAdd(msgspec.Struct, frozen=True):
    """Statements as JSON, and the policy that they belong into, which may be a KMS key's.

    `named` says whether the principal is known, and so stands in them.
    """

    where: str
    json: str
    of_key: bool = False
    named: bool = True


def missing_actions(cause: Cause) -> tuple[str, ...]:
    """Return every action that is known to be missing."""
    single = () if cause.permission is None else (cause.permission,)
    return tuple(dict.fromkeys((*cause.missing_actions, *single)))


def to_add(destination: Destination, cause: Cause, principal_arn: str) -> tuple[ToAdd, ...]:
    """Return what to add for a cause; empty where no policy is the reason.

    Whose an access key is can't be told, so its statement names no principal: it belongs into a
    policy of that user. Likewise where `principal_arn`, the operator's, can't be used.
    """
    missing = missing_actions(cause)
    named = _place(destination, principal_arn)
    found = []
    allowed = tuple(
        _under_its_own_name(one) for one in statements(named or _nobody(destination), missing)
    )
    if allowed and named is not None:
        found.append(ToAdd(f"the policy of the bucket {destination.bucket}", _listed(allowed)))
    elif allowed:
        without = _listed(_without_principal(one) for one in allowed)
        found.append(ToAdd(f"a policy of {_who(destination)}", without, named=False))
    if named is not None and set(KEY_ACTIONS) & set(missing):
        key = destination.kms_key_arn
        where = "the bucket's KMS key" if key is None else f"the KMS key {key}"
        found.append(ToAdd(f"the policy of {where}", as_json(key_statement(named)), of_key=True))
    return tuple(found)


def _place(destination: Destination, principal_arn: str) -> Place | None:
    principal = destination.role_arn
    if principal is None and destination.access_key_id is None:
        principal = principal_arn
    if not principal:
        return None
    try:
        return place(
            bucket=destination.bucket,
            prefix=destination.prefix,
            region=destination.region,
            endpoint_url=destination.endpoint_url,
            principal=principal,
        )
    except BadRequest:
        # Such as a setting that names no ARN; the actions are named all the same.
        return None


def _nobody(destination: Destination) -> Place:
    return Place(
        bucket=destination.bucket,
        prefix=destination.prefix,
        region=destination.region,
        endpoint_url=destination.endpoint_url,
        principal="",
        partition=partition_of(destination.region, destination.endpoint_url),
    )


def _under_its_own_name(one: Statement) -> Statement:
    """Return a statement whose Sid says what it adds.

    A policy that lacks some actions has the others under the Sid of the whole policy, and S3 takes
    no Sid twice.
    """
    actions = "".join(action.partition(":")[2] for action in one.action)
    return msgspec.structs.replace(one, sid=one.sid + actions)


def _listed(members: Iterable[object]) -> str:
    """Return JSON to paste into the list of a policy's statements: members without brackets."""
    shown = (msgspec.json.format(msgspec.json.encode(one), indent=2) for one in members)
    return ",\n".join(one.decode() for one in shown) + "\n"


def _without_principal(one: Statement) -> dict[str, Any]:
    made: dict[str, Any] = msgspec.to_builtins(one)
    del made["Principal"]
    return made


def _who(destination: Destination) -> str:
    if destination.access_key_id is not None:
        return f"the user whose access key is {destination.access_key_id}"
    return "the role or user that tailrace runs as"
