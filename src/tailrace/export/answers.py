"""One table from S3's answers to what they mean: kind, heading, sentence, and what mends it.

`diagnose` reads it; wizard, failure page, mail, command line and docs print from it.
"""

from __future__ import annotations

import msgspec

from tailrace.state.delivery import CauseKind

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
    """What one answer means, as the heading of a page and in a sentence.

    `why` ends the sentence; `fix` is a sentence for whoever can act.
    """

    kind: CauseKind
    title: str
    why: str
    fix: str


DENIED = Row(
    "access",
    "{store} refuses to let tailrace {do} this bucket",
    "{call} was refused",
    "Add {permission} to the policy of the bucket, without a Deny against it.",
)
# A policy that demands an encryption is written as a Deny against all puts without it, and across
# accounts a store does not say that there is a Deny.
PUT_DENIED = Row(
    "access",
    DENIED.title,
    DENIED.why,
    f"{DENIED.fix} If a Deny there demands an encryption, choose that one for the destination.",
)
DENIED_ON_PURPOSE = Row(
    "access",
    "A Deny forbids tailrace to {do} this bucket",
    "a Deny of a policy refuses {call}",
    "Take the Deny against {permission} out of the policy, or except tailrace's principal from it.",
)
PUT_DENIED_ON_PURPOSE = Row(
    "access",
    "A Deny forbids tailrace to {do} this bucket",
    "a Deny of a policy refuses {call}, which asked for {encryption}",
    "Take the Deny against {permission} out of the policy, or except tailrace's principal from it. "
    "If it demands an encryption, choose that one for the destination.",
)
TEMPORARY = Row(
    "temporary",
    "{store} is busy or out of order",
    "the store is busy or out of order",
    "Nothing: it is tried again.",
)
UNKNOWN = Row(
    "unknown",
    "{store} gave an answer that tailrace does not know",
    "the store gave an answer that tailrace does not know{message}",
    "Look the code up in the store's manual; it is tried again meanwhile.",
)
WORDLESS = Row(
    "unknown",
    "{store} refused tailrace and did not say why",
    "which has no body that could say why",
    "Verify the destination: its probes ask in ways that are answered with words.",
)
# An absent object is refused, not missing, to those who may not list the bucket.
LOOK_DENIED = Row(
    "access",
    "{store} refuses to let tailrace look at objects of this bucket",
    "{call} was refused",
    "Add {permission} and s3:ListBucket to the policy of the bucket, without a Deny against them.",
)
NO_BUCKET = Row(
    "access",
    "There is no such bucket",
    "there is no such bucket",
    "Create the bucket again, or correct its name.",
)
REGION = Row(
    "access",
    "The bucket lies in another region",
    "the bucket lies in another region{region}",
    "{take_region}",
)
FULL = Row(
    "access",
    "The bucket has no room left",
    "the store has no room left for the bucket",
    "Raise the quota of the bucket or its owner, or remove objects from it.",
)
ACCOUNT = Row(
    "access",
    "The store has suspended an account",
    "an account is suspended, blocked or not signed up there: that of the bucket's owner, or the "
    "one whose credentials were used{message}",
    "Settle it with the store's support, or have whoever holds that account do so. It is no matter "
    "of permissions.",
)
# A 403 whose code is not known. It lasts as one of a policy does, so the owner is told; which
# permission, or whether any, nobody can say.
REFUSED = Row(
    "access",
    DENIED.title,
    "which says nothing of permissions that tailrace knows{message}",
    "Look the code up in the store's manual, or ask its support; it is tried again meanwhile.",
)
KMS_STATE = Row(
    "access",
    "The encryption key is disabled or gone",
    "the encryption key is disabled, deleted or unusable",
    "Enable the key, or choose another one.",
)
KMS_DENIED = Row(
    "access",
    "tailrace may not use the encryption key",
    "the encryption key may not be used",
    "Add kms:GenerateDataKey and kms:Decrypt to the policy of the key.",
)
# A store that has no keys, say, or none of this name.
NO_ENCRYPTION = Row(
    "access",
    "{store} does not encrypt as this destination asks",
    "the store does not encrypt with {encryption}{message}",
    "Choose the bucket's default or another encryption for the destination, or set encryption up "
    "in the store.",
)
ROLE = Row(
    "access",
    "The role may not be assumed",
    "the role may not be assumed",
    "Let the role trust tailrace's principal, with this destination's external ID.",
)
OUR_KEY = Row(
    "operator",
    "tailrace's own credentials are refused",
    "tailrace's own credentials are refused",
    "Whoever runs tailrace has to renew its credentials.",
)
THEIR_KEY = Row(
    "access",
    "This destination's access key is refused",
    "the destination's access key is refused",
    "Give the destination an access key that is valid.",
)
CLOCK = Row(
    "operator",
    "The clock of tailrace's machine is wrong",
    "the clock of tailrace's machine is wrong{skew}",
    "Set the machine's clock; request signing follows it.",
)
WRONG_USE = Row(
    "operator",
    "{store} does not accept what tailrace asks for",
    "the store does not accept the request",
    "Check the destination's bucket, region and endpoint.",
)
# Such as a bucket that locks its objects, where nothing was said of sums when it was verified.
DEMANDS = Row(
    "access",
    "The bucket demands a header that tailrace does not send",
    "the bucket demands more of a request than tailrace sends{message}",
    "Verify the destination, which finds out anew what its store can do; or take the demand, such "
    "as a lock on its objects, from the bucket.",
)
BYTES = Row(
    "operator",
    "Files arrive damaged",
    "the bytes that arrived are not those that were sealed",
    "Check the machine's disk and memory, and the archive's file.",
)
CREDENTIALS = {
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidToken",
    "InvalidClientTokenId",
    "TokenRefreshRequired",
    "UnrecognizedClientException",
    "InvalidSecurity",
    "Unauthorized",
}

TABLE: dict[str, Row] = {
    "AccessDenied": DENIED,
    "AllAccessDisabled": ACCOUNT,
    "AccountProblem": ACCOUNT,
    "AccountSuspended": ACCOUNT,
    "UserSuspended": ACCOUNT,
    "UserDisable": ACCOUNT,
    "NotSignedUp": ACCOUNT,
    "NoSuchBucket": NO_BUCKET,
    "PermanentRedirect": REGION,
    "TemporaryRedirect": REGION,
    "AuthorizationHeaderMalformed": REGION,
    "IllegalLocationConstraintException": REGION,
    "KMS.DisabledException": KMS_STATE,
    "KMS.NotFoundException": KMS_STATE,
    "KMS.KMSInvalidStateException": KMS_STATE,
    "KMS.InvalidKeyUsageException": KMS_STATE,
    "KMS.AccessDeniedException": KMS_DENIED,
    "InvalidEncryptionAlgorithmError": NO_ENCRYPTION,
    "QuotaExceeded": FULL,
    "InsufficientStorage": FULL,
    "XMinioStorageFull": FULL,
    "XMinioAdminBucketQuotaExceeded": FULL,
    "RequestTimeTooSkewed": CLOCK,
    "RequestExpired": CLOCK,
    "InvalidBucketName": WRONG_USE,
    "MethodNotAllowed": WRONG_USE,
    "NotImplemented": WRONG_USE,
    "AccessControlListNotSupported": WRONG_USE,
    "BadDigest": BYTES,
    "InvalidDigest": BYTES,
    "XAmzContentSHA256Mismatch": BYTES,
    "XAmzContentChecksumMismatch": BYTES,
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
    "400": WORDLESS,
    **dict.fromkeys(sorted(CREDENTIALS), OUR_KEY),
}

CONFLICT_TITLE = "Another object lies where a file is to go"
REGION_TITLE = REGION.title

# What each call does to a bucket, in the words of a heading.
DOING = {
    "HeadBucket": "look at",
    "ListObjectsV2": "list",
    "HeadObject": "read from",
    "GetObject": "read from",
    "PutObject": "write to",
    "CreateMultipartUpload": "write to",
    "UploadPart": "write to",
    "CompleteMultipartUpload": "write to",
    "AbortMultipartUpload": "give up uploads in",
    "DeleteObject": "remove its test object from",
}
