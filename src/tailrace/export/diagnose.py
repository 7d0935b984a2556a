"""Why work on a destination failed: a cause in words, from whatever was raised.

What each of S3's answers means is in the table of `answers`.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

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
from tailrace.export.answers import (
    ACTIONS,
    CLOCK,
    CONFLICT_TITLE,
    CREDENTIALS,
    DEMANDS,
    DENIED,
    DENIED_ON_PURPOSE,
    DOING,
    KMS_DENIED,
    LOOK_DENIED,
    NO_ENCRYPTION,
    PUT_DENIED,
    PUT_DENIED_ON_PURPOSE,
    REFUSED,
    ROLE,
    TABLE,
    TEMPORARY,
    THEIR_KEY,
    UNKNOWN,
    Row,
)
from tailrace.export.bucket_names import check_region
from tailrace.export.client import DEFAULT_REGION
from tailrace.export.encryption import encryption_words
from tailrace.export.objects import ObjectConflict, code_of, status_of
from tailrace.export.policy import is_amazon
from tailrace.export.unreached import bad_certificate, host_without_address
from tailrace.state.delivery import Cause, CauseKind, Destination

# Under an encrypting key these calls read what was encrypted before, parts included.
_DECRYPTING = {"UploadPart", "CompleteMultipartUpload", "GetObject", "HeadObject"}
# These calls say how an object is to be encrypted.
_ENCRYPTING = {"PutObject", "CreateMultipartUpload"}
# What each store says in its own words where it can't.
_OF_ENCRYPTION = re.compile(r"encrypt|\bSSE|\bKMS\b", re.IGNORECASE)
# Amazon's words where a policy lacks an action, and none denies it.
_NO_ALLOW = re.compile(r"\bbecause no [a-z- ]*policy allows\b")
# Rows of a permission that is missing.
_NAMING = {
    DENIED,
    PUT_DENIED,
    DENIED_ON_PURPOSE,
    PUT_DENIED_ON_PURPOSE,
    LOOK_DENIED,
    KMS_DENIED,
    ROLE,
}

# Answers without a body, as those to HEAD, or with one that is no error of S3's: botocore gives
# their status as the code.
_BODILESS = {
    "301": "PermanentRedirect",
    "307": "TemporaryRedirect",
    "401": "Unauthorized",
    "403": "Forbidden",
}
# STS says so under the code of a wrong secret.
_OUT_OF_TIME = re.compile(r"\bSignature (expired|not yet current)\b")
# Of an answer's own words, in a sentence that is mailed.
_MESSAGE_LENGTH_MAX = 200
# What S3 says of a bucket whose objects are locked, to a request without a sum.
_DEMANDED = re.compile(r"\b(Content-MD5|x-amz-checksum|Object Lock)\b", re.IGNORECASE)
_NAMED_ACTION = re.compile(r"not authorized to perform: ([a-z0-9]+:[A-Za-z]+)")


def diagnose(
    error: Exception, destination: Destination, key: str | None = None, *, kept: bool = True
) -> Cause:
    """Return why work on a destination failed, from whatever was raised.

    `kept` is false for what an edit wants a destination to be.
    """
    if isinstance(error, ClientError):
        return _of_answer(error, destination, key, kept=kept)
    error = unwrapped(error)
    place = _place(destination, key)
    if isinstance(error, ObjectConflict):
        fix = (
            f'Move the object away, then run "tailrace verify {destination.id}"; or replace it by '
            f'a manual export of its hour: "tailrace backfill {destination.id}" with --overwrite.'
        )
        return Cause("conflict", "Conflict", error.what, fix, key=error.key, title=CONFLICT_TITLE)
    certificate = bad_certificate(error, destination)
    if certificate is not None:
        sentence = f"Cannot reach {place}: {certificate.why}."
        fix, title = certificate.fix, "The store's certificate is not valid"
        return Cause("access", certificate.code, sentence, fix, key=key, title=title)
    kind, code, fix = _of_exception(error)
    title = "tailrace cannot deliver to this bucket"
    sentence = str(error)
    if isinstance(error, BotoCoreError):
        title = "The store can't be reached"
        sentence = f"Cannot reach {place}: {_one_line(error)}."
        nameless = host_without_address(error)
        if nameless is not None:
            sentence = f"Cannot reach {place}: {nameless} has no address."
            fix = "If it stays, correct the endpoint's name; it is tried again meanwhile."
        elif isinstance(error, exceptions.SSLError):
            fix = (
                "Where the store's certificate is of an authority of one's own, whoever runs "
                "tailrace names that in export.ca_file; else look at what lies in between."
            )
    elif isinstance(error, OSError):
        # The network's errors come as botocore's, so this is the archive's disk.
        title = "A file of the archive can't be read"
        sentence = f"Cannot read the archive's file for {place}: {_one_line(error)}."
    elif not isinstance(error, TailraceError):
        sentence = f"Cannot work on {place}: {code} {_one_line(error)}."
    return Cause(kind, code, sentence, fix, key=key, title=title)


def take_region(destination: Destination, region: str | None, *, kept: bool = True) -> str:
    """Return how the destination takes the bucket's region; a command only for one that can be.

    What is not `kept` takes it with the edit that wants it: `verify` would probe what is kept.
    """
    try:
        named = check_region(region or "", destination.endpoint_url)
    except BadRequest:
        return "Set the destination's region to that of the bucket."
    if not kept:
        return f"Make the same change with the region {named}."
    return f'Run "tailrace verify {destination.id} --region {named}".'


def unwrapped(error: Exception) -> Exception:
    """Return the error of ours in one of botocore's, which wraps what a body raises; or itself."""
    if isinstance(error, exceptions.HTTPClientError):
        within = error.kwargs.get("error")
        if isinstance(within, TailraceError):
            return within
    return error


def _of_answer(
    error: ClientError, destination: Destination, key: str | None, *, kept: bool
) -> Cause:
    code, status, call = code_of(error), status_of(error), error.operation_name
    # An empty one is read as None.
    said = error.response.get("Error", {}).get("Message") or ""
    message = " ".join(str(said).split()).rstrip(".")
    meta: Any = error.response.get("ResponseMetadata", {})
    code = _BODILESS.get(code, code)
    if code == "Forbidden" and call.startswith("Head"):
        # A HEAD has no other way to say it. To other calls a proxy, say, answers so.
        code = "AccessDenied"
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
    if row in _NAMING:
        named = _NAMED_ACTION.search(message)
        permission = named[1] if named else ACTIONS.get(call)
        if row is KMS_DENIED and not (named and named[1].startswith("kms:")):
            permission = "kms:Decrypt" if call in _DECRYPTING else "kms:GenerateDataKey"
    words = {
        "call": call,
        "permission": permission or "the action it needs",
        "message": f": {message[:_MESSAGE_LENGTH_MAX]}" if message else "",
        "skew": _skew(error),
        "region": f", {region}" if region else "",
        "take_region": take_region(
            destination, region if isinstance(region, str) else None, kept=kept
        ),
        "store": "S3" if is_amazon(destination.endpoint_url) else "The store",
        "do": DOING.get(call, "use"),
        "encryption": _asked_for(destination),
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
        title=row.title.format(**words),
        host_id=meta.get("HostId") or None,
        region=region if isinstance(region, str) else None,
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
        return CLOCK
    if code in CREDENTIALS and destination.access_key_id is not None:
        return THEIR_KEY
    denied = _is_denial(code, status, message)
    if denied and call == "AssumeRole":
        return ROLE
    if denied and re.search(r"\bkms\b", message, re.IGNORECASE):
        return KMS_DENIED
    if denied and "explicit deny" in message:
        return PUT_DENIED_ON_PURPOSE if call in _ENCRYPTING else DENIED_ON_PURPOSE
    if _is_of_encryption(code, status, call, message, destination):
        return NO_ENCRYPTION
    if code == "InvalidRequest" and _DEMANDED.search(message):
        return DEMANDS
    if denied and call == "HeadObject":
        return LOOK_DENIED
    if denied and call in _ENCRYPTING and not _NO_ALLOW.search(message):
        return PUT_DENIED
    known = TABLE.get(code)
    if known is not None:
        return known
    if status >= 500 or status == 429:
        return TEMPORARY
    if denied:
        return DENIED
    return REFUSED if status == 403 else UNKNOWN


def _is_denial(code: str, status: int, message: str) -> bool:
    """Say whether a permission is missing: by the code, or else in words that are Amazon's."""
    if code == "AccessDenied":
        return True
    return status == 403 and code not in TABLE and _NAMED_ACTION.search(message) is not None


def _is_of_encryption(
    code: str, status: int, call: str, message: str, destination: Destination
) -> bool:
    """Say whether a store that was asked to encrypt says that it can't, in its own words.

    Ceph's gateway has none for it.
    """
    if TABLE.get(code) is TEMPORARY:
        # Throttling names KMS where it was the key's service that was asked too often.
        return False
    if destination.encryption is None or call not in _ENCRYPTING or code.startswith("KMS."):
        return False
    if code == "InvalidRequest" and not message:
        return True
    return status in {400, 501} and _OF_ENCRYPTION.search(message) is not None


def _asked_for(destination: Destination) -> str:
    if destination.encryption is None:
        return "no encryption"
    return encryption_words(destination.encryption, destination.kms_key_arn)


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
