"""What S3's answers mean: one table from code to kind, permission, sentence and fix.

Wizard, failure page, mail, command line and docs print from this table.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import msgspec
from botocore import exceptions
from botocore.exceptions import BotoCoreError, ClientError

from tailrace.errors import (
    BadRequest,
    Corrupt,
    NeedsCustomer,
    NeedsOperator,
    TailraceError,
    Transient,
)
from tailrace.export.bucket_names import check_region
from tailrace.export.client import DEFAULT_REGION
from tailrace.export.objects import ObjectConflict, code_of, status_of
from tailrace.state.delivery import Cause, CauseKind, Destination

# Which action of a policy each call needs.
ACTIONS = {
    "HeadBucket": "s3:ListBucket",
    "ListObjectsV2": "s3:ListBucket",
    "HeadObject": "s3:GetObject",
    "GetObject": "s3:GetObject",
    "PutObject": "s3:PutObject",
    "CreateMultipartUpload": "s3:PutObject",
    "UploadPart": "s3:PutObject",
    "CompleteMultipartUpload": "s3:PutObject",
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
    "DeleteObject": "s3:DeleteObject",
    "AssumeRole": "sts:AssumeRole",
}


class Row(msgspec.Struct, frozen=True):
    """What one answer means. `why` ends the sentence; `fix` is a sentence for whoever can act."""

    kind: CauseKind
    why: str
    fix: str


DENIED = Row(
    "access",
    "{call} was refused",
    "Add {permission} to the policy of the bucket, without a Deny against it.",
)
_DENIED_ON_PURPOSE = Row(
    "access",
    "a Deny of a policy refuses {call}",
    "Take the Deny against {permission} out of the policy, or except tailrace's principal from it.",
)
TEMPORARY = Row("temporary", "the store is busy or out of order", "Nothing: it is tried again.")
UNKNOWN = Row(
    "unknown",
    "the store gave an answer that tailrace does not know{message}",
    "Look the code up in the store's manual; it is tried again meanwhile.",
)
_WORDLESS = Row(
    "unknown",
    "which has no body that could say why",
    "Verify the destination: its probes ask in ways that are answered with words.",
)
# An absent object is refused, not missing, to those who may not list the bucket.
_LOOK_DENIED = Row(
    "access",
    "{call} was refused",
    "Add {permission} and s3:ListBucket to the policy of the bucket, without a Deny against them.",
)
_NO_BUCKET = Row(
    "access", "there is no such bucket", "Create the bucket again, or correct its name."
)
_REGION = Row(
    "access",
    "the bucket lies in another region{region}",
    "{take_region}",
)
_FULL = Row(
    "access",
    "the store has no room left for the bucket",
    "Raise the quota of the bucket or its owner, or remove objects from it.",
)
_ACCOUNT = Row(
    "access",
    "the account that owns the bucket is blocked",
    "Ask the owner of the bucket to settle it with the store's support.",
)
_KMS_STATE = Row(
    "access",
    "the bucket's encryption key is disabled, deleted or unusable",
    "Enable the key, or choose another one for the bucket.",
)
_KMS_DENIED = Row(
    "access",
    "the bucket's encryption key may not be used",
    "Add kms:GenerateDataKey and kms:Decrypt to the policy of the key.",
)
_ROLE = Row(
    "access",
    "the role may not be assumed",
    "Let the role trust tailrace's principal, with this destination's external ID.",
)
_OUR_KEY = Row(
    "operator",
    "tailrace's own credentials are refused",
    "Whoever runs tailrace has to renew its credentials.",
)
_THEIR_KEY = Row(
    "access",
    "the destination's access key is refused",
    "Give the destination an access key that is valid.",
)
_CLOCK = Row(
    "operator",
    "the clock of tailrace's machine is wrong{skew}",
    "Set the machine's clock; request signing follows it.",
)
_WRONG_USE = Row(
    "operator",
    "the store does not accept the request",
    "Check the destination's bucket, region and endpoint.",
)
_BYTES = Row(
    "operator",
    "the bytes that arrived are not those that were sealed",
    "Check the machine's disk and memory, and the archive's file.",
)
_CREDENTIALS = {
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidToken",
    "InvalidClientTokenId",
    "TokenRefreshRequired",
    "UnrecognizedClientException",
    "NotSignedUp",
}

TABLE: dict[str, Row] = {
    "AccessDenied": DENIED,
    "AllAccessDisabled": _ACCOUNT,
    "AccountProblem": _ACCOUNT,
    "NoSuchBucket": _NO_BUCKET,
    "PermanentRedirect": _REGION,
    "TemporaryRedirect": _REGION,
    "AuthorizationHeaderMalformed": _REGION,
    "IllegalLocationConstraintException": _REGION,
    "KMS.DisabledException": _KMS_STATE,
    "KMS.NotFoundException": _KMS_STATE,
    "KMS.KMSInvalidStateException": _KMS_STATE,
    "KMS.InvalidKeyUsageException": _KMS_STATE,
    "KMS.AccessDeniedException": _KMS_DENIED,
    "QuotaExceeded": _FULL,
    "InsufficientStorage": _FULL,
    "XMinioStorageFull": _FULL,
    "RequestTimeTooSkewed": _CLOCK,
    "RequestExpired": _CLOCK,
    "InvalidBucketName": _WRONG_USE,
    "MethodNotAllowed": _WRONG_USE,
    "NotImplemented": _WRONG_USE,
    "AccessControlListNotSupported": _WRONG_USE,
    "BadDigest": _BYTES,
    "InvalidDigest": _BYTES,
    "XAmzContentSHA256Mismatch": _BYTES,
    "XAmzContentChecksumMismatch": _BYTES,
    "SlowDown": TEMPORARY,
    "InternalError": TEMPORARY,
    "ServiceUnavailable": TEMPORARY,
    "RequestTimeout": TEMPORARY,
    "OperationAborted": TEMPORARY,
    "ConditionalRequestConflict": TEMPORARY,
    "Throttling": TEMPORARY,
    "ThrottlingException": TEMPORARY,
    "RequestLimitExceeded": TEMPORARY,
    "KMS.ThrottlingException": TEMPORARY,
    "KMS.KMSInternalException": TEMPORARY,
    "KMS.DependencyTimeoutException": TEMPORARY,
    "IncompleteBody": TEMPORARY,
    # An upload that vanished, or whose parts the store does not know, is begun anew.
    "NoSuchUpload": TEMPORARY,
    "InvalidPart": TEMPORARY,
    # HEAD with credentials that ended, among others.
    "400": _WORDLESS,
    **dict.fromkeys(sorted(_CREDENTIALS), _OUR_KEY),
}

# Under an encrypting key these calls read what was encrypted before, parts included.
_DECRYPTING = {"UploadPart", "CompleteMultipartUpload", "GetObject", "HeadObject"}

# Answers to HEAD have no body: botocore gives their status as the code.
_BODILESS = {
    "301": "PermanentRedirect",
    "307": "TemporaryRedirect",
    "403": "AccessDenied",
    "Forbidden": "AccessDenied",
}
# STS says so under the code of a wrong secret.
_OUT_OF_TIME = re.compile(r"\bSignature (expired|not yet current)\b")
# Of an answer's own words, in a sentence that is mailed.
_MESSAGE_LENGTH_MAX = 200
_NAMED_ACTION = re.compile(r"not authorized to perform: ([a-z0-9]+:[A-Za-z]+)")


def diagnose(error: Exception, destination: Destination, key: str | None = None) -> Cause:
    """Return why work on a destination failed, from whatever was raised."""
    if isinstance(error, ClientError):
        return _of_answer(error, destination, key)
    error = unwrapped(error)
    place = _place(destination, key)
    if isinstance(error, ObjectConflict):
        fix = (
            f'Move the object away, then run "tailrace verify {destination.id}"; or replace it by '
            f'a manual export of its hour: "tailrace backfill {destination.id}" with --overwrite.'
        )
        return Cause("conflict", "Conflict", error.what, fix, key=error.key)
    kind, code, fix = _of_exception(error)
    sentence = str(error)
    if isinstance(error, BotoCoreError):
        sentence = f"Cannot reach {place}: {_one_line(error)}."
    elif isinstance(error, OSError):
        # The network's errors come as botocore's, so this is the archive's disk.
        sentence = f"Cannot read the archive's file for {place}: {_one_line(error)}."
    elif not isinstance(error, TailraceError):
        sentence = f"Cannot work on {place}: {code} {_one_line(error)}."
    return Cause(kind, code, sentence, fix, key=key)


def take_region(destination: Destination, region: str | None) -> str:
    """Return how the destination takes the bucket's region; a command only for one that can be."""
    try:
        named = check_region(region or "", destination.endpoint_url)
    except BadRequest:
        return "Set the destination's region to that of the bucket."
    return f'Run "tailrace verify {destination.id} --region {named}".'


def unwrapped(error: Exception) -> Exception:
    """Return the error of ours in one of botocore's, which wraps what a body raises; or itself."""
    if isinstance(error, exceptions.HTTPClientError):
        within = error.kwargs.get("error")
        if isinstance(within, TailraceError):
            return within
    return error


def _of_answer(error: ClientError, destination: Destination, key: str | None) -> Cause:
    code, status, call = code_of(error), status_of(error), error.operation_name
    message = " ".join(str(error.response.get("Error", {}).get("Message", "")).split()).rstrip(".")
    meta: Any = error.response.get("ResponseMetadata", {})
    code = _BODILESS.get(code, code)
    if code in {"404", "NotFound"} and key is None:
        code = "NoSuchBucket"
    region = meta.get("HTTPHeaders", {}).get("x-amz-bucket-region") or error.response.get(
        "Error", {}
    ).get("Region")
    if code == "400" and region and region != (destination.region or DEFAULT_REGION):
        # HEAD, signed for another region: the header alone says so.
        code = "AuthorizationHeaderMalformed"
    row = _row(code, status, call, message, destination)
    permission = None
    if row in {DENIED, _DENIED_ON_PURPOSE, _LOOK_DENIED, _KMS_DENIED, _ROLE}:
        named = _NAMED_ACTION.search(message)
        permission = named[1] if named else ACTIONS.get(call)
        if row is _KMS_DENIED and not (named and named[1].startswith("kms:")):
            permission = "kms:Decrypt" if call in _DECRYPTING else "kms:GenerateDataKey"
    words = {
        "call": call,
        "permission": permission or "the action it needs",
        "message": f": {message[:_MESSAGE_LENGTH_MAX]}" if message else "",
        "skew": _skew(error),
        "region": f", {region}" if region else "",
        "take_region": take_region(destination, region if isinstance(region, str) else None),
    }
    sentence = (
        f"{_verb(call)} {_place(destination, key)}: the store answered {status} {code} to {call}, "
        f"{row.why.format(**words)}."
    )
    return Cause(
        kind=row.kind,
        code=code,
        sentence=sentence,
        fix=row.fix.format(**words),
        permission=permission,
        call=call,
        key=key,
        status=status or None,
        request_id=meta.get("RequestId") or None,
    )


def _skew(error: ClientError) -> str:
    """Return by how much the clock is off, as far as the answer tells."""
    told: Any = error.response.get("Error", {})
    try:
        ours = datetime.strptime(str(told.get("RequestTime")), "%Y%m%dT%H%M%S%z")
        theirs = datetime.fromisoformat(str(told.get("ServerTime")))
        minutes = round((ours - theirs).total_seconds() / 60)
    except (ValueError, TypeError):
        return ""
    return f", {abs(minutes)} minutes {'ahead of' if minutes > 0 else 'behind'} the store's"


def _row(code: str, status: int, call: str, message: str, destination: Destination) -> Row:
    if _OUT_OF_TIME.search(message):
        return _CLOCK
    if code in _CREDENTIALS and destination.access_key_id is not None:
        return _THEIR_KEY
    if code == "AccessDenied" and call == "AssumeRole":
        return _ROLE
    if code == "AccessDenied" and re.search(r"\bkms\b", message, re.IGNORECASE):
        return _KMS_DENIED
    if code == "AccessDenied" and "explicit deny" in message:
        return _DENIED_ON_PURPOSE
    if code == "AccessDenied" and call == "HeadObject":
        return _LOOK_DENIED
    known = TABLE.get(code)
    if known is not None:
        return known
    if status >= 500 or status == 429:
        return TEMPORARY
    return DENIED if status == 403 else UNKNOWN


def _of_exception(error: Exception) -> tuple[CauseKind, str, str]:
    code = type(error).__name__
    if isinstance(error, NeedsCustomer):
        return "access", code, "The owner of the bucket has to change it."
    if isinstance(error, _OPERATOR_FAULTS):
        return "operator", code, "Whoever runs tailrace has to correct it."
    # Some of botocore's errors are an OSError as well, so these come first.
    if isinstance(error, Transient | BotoCoreError):
        return "temporary", code, TEMPORARY.fix
    if isinstance(error, OSError):
        return "operator", code, "Check the archive's disk, or restore the file from a backup."
    return "unknown", code, "It is tried again; if it stays, report it with the log."


_OPERATOR_FAULTS = (
    NeedsOperator,
    Corrupt,
    BadRequest,
    exceptions.NoCredentialsError,
    exceptions.PartialCredentialsError,
    exceptions.CredentialRetrievalError,
    exceptions.TokenRetrievalError,
    exceptions.ProfileNotFound,
    exceptions.ConfigParseError,
    exceptions.ProxyConnectionError,
    exceptions.SSLError,
    exceptions.ParamValidationError,
    exceptions.InvalidRegionError,
)


def _verb(call: str) -> str:
    writes = call.startswith(("Put", "Create", "Upload", "Complete", "Delete", "Abort"))
    return "Cannot write to" if writes else "Cannot read from"


def _place(destination: Destination, key: str | None) -> str:
    return f"s3://{destination.bucket}/{destination.prefix if key is None else key}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
