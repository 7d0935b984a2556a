"""One multipart upload of one object, only if it is absent or in place of other content.

Called by `bucket`.
"""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any, cast

from botocore.exceptions import BotoCoreError, ClientError

from tailrace import killpoints
from tailrace.export.objects import (
    Hold,
    Item,
    Store,
    check_stored,
    checked_body,
    code_of,
    is_busy,
    is_precondition,
    look,
    object_options,
)
from tailrace.export.parts import FilePart, crc32_of, crc32_text, part_ranges
from tailrace.state.delivery import DeliveredHow

if TYPE_CHECKING:
    from types_boto3_s3.type_defs import CompletedPartTypeDef


def upload_once(store: Store, item: Item, hold: Hold) -> DeliveredHow | None:
    """Upload in parts; return None where it has to begin anew.

    The upload is written down before its first part, and given up before any error is raised that
    S3 itself answered. After a lost answer or a lost lease it is left for the next holder.
    """
    if look(store, item):
        return "found"
    upload_id = _begin(store, item, hold)
    try:
        parts = _put_parts(store, item, upload_id, hold)
        hold.check()
        _complete(store, item, upload_id, parts, _if_absent(store))
    except ClientError as error:
        return _after_refusal(store, item, upload_id, hold, error)
    killpoints.reached("export.completed")
    hold.upload_ended()
    if store.capabilities.conditional_complete:
        return "put"
    # Another may have written between our first look and Complete; the last one wins in silence.
    return "put" if look(store, item) else None


def replace_in_parts(store: Store, item: Item, hold: Hold) -> None:
    """Upload in parts over whatever is there; what is left behind is as with `upload_once`.

    Raise what the store answers: there is no condition that it could refuse.
    """
    upload_id = _begin(store, item, hold)
    try:
        parts = _put_parts(store, item, upload_id, hold)
        hold.check()
        _complete(store, item, upload_id, parts, {})
    except ClientError as error:
        if _after_refusal(store, item, upload_id, hold, error) is not None:
            # Completed by a request whose answer was lost.
            return
        raise
    killpoints.reached("export.completed")
    hold.upload_ended()


def abort(store: Store, key: str, upload_id: str) -> None:
    """Give up an upload and its parts; one that is gone is fine."""
    try:
        store.client.abort_multipart_upload(Bucket=store.bucket, Key=key, UploadId=upload_id)
    except ClientError as error:
        if code_of(error) != "NoSuchUpload":
            raise


def _begin(store: Store, item: Item, hold: Hold) -> str:
    upload_id = _create(store, item)
    try:
        hold.upload_started(item.key, upload_id)
    except Exception:
        # Nobody will know of this upload.
        abort(store, item.key, upload_id)
        raise
    return upload_id


def _if_absent(store: Store) -> dict[str, Any]:
    return {"IfNoneMatch": "*"} if store.capabilities.conditional_complete else {}


def _create(store: Store, item: Item) -> str:
    options: dict[str, Any] = object_options(store, item)
    if store.capabilities.checksums:
        options |= {"ChecksumAlgorithm": "CRC32", "ChecksumType": "FULL_OBJECT"}
    return store.client.create_multipart_upload(Bucket=store.bucket, **options)["UploadId"]


def _put_parts(store: Store, item: Item, upload_id: str, hold: Hold) -> list[CompletedPartTypeDef]:
    parts: list[CompletedPartTypeDef] = []
    with item.open() as file:
        checked_body(store, item, file, hold)
        for number, span in enumerate(part_ranges(item.size_bytes), start=1):
            if number > 1:
                killpoints.reached("export.part")
                hold.check()
            body = FilePart(file, span, hold.go_on)
            options: dict[str, Any] = {}
            if store.capabilities.checksums:
                options["ChecksumCRC32"] = crc32_text(crc32_of(body))
            answer = store.client.upload_part(
                Bucket=store.bucket,
                Key=item.key,
                UploadId=upload_id,
                PartNumber=number,
                Body=cast("IO[bytes]", body),
                ContentLength=len(span),
                **options,
            )
            part: Any = {"PartNumber": number, "ETag": answer["ETag"], **options}
            parts.append(part)
    return parts


def _complete(
    store: Store,
    item: Item,
    upload_id: str,
    parts: list[CompletedPartTypeDef],
    condition: dict[str, Any],
) -> None:
    options = dict(condition)
    if store.capabilities.checksums:
        options |= {"ChecksumType": "FULL_OBJECT", "ChecksumCRC32": crc32_text(item.crc32)}
    answer = store.client.complete_multipart_upload(
        Bucket=store.bucket,
        Key=item.key,
        UploadId=upload_id,
        MultipartUpload={"Parts": parts},
        **options,
    )
    check_stored(store, item, answer)


def _after_refusal(
    store: Store, item: Item, upload_id: str, hold: Hold, error: ClientError
) -> DeliveredHow | None:
    if code_of(error) == "NoSuchUpload":
        # Completed by a request whose answer was lost, or aborted by the next holder.
        hold.check()
        hold.upload_ended()
        return look(store, item)
    try:
        abort(store, item.key, upload_id)
        hold.upload_ended()
    except (ClientError, BotoCoreError) as left:
        # It stays written down, and whoever tries next aborts it first. Going on from here would
        # forget it, and its parts would stay in the bucket unseen.
        if is_precondition(error) or is_busy(error):
            raise left from error
        error.add_note(f"The upload {upload_id} could not be aborted: {left}")
    if is_precondition(error):
        return look(store, item)
    if is_busy(error):
        return None
    raise error
