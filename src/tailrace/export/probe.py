"""The one object that the probes write, read and remove, and the requests made for it.

Called by `verify.py`, which says in what order and what the answers mean.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from tailrace.errors import NeedsCustomer
from tailrace.export.objects import SHA256_KEY, STORE_ERRORS, code_of
from tailrace.export.parts import crc32_text

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

_BODY = b"tailrace wrote this to check its access, and removes it again.\n"
_METADATA = {SHA256_KEY: hashlib.sha256(_BODY).hexdigest()}
_CRC32 = crc32_text(zlib.crc32(_BODY))
_WRONG_CRC32 = crc32_text(zlib.crc32(_BODY) ^ 1)
# A bucket that locks its objects takes none without some sum; this one is known to every store.
_MD5 = base64.b64encode(hashlib.md5(_BODY, usedforsecurity=False).digest()).decode()


class KeepsNothing(NeedsCustomer):
    """The store does not give back what was put, so that nothing in it could be told as ours."""


class NotEncrypted(NeedsCustomer):
    """The store takes the encryption that is asked for, and does not do it."""


class ProbeObject:
    """Requests on one key. An object left there by an earlier probe is overwritten.

    `encryption` is asked for as with each object of an export.
    """

    def __init__(self, bucket: str, key: str, encryption: dict[str, Any]) -> None:
        self.key = key
        self.url = f"s3://{bucket}/{key}"
        self._target: dict[str, Any] = {"Bucket": bucket, "Key": key}
        self._encryption = encryption
        # The IDs of uploads that were begun and are not known to have ended.
        self._uploads: list[str] = []

    @property
    def uploads(self) -> tuple[str, ...]:
        """The IDs of its uploads that are, or may be, still in the bucket."""
        return tuple(self._uploads)

    def put(self, client: S3Client) -> object:
        """Put with no header that needs a right but the encryption's, which each object has."""
        return self._put(client, ContentMD5=_MD5)

    def get(self, client: S3Client) -> object:
        """Read it back; raise `KeepsNothing` unless bytes and metadata are those that were put.

        Raise `NotEncrypted` where the store took what was asked of encryption, and did not do it.
        """
        answer = client.get_object(**self._target)
        with answer["Body"] as stream:
            body = stream.read(len(_BODY) + 1)
        metadata = {name.lower(): value for name, value in answer["Metadata"].items()}
        if body != _BODY or metadata.get(SHA256_KEY) != _METADATA[SHA256_KEY]:
            raise KeepsNothing(
                f"Cannot use {self.url}: the store gives back other bytes or metadata than were "
                "put. Use a store that keeps both."
            )
        self._check_encryption(answer)
        return answer

    def delete(self, client: S3Client) -> object:
        """Remove it."""
        return client.delete_object(**self._target)

    def create(self, client: S3Client, **options: Any) -> str:
        """Begin an upload in parts and return its ID, which is among `uploads` until it ends."""
        answer = client.create_multipart_upload(
            **self._target, Metadata=_METADATA, **self._encryption, **options
        )
        upload_id = answer["UploadId"]
        self._uploads.append(upload_id)
        return upload_id

    def part(self, client: S3Client, upload_id: str, **options: Any) -> str:
        """Put the upload's only part and return its ETag."""
        answer = client.upload_part(
            **self._target,
            UploadId=upload_id,
            PartNumber=1,
            Body=_BODY,
            ContentMD5=_MD5,
            **options,
        )
        return answer["ETag"]

    def abort(self, client: S3Client, upload_id: str) -> object:
        """Give the upload up."""
        answer = client.abort_multipart_upload(**self._target, UploadId=upload_id)
        self._uploads.remove(upload_id)
        return answer

    def put_if_absent(self, client: S3Client) -> object:
        """Put it where it is already."""
        return self._put(client, IfNoneMatch="*", ContentMD5=_MD5)

    def complete_if_absent(self, client: S3Client) -> object:
        """Complete an upload where the object is already."""
        return self._upload(client, {}, {}, {"IfNoneMatch": "*"})

    def put_wrongly_summed(self, client: S3Client) -> object:
        """Put it with the CRC32 of other bytes."""
        return self._put(client, ChecksumCRC32=_WRONG_CRC32)

    def complete_wrongly_summed(self, client: S3Client) -> object:
        """Complete an upload with a right CRC32 of its part and a wrong one of the object."""
        return self._upload(
            client,
            {"ChecksumAlgorithm": "CRC32", "ChecksumType": "FULL_OBJECT"},
            {"ChecksumCRC32": _CRC32},
            {"ChecksumType": "FULL_OBJECT", "ChecksumCRC32": _WRONG_CRC32},
        )

    def _put(self, client: S3Client, **options: Any) -> object:
        return client.put_object(
            **self._target, Body=_BODY, Metadata=_METADATA, **self._encryption, **options
        )

    def _check_encryption(self, answer: Mapping[str, Any]) -> None:
        asked, done = (one.get("ServerSideEncryption") for one in (self._encryption, answer))
        if asked is not None and done != asked:
            raise NotEncrypted(
                f"Cannot use {self.url}: it was put with the encryption {asked}, and the store "
                f"says that it has {done or 'none'}. Choose the bucket's default for this "
                "destination, or a store that encrypts."
            )

    def _upload(
        self,
        client: S3Client,
        create: dict[str, Any],
        part: dict[str, Any],
        complete: dict[str, Any],
    ) -> object:
        upload_id = self.create(client, **create)
        try:
            etag = self.part(client, upload_id, **part)
            done: Any = {"PartNumber": 1, "ETag": etag, **part}
            answer = client.complete_multipart_upload(
                **self._target, UploadId=upload_id, MultipartUpload={"Parts": [done]}, **complete
            )
        except STORE_ERRORS:
            try:
                self.abort(client, upload_id)
            except ClientError as error:
                if code_of(error) != "NoSuchUpload":
                    raise
                self._uploads.remove(upload_id)
            raise
        self._uploads.remove(upload_id)
        return answer
