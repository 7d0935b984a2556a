"""An object to put, the bucket it goes to, and how ours is told from another's.

Shared by the single put (`bucket.py`) and the upload in parts (`multipart.py`).
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

import msgspec
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from tailrace.errors import Corrupt, NeedsCustomer, Transient
from tailrace.export.encryption import encryption_options
from tailrace.export.parts import FilePart, crc32_of, crc32_text
from tailrace.state.delivery import Capabilities, DeliveredHow, Destination

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

SHA256_KEY = "tailrace-sha256"

# A refusal, trouble on the way, or an answer that lacks what it must hold or can't be read.
STORE_ERRORS = (ClientError, BotoCoreError, ResponseParserError, KeyError, ValueError)

_BUSY = {"ConditionalRequestConflict", "OperationAborted"}
_WORDLESS = {301, 400, 403}
_NO_CAPABILITIES = Capabilities(conditional_put=False, conditional_complete=False, checksums=False)


class ObjectConflict(NeedsCustomer):
    """An object of this name holds something else; it is left as it is."""

    def __init__(self, bucket: str, key: str, found: str) -> None:
        self.what = (
            f"Cannot put s3://{bucket}/{key}: an object with other content is there ({found})."
        )
        super().__init__(f"{self.what} Move it away.")
        self.key = key


class Unconfirmed(Transient):
    """A 200 that does not name what was stored; something on the way may have made it up."""


class Item(msgspec.Struct, frozen=True):
    """An object to put: its key and what its bytes are known to be."""

    key: str
    size_bytes: int
    sha256: str
    crc32: int
    open: Callable[[], BinaryIO]
    content_type: str = "application/json"


class Store(msgspec.Struct, frozen=True):
    """A bucket as one destination reaches it; `encryption` is what is asked for each object."""

    client: S3Client
    bucket: str
    capabilities: Capabilities
    encryption: dict[str, Any]


class Hold(Protocol):
    """The right to work on a run, which another may take over when it lapses."""

    def check(self) -> None:
        """Extend the lease; raise `LeaseLost` if another holds it, `Stopped` at a shutdown."""
        ...

    def go_on(self) -> None:
        """Raise `Stopped` at a shutdown; costs nothing."""
        ...

    def upload_started(self, key: str, upload_id: str) -> None:
        """Write down a multipart upload before its first part; raise `LeaseLost`."""
        ...

    def upload_ended(self) -> None:
        """Forget the upload: it was completed or aborted."""
        ...


def store_of(client: S3Client, destination: Destination) -> Store:
    """Return a destination's bucket; one that was never verified is taken to do nothing."""
    return Store(
        client=client,
        bucket=destination.bucket,
        capabilities=destination.capabilities or _NO_CAPABILITIES,
        encryption=encryption_options(destination),
    )


def item_of_bytes(key: str, body: bytes, sha256: str, crc32: int, content_type: str) -> Item:
    """Return an item for bytes that are in memory."""
    return Item(key, len(body), sha256, crc32, lambda: io.BytesIO(body), content_type)


def look(store: Store, item: Item) -> DeliveredHow | None:
    """Return `found` if the object is there and ours, None if it is absent.

    Ours means the size and the SHA-256 in its metadata, never the ETag: that is no MD5 under a KMS
    key. How it is encrypted does not matter, so another choice rewrites nothing.

    Raise `ObjectConflict` otherwise, and `Unconfirmed` for a 200 that speaks of no object: a page
    that something on the way made up.
    """
    try:
        head = _head(store, item.key)
    except ClientError as error:
        if status_of(error) == 404 and code_of(error) in {"404", "NoSuchKey", "NotFound"}:
            return None
        raise
    if not head.get("ETag"):
        raise Unconfirmed(
            f"Cannot be sure of s3://{store.bucket}/{item.key}: the store answered 200 without the "
            "object's ETag. It is looked for again."
        )
    metadata = {name.lower(): value for name, value in head["Metadata"].items()}
    size, sha256 = head["ContentLength"], metadata.get(SHA256_KEY)
    if size == item.size_bytes and sha256 == item.sha256:
        return "found"
    raise ObjectConflict(
        store.bucket, item.key, f"{size} bytes, SHA-256 {sha256 or 'not written by tailrace'}"
    )


def _head(store: Store, key: str) -> Mapping[str, Any]:
    """Return an object's headers; where they are refused, raise an error that has words.

    A HEAD's refusal has no body, and 403 alone would name a permission where in truth a clock, a
    token or a region is wrong. A GET needs the same permission and says which it is.
    """
    try:
        return store.client.head_object(Bucket=store.bucket, Key=key)
    except ClientError as error:
        if status_of(error) not in _WORDLESS:
            raise
    try:
        answer = store.client.get_object(Bucket=store.bucket, Key=key)
    except ClientError as error:
        raise ClientError(error.response, "HeadObject") from None
    # The refusal was over. Its headers are what was asked for; closed, its body stays unread.
    answer["Body"].close()
    return answer


def checked_body(store: Store, item: Item, file: BinaryIO, hold: Hold) -> FilePart:
    """Return the item's bytes as a body, known to be what was sealed.

    The store checks the CRC32 on the way; where it can't, the file is read once more for it here.
    """
    body = FilePart(file, range(item.size_bytes), hold.go_on)
    size = file.seek(0, os.SEEK_END)
    if size != item.size_bytes or (
        not store.capabilities.checksums and crc32_of(body) != item.crc32
    ):
        raise Corrupt(
            f"Cannot put s3://{store.bucket}/{item.key}: the archive's file has {size} bytes that "
            f"are not the {item.size_bytes} bytes that were sealed. Restore it from a backup."
        )
    return body


def check_stored(store: Store, item: Item, answer: Mapping[str, Any]) -> None:
    """Check that the answer to Put or Complete names the object, and no other bytes.

    Without an ETag, which Ceph's gateway leaves empty after an upload in parts, the object is
    looked for: raise `Unconfirmed` if it is absent. Where the answer holds another CRC32 than was
    sent, ask the store: raise `ObjectConflict` if it does hold other bytes, `Unconfirmed` if it
    does not say.
    """
    if not answer.get("ETag") and look(store, item) is None:
        raise Unconfirmed(
            f"Cannot be sure of s3://{store.bucket}/{item.key}: the store answered 200 without the "
            "object's ETag, and the object is not there. It is put again."
        )
    if _sum_in(answer) in {None, crc32_text(item.crc32)}:
        return
    held = _sum_in(
        store.client.head_object(Bucket=store.bucket, Key=item.key, ChecksumMode="ENABLED")
    )
    if held is None:
        raise Unconfirmed(
            f"Cannot be sure of s3://{store.bucket}/{item.key}: the store answered another CRC32 "
            "than was sent, and does not say what it holds. It is looked for and put again."
        )
    if held != crc32_text(item.crc32):
        raise ObjectConflict(store.bucket, item.key, f"CRC32 {held}, not what was sent")


def _sum_in(answer: Mapping[str, Any]) -> str | None:
    """Return the CRC32 of the whole object; one of its parts' sums (`…-2`) says nothing here."""
    found = answer.get("ChecksumCRC32")
    return found if found and "-" not in found else None


def object_options(store: Store, item: Item) -> dict[str, Any]:
    """Return what Put and CreateMultipartUpload say alike about an object.

    No ACL or Content-Encoding: the bucket's own defaults hold, and the file is the gzip file itself
    (D8). Encryption only where the destination chooses one.
    """
    return {
        "Key": item.key,
        "ContentType": item.content_type,
        "Metadata": {SHA256_KEY: item.sha256},
        **store.encryption,
    }


def is_precondition(error: ClientError) -> bool:
    """Say whether S3 refused because the object exists."""
    return status_of(error) == 412 or code_of(error) == "PreconditionFailed"


def is_busy(error: ClientError) -> bool:
    """Say whether S3 refused because another write to the key is under way (409)."""
    return code_of(error) in _BUSY


def code_of(error: ClientError) -> str:
    """Return S3's error code; an answer without a body has its status as text."""
    return str(error.response.get("Error", {}).get("Code", ""))


def status_of(error: ClientError) -> int:
    """Return the answer's HTTP status, 0 if unknown."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
