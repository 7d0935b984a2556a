"""Refusals that are of no permission, or of one under another code: what is named, what is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tailrace.export.answers import ACTIONS
from tailrace.export.client import Clients
from tailrace.export.diagnose import diagnose
from tailrace.export.verify import Verification, verify
from tailrace.state.delivery import Destination
from tests.export.answered import answer

ERROR = b"<?xml version='1.0'?><Error><Code>%s</Code><Message>m</Message></Error>"
SUSPENDED = ("UserSuspended", "AccountSuspended", "AccountProblem", "AllAccessDisabled")


@pytest.mark.parametrize("code", [*SUSPENDED, "NotSignedUp", "UserDisable"])
@pytest.mark.parametrize("call", ["ListObjectsV2", "PutObject", "HeadObject"])
@pytest.mark.parametrize("own_key", ["AK1", None])
def test_a_suspended_account_is_the_owners_matter_and_no_missing_permission(
    acme: Destination, code: str, call: str, own_key: str | None
) -> None:
    theirs = msgspec.structs.replace(acme, access_key_id=own_key)
    cause = diagnose(answer(code, 403, call, "Not paid."), theirs, "exports/x")
    assert (cause.kind, cause.permission) == ("access", None)
    assert "account is suspended" in cause.sentence
    assert cause.sentence.endswith(": Not paid.")
    assert "policy" not in cause.fix


@pytest.mark.parametrize("code", ["InvalidObjectState", "InvalidTokenId", "AccessForbidden", "403"])
@pytest.mark.parametrize("call", ["ListObjectsV2", "PutObject", "GetObject", "AssumeRole"])
def test_a_403_that_is_not_known_names_no_permission_and_keeps_its_evidence(
    acme: Destination, code: str, call: str
) -> None:
    error = answer(code, 403, call, "Its own words.")
    cause = diagnose(error, acme, "exports/x")
    # A refusal that lasts is told to the owner of the bucket, and tried again all the same.
    assert (cause.kind, cause.permission, cause.missing_actions) == ("access", None, ())
    shown = "Forbidden" if code == "403" else code
    assert (cause.call, cause.key, cause.status, cause.code, cause.request_id) == (
        *(call, "exports/x", 403, shown, "R1"),
    )
    assert cause.sentence.endswith(
        f"403 {shown} to {call}, which says nothing of permissions that "
        "tailrace knows: Its own words."
    )
    assert "policy" not in cause.fix


@pytest.mark.parametrize("call", ["HeadBucket", "HeadObject"])
def test_a_403_to_head_is_a_missing_permission_for_it_has_no_other_words(
    acme: Destination, call: str
) -> None:
    cause = diagnose(answer("403", 403, call, "Forbidden"), acme, "exports/x")
    assert (cause.code, cause.permission) == ("AccessDenied", ACTIONS[call])


def test_words_that_name_an_action_are_a_missing_permission_under_any_code(
    acme: Destination,
) -> None:
    message = "User x is not authorized to perform: s3:PutObject on acme/x with an explicit deny"
    cause = diagnose(answer("UnauthorizedAccess", 403, message=message), acme, "exports/x")
    assert (cause.kind, cause.permission) == ("access", "s3:PutObject")
    assert "Take the Deny against s3:PutObject out" in cause.fix


def outcomes(found: Verification) -> dict[str, str]:
    return {step.call: step.outcome for step in found.steps}


def refuse_all(proxy: Any, code: bytes) -> None:
    """Refuse each probe with 403 and the code, or without a body where there can be none."""
    proxy.add("HEAD", "", answer=(403, b""))
    for method, holds in (
        ("GET", "list-type"),
        ("PUT", "access-check"),
        ("POST", "uploads"),
    ):
        proxy.add(method, holds, answer=(403, ERROR % code))


@pytest.mark.parametrize(
    ("code", "outcome", "tried"),
    [
        (b"UserSuspended", "settings", {"HeadBucket", "ListObjectsV2"}),
        (
            b"SomethingNew",
            "refused",
            {"HeadBucket", "ListObjectsV2", "PutObject", "CreateMultipartUpload"},
        ),
    ],
)
def test_a_refusal_that_is_not_of_permissions_names_none_as_missing(
    make_destination: Callable[..., Destination],
    bucket: str,
    proxy: Any,
    clients: Clients,
    code: bytes,
    outcome: str,
    tried: set[str],
) -> None:
    refuse_all(proxy, code)

    found = verify(make_destination(bucket, endpoint_url=proxy.url), clients)

    assert not found.passed
    assert found.missing_actions == ()
    assert {call for call, how in outcomes(found).items() if how == outcome} == tried
    assert {how for call, how in outcomes(found).items() if call not in tried} == {"not tried"}
    assert found.cause is not None
    assert (found.cause.kind, found.cause.code) == ("access", code.decode())


def test_one_call_that_is_refused_for_its_own_reason_leaves_the_others_tried(
    make_destination: Callable[..., Destination], bucket: str, proxy: Any, clients: Clients
) -> None:
    proxy.add("GET", "access-check", answer=(403, ERROR % b"InvalidObjectState"))

    found = verify(make_destination(bucket, endpoint_url=proxy.url), clients)

    assert [call for call, how in outcomes(found).items() if how != "ok"] == ["GetObject"]
    assert outcomes(found)["GetObject"] == "refused"
    assert found.missing_actions == ()
