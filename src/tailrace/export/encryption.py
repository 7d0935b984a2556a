"""How objects are to be encrypted: which keys can be right, and what requests say of it.

Nothing is said where a destination leaves it to its bucket, whose own default applies then.
"""

from __future__ import annotations

import re
from typing import Any

from tailrace.errors import BadRequest
from tailrace.export.policy import is_amazon, partition_of
from tailrace.state.delivery import Destination, Encryption

DEFAULT_WORDS = "the bucket's default"

_KEY = re.compile(
    r"arn:(?P<partition>aws|aws-cn|aws-us-gov):kms:(?P<region>[a-z0-9-]{1,40}):[0-9]{12}:"
    r"(?:key/[A-Za-z0-9-]{1,128}|alias/[A-Za-z0-9/_-]{1,250})"
)
# Other stores call their keys what they like; it is sent in a header.
_STORES_KEY = re.compile(r"[!-~]{1,2048}")


def check_encryption(
    encryption: Encryption | None, kms_key: str | None, region: str | None, endpoint_url: str | None
) -> None:
    """Raise `BadRequest` unless encryption and key go together, and with the bucket's region."""
    if encryption != "aws:kms":
        if kms_key is not None:
            raise BadRequest(
                "A KMS key goes with the encryption aws:kms. Choose that, or leave the key out."
            )
        return
    if not kms_key:
        raise BadRequest("SSE-KMS needs a key: give the ARN of the KMS key that encrypts.")
    check_kms_key(kms_key, region, endpoint_url)


def check_kms_key(key: str, region: str | None, endpoint_url: str | None) -> str:
    """Return the ARN of a key or of its alias; raise `BadRequest` for what S3 would not take.

    `region` is the bucket's, None where it is not known. Another store's key may have any name.
    """
    if not is_amazon(endpoint_url):
        if not _STORES_KEY.fullmatch(key):
            raise _no_key(key, "a key's name has no blanks, and only letters and signs of ASCII")
        return key
    found = _KEY.fullmatch(key)
    if found is None:
        raise _no_key(
            key,
            "write its ARN, like arn:aws:kms:us-west-2:111122223333:key/"
            "1234abcd-12ab-34cd-56ef-1234567890ab, or that of an alias, ending in :alias/NAME",
        )
    lies_in = found["region"]
    if found["partition"] != partition_of(lies_in):
        raise _no_key(
            key,
            f"the region {lies_in} is in the partition {partition_of(lies_in)}, not in "
            f"{found['partition']}",
        )
    if region is not None and lies_in != region:
        raise _no_key(
            key,
            f"it lies in {lies_in} and the bucket in {region}, and S3 takes only keys of the "
            "bucket's own region",
        )
    return key


def encryption_options(destination: Destination) -> dict[str, Any]:
    """Return what PutObject and CreateMultipartUpload say of encryption, as botocore calls it."""
    options: dict[str, Any] = {}
    if destination.encryption is not None:
        options["ServerSideEncryption"] = destination.encryption
    if destination.kms_key_arn is not None:
        options["SSEKMSKeyId"] = destination.kms_key_arn
    return options


def encryption_words(encryption: Encryption | None, kms_key: str | None) -> str:
    """Return how objects are encrypted, in the words of pages and commands."""
    if encryption is None:
        return DEFAULT_WORDS
    return "SSE-S3" if encryption == "AES256" else f"SSE-KMS with {kms_key}"


def _no_key(key: str, reason: str) -> BadRequest:
    return BadRequest(f"Cannot use the KMS key {key[:120]!r}: {reason}.")
