"""The table from S3's answers to causes; answers that no local server gives are written out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from botocore import exceptions
from botocore.exceptions import ClientError

from tailrace.errors import Corrupt, NeedsOperator
from tailrace.export.answers import ACTIONS, TABLE, TEMPORARY, Row
from tailrace.export.bucket import Contended
from tailrace.export.diagnose import diagnose
from tailrace.export.objects import ObjectConflict
from tailrace.export.probe import KeepsNothing
from tailrace.state.delivery import Destination
from tests.export.answered import answer


@pytest.mark.parametrize(("call", "action"), ACTIONS.items())
def test_a_refusal_names_the_action_that_the_call_needs(
    acme: Destination, call: str, action: str
) -> None:
    cause = diagnose(answer("AccessDenied", 403, call), acme, "exports/x")
    assert (cause.kind, cause.permission, cause.code) == ("access", action, "AccessDenied")
    assert (cause.status, cause.request_id, cause.call) == (403, "R1", call)


def test_a_sentence_says_what_failed_where_why_and_what_to_do(acme: Destination) -> None:
    cause = diagnose(answer("AccessDenied", 403), acme, "exports/x")
    assert cause.sentence == (
        "Cannot write to s3://acme/exports/x: the store answered 403 AccessDenied to PutObject, "
        "PutObject was refused."
    )
    assert cause.fix.startswith("Add s3:PutObject to the policy of the bucket")


def test_the_action_in_a_message_of_the_same_organization_wins(acme: Destination) -> None:
    message = (
        "User: arn:aws:iam::1:user/x is not authorized to perform: s3:PutObjectTagging on "
        'resource: "arn:aws:s3:::acme/x" because no resource-based policy allows it'
    )
    assert diagnose(answer("AccessDenied", 403, message=message), acme).permission == (
        "s3:PutObjectTagging"
    )


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("403", 403, "access"),
        ("NoSuchBucket", 404, "access"),
        ("AllAccessDisabled", 403, "access"),
        ("AccountProblem", 403, "access"),
        ("PermanentRedirect", 301, "access"),
        ("301", 301, "access"),
        ("AuthorizationHeaderMalformed", 400, "access"),
        ("IllegalLocationConstraintException", 400, "access"),
        ("KMS.DisabledException", 400, "access"),
        ("KMS.NotFoundException", 400, "access"),
        ("KMS.KMSInvalidStateException", 400, "access"),
        ("SomeNewDenial", 403, "access"),
        ("UserSuspended", 403, "access"),
        ("NotSignedUp", 403, "access"),
        ("InvalidSecurity", 403, "operator"),
        ("InvalidAccessKeyId", 403, "operator"),
        ("SignatureDoesNotMatch", 403, "operator"),
        ("ExpiredToken", 400, "operator"),
        ("RequestTimeTooSkewed", 403, "operator"),
        ("RequestExpired", 400, "operator"),
        ("QuotaExceeded", 403, "access"),
        ("XMinioAdminBucketQuotaExceeded", 400, "access"),
        ("Unauthorized", 401, "operator"),
        ("401", 401, "operator"),
        ("KMS.ThrottlingException", 400, "temporary"),
        ("InvalidBucketName", 400, "operator"),
        ("MethodNotAllowed", 405, "operator"),
        ("BadDigest", 400, "operator"),
        ("SlowDown", 503, "temporary"),
        ("InternalError", 500, "temporary"),
        ("InternalError", 200, "temporary"),
        ("RequestTimeout", 400, "temporary"),
        ("ServiceUnavailable", 503, "temporary"),
        ("SomethingNew", 502, "temporary"),
        ("TooManyRequests", 429, "temporary"),
        ("SomethingNew", 418, "unknown"),
    ],
)
def test_every_answer_has_its_kind(acme: Destination, code: str, status: int, kind: str) -> None:
    cause = diagnose(answer(code, status), acme, "exports/x")
    assert cause.kind == kind
    assert cause.status == status
    assert cause.sentence.endswith(".")
    assert cause.fix


def test_no_row_of_the_table_leaves_a_place_unfilled(acme: Destination) -> None:
    for code in TABLE:
        for call in ACTIONS:
            cause = diagnose(answer(code, 400, call), acme, "exports/x")
            assert "{" not in cause.sentence + cause.fix


def test_a_wrong_region_is_told_with_the_right_one(acme: Destination) -> None:
    error = answer("AuthorizationHeaderMalformed", 400, Region="us-west-2")
    assert "us-west-2" in diagnose(error, acme).sentence


@pytest.mark.parametrize(
    ("call", "action"), [("PutObject", "kms:GenerateDataKey"), ("UploadPart", "kms:Decrypt")]
)
def test_a_denied_key_names_the_right_on_the_key(acme: Destination, call: str, action: str) -> None:
    error = answer("AccessDenied", 403, call, "User is not allowed to use the KMS key")
    cause = diagnose(error, acme, "exports/x")
    assert (cause.kind, cause.permission) == ("access", action)
    assert "policy of the key" in cause.fix


def test_a_role_that_may_not_be_assumed_is_the_customers_to_mend(acme: Destination) -> None:
    cause = diagnose(answer("AccessDenied", 403, "AssumeRole"), acme)
    assert (cause.kind, cause.permission) == ("access", "sts:AssumeRole")
    assert "external ID" in cause.fix


@pytest.mark.parametrize(
    ("code", "status"), [("InvalidAccessKeyId", 403), ("Unauthorized", 401), ("401", 401)]
)
def test_a_refused_key_of_the_destination_is_not_the_operators_fault(
    acme: Destination, code: str, status: int
) -> None:
    own = msgspec.structs.replace(acme, access_key_id="AK1")
    cause = diagnose(answer(code, status), own)
    assert (cause.kind, cause.permission) == ("access", None)
    assert "access key" in cause.fix


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (exceptions.EndpointConnectionError(endpoint_url="https://x"), "temporary"),
        (exceptions.ConnectTimeoutError(endpoint_url="https://x"), "temporary"),
        (exceptions.ReadTimeoutError(endpoint_url="https://x"), "temporary"),
        (exceptions.ConnectionClosedError(endpoint_url="https://x"), "temporary"),
        (exceptions.HTTPClientError(error=ValueError("x")), "temporary"),
        (Contended("Busy."), "temporary"),
        (exceptions.SSLError(endpoint_url="https://x", error=ValueError("x")), "operator"),
        (exceptions.NoCredentialsError(), "operator"),
        (exceptions.ProxyConnectionError(proxy_url="http://p"), "operator"),
        (FileNotFoundError(2, "No such file", "x"), "operator"),
        (Corrupt("Damaged."), "operator"),
        (NeedsOperator("Wrong."), "operator"),
        (RuntimeError("a defect"), "unknown"),
    ],
)
def test_what_never_reached_the_store_blames_no_customer(
    acme: Destination, error: Exception, kind: str
) -> None:
    cause = diagnose(error, acme, "exports/x")
    assert cause.kind == kind
    assert cause.permission is None


def test_a_conflict_names_its_object(acme: Destination) -> None:
    cause = diagnose(ObjectConflict("acme", "exports/x", "3 bytes"), acme)
    assert (cause.kind, cause.key) == ("conflict", "exports/x")
    assert "s3://acme/exports/x" in cause.sentence


def wordless(region: str | None) -> ClientError:
    headers = {} if region is None else {"x-amz-bucket-region": region}
    meta: Any = {"HTTPStatusCode": 400, "HTTPHeaders": headers}
    return ClientError({"Error": {"Code": "400"}, "ResponseMetadata": meta}, "HeadObject")


def test_a_head_signed_for_another_region_is_a_wrong_region(acme: Destination) -> None:
    cause = diagnose(wordless("eu-central-1"), acme, "exports/x")
    assert cause.kind == "access"
    assert "another region, eu-central-1" in cause.sentence


@pytest.mark.parametrize("region", [None, "eu-west-1"])
def test_a_head_refused_without_words_blames_no_region(
    acme: Destination, region: str | None
) -> None:
    cause = diagnose(wordless(region), acme, "exports/x")
    assert cause.kind == "unknown"
    assert "no body" in cause.sentence


def test_a_refused_look_names_listing_too_since_absence_is_refused_without_it(
    acme: Destination,
) -> None:
    cause = diagnose(answer("403", 403, "HeadObject"), acme, "exports/x")
    assert cause.permission == "s3:GetObject"
    assert "s3:GetObject and s3:ListBucket" in cause.fix


def test_what_is_wrong_with_the_archives_file_is_not_blamed_on_the_network(
    acme: Destination,
) -> None:
    wrapped = exceptions.HTTPClientError(error=NeedsOperator("The disk is broken."))
    cause = diagnose(wrapped, acme, "exports/x")
    assert (cause.kind, cause.sentence) == ("operator", "The disk is broken.")


def test_an_answer_that_lacks_something_is_told_in_a_sentence(acme: Destination) -> None:
    cause = diagnose(KeyError("UploadId"), acme, "exports/x")
    assert cause.sentence == "Cannot work on s3://acme/exports/x: KeyError 'UploadId'."


def test_a_full_bucket_is_the_owners_matter_and_no_missing_permission(acme: Destination) -> None:
    for code, status in (("QuotaExceeded", 403), ("XMinioAdminBucketQuotaExceeded", 400)):
        cause = diagnose(answer(code, status), acme, "exports/x")
        assert (cause.kind, cause.permission) == ("access", None)
        assert "quota" in cause.fix


def test_a_deny_on_purpose_is_told_from_a_missing_allow(acme: Destination) -> None:
    message = (
        "User: arn:aws:iam::1:user/x is not authorized to perform: s3:PutObject on resource: "
        '"arn:aws:s3:::acme/x" with an explicit deny in a resource-based policy'
    )
    cause = diagnose(answer("AccessDenied", 403, message=message), acme, "exports/x")
    assert (cause.kind, cause.permission) == ("access", "s3:PutObject")
    assert "Take the Deny against s3:PutObject out" in cause.fix
    # A bucket that demands an encryption is made with a Deny.
    assert "which asked for no encryption." in cause.sentence
    assert "If it demands an encryption, choose that one" in cause.fix
    key = {"encryption": "aws:kms", "kms_key_arn": "arn:aws:kms:eu-west-1:1:key/2"}
    other = msgspec.structs.replace(acme, **key)
    cause = diagnose(answer("AccessDenied", 403, message=message), other, "exports/x")
    assert "asked for SSE-KMS with arn:aws:kms:eu-west-1:1:key/2." in cause.sentence
    reading = diagnose(answer("AccessDenied", 403, "GetObject", message), acme, "exports/x")
    assert "encryption" not in reading.sentence + reading.fix


def test_a_refused_put_without_words_may_be_a_demand_for_encryption(acme: Destination) -> None:
    demand = "If a Deny there demands an encryption, choose that one for the destination."
    for call in ("PutObject", "CreateMultipartUpload"):
        assert diagnose(answer("AccessDenied", 403, call), acme).fix.endswith(demand)
    named = (
        "User: arn:aws:iam::1:user/x is not authorized to perform: s3:PutObject on resource: "
        '"arn:aws:s3:::acme/x" because no resource-based policy allows the s3:PutObject action'
    )
    reading = answer("AccessDenied", 403, "GetObject")
    for other in (answer("AccessDenied", 403, message=named), reading):
        cause = diagnose(other, acme)
        assert cause.permission is not None
        assert "encryption" not in cause.fix


@pytest.mark.parametrize(
    ("code", "status", "message"),
    [
        ("NotImplemented", 501, "Server side encryption specified but KMS is not configured"),
        ("InvalidArgument", 400, "Server Side Encryption with KMS managed key requires a key"),
        ("InvalidEncryptionAlgorithmError", 400, "The encryption request is not valid."),
        ("InvalidRequest", 400, ""),
    ],
)
def test_a_store_that_can_not_encrypt_so_is_told_from_a_wrong_request(
    acme: Destination, code: str, status: int, message: str
) -> None:
    asking = msgspec.structs.replace(acme, encryption="aws:kms", kms_key_arn="acme")
    cause = diagnose(answer(code, status, message=message), asking, "exports/x")
    assert (cause.kind, cause.permission) == ("access", None)
    said = f": {message.rstrip('.')}" if message else ""
    assert f"does not encrypt with SSE-KMS with acme{said}." in cause.sentence
    if code != "InvalidEncryptionAlgorithmError":
        # A request that asks for none is refused for something else.
        assert "does not encrypt" not in diagnose(answer(code, status, message=message), acme).title


@pytest.mark.parametrize("call", ["PutObject", "CreateMultipartUpload"])
@pytest.mark.parametrize("code", sorted(code for code, row in TABLE.items() if row is TEMPORARY))
def test_a_key_service_that_is_asked_too_often_is_no_refusal(
    acme: Destination, code: str, call: str
) -> None:
    asking = msgspec.structs.replace(acme, encryption="aws:kms", kms_key_arn="acme")
    said = (
        "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls."
    )
    cause = diagnose(answer(code, 400, call, said), asking, "exports/x")
    assert (cause.kind, cause.permission) == ("temporary", None)
    assert "the store is busy or out of order" in cause.sentence


@pytest.mark.parametrize(
    ("ours", "said"),
    [("20260102T032000Z", "20 minutes ahead of"), ("20260102T024500Z", "15 minutes behind")],
)
def test_a_wrong_clock_is_the_operators_also_with_the_destinations_key(
    acme: Destination, ours: str, said: str
) -> None:
    own = msgspec.structs.replace(acme, access_key_id="AK1")
    times = {"RequestTime": ours, "ServerTime": "2026-01-02T03:00:00Z"}
    cause = diagnose(answer("RequestTimeTooSkewed", 403, **times), own)
    assert cause.kind == "operator"
    assert f"the clock of tailrace's machine is wrong, {said} the store's." in cause.sentence


@pytest.mark.parametrize("times", [{}, {"RequestTime": "soon", "ServerTime": "later"}])
def test_a_wrong_clock_is_told_without_times_too(acme: Destination, times: dict[str, str]) -> None:
    cause = diagnose(answer("RequestTimeTooSkewed", 403, **times), acme)
    assert cause.sentence.endswith("the clock of tailrace's machine is wrong.")


def test_a_signature_that_is_out_of_time_is_no_wrong_secret(acme: Destination) -> None:
    message = "Signature expired: 20260102T030000Z is now earlier than 20260102T031500Z"
    cause = diagnose(answer("SignatureDoesNotMatch", 403, "AssumeRole", message), acme)
    assert cause.kind == "operator"
    assert "clock" in cause.sentence


def test_an_unknown_answer_keeps_what_the_store_said_and_all_evidence(acme: Destination) -> None:
    error = answer("NewCode", 418, "UploadPart", "I am a\n teapot. " + "x" * 500)
    cause = diagnose(error, acme, "exports/x")
    assert cause.kind == "unknown"
    assert (cause.call, cause.key, cause.status, cause.code, cause.request_id) == (
        *("UploadPart", "exports/x", 418, "NewCode", "R1"),
    )
    assert "does not know: I am a teapot. xxx" in cause.sentence
    assert len(cause.sentence) < 500


def test_what_the_store_tells_of_itself_is_kept(acme: Destination) -> None:
    error = answer("AccessDenied", 403)
    error.response["ResponseMetadata"]["HostId"] = "H1="
    error.response["ResponseMetadata"]["HTTPHeaders"] = {"x-amz-bucket-region": "eu-west-1"}
    cause = diagnose(error, acme, "exports/x")
    assert cause.evidence == (
        ("Call", "PutObject"),
        ("Object", "exports/x"),
        ("Answer", "403 AccessDenied"),
        ("Request ID", "R1"),
        ("Host ID", "H1="),
        ("Region", "eu-west-1"),
    )


def test_a_bucket_that_demands_a_header_is_told_from_a_wrong_request(acme: Destination) -> None:
    message = (
        "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with "
        "Object Lock parameters"
    )
    cause = diagnose(answer("InvalidRequest", 400, message=message), acme, "exports/x")
    assert cause.kind == "access"
    assert "demands a header" in cause.title
    assert "Object Lock parameters" in cause.sentence
    assert diagnose(answer("InvalidRequest", 400), acme, "exports/x").kind == "unknown"


def test_a_store_that_keeps_nothing_is_the_owners_matter(acme: Destination) -> None:
    cause = diagnose(KeepsNothing("It keeps nothing."), acme, "exports/x")
    assert (cause.kind, cause.permission) == ("access", None)


@pytest.mark.parametrize(
    ("region", "fix"),
    [
        ("us-west-2", 'Run "tailrace verify 1 --region us-west-2".'),
        ("us-west-2; rm -r x", "Set the destination's region to that of the bucket."),
    ],
)
def test_only_a_region_that_can_be_goes_into_a_command(
    acme: Destination, region: str, fix: str
) -> None:
    error = answer("AuthorizationHeaderMalformed", 400, Region=region)
    assert diagnose(error, acme).fix == fix


WHO = {"access": "owner", "operator": "operator", "temporary": "nobody"}


def documented_rows() -> list[str]:
    """Return the table of the page on destinations, as the code has it."""
    rows: dict[Row, list[str]] = {}
    for code, row in TABLE.items():
        rows.setdefault(row, []).append(code)
    named = {
        "call": "the call",
        "permission": "the action",
        "region": ", REGION",
        "skew": "",
        "message": "",
        "encryption": "the encryption that was asked for",
        "take_region": "`tailrace verify NUMBER --region REGION`",
    }
    return [
        f"| {', '.join(f'`{code}`' for code in codes)} | {row.why.format(**named)} "
        f"| {WHO[row.kind]} | {row.fix.format(**named)} |"
        for row, codes in rows.items()
        if row.kind != "unknown"
    ]


def test_the_page_on_destinations_has_the_whole_table() -> None:
    page = (Path(__file__).parents[2] / "docs" / "destinations.md").read_text()
    assert "\n".join(documented_rows()) in page
