"""Put an object into a bucket: only if it is absent, or in place of other content if asked to.

Called for every data file, manifest and marker. Doing it twice puts nothing twice.
"""

from __future__ import annotations

from typing import IO, Any, cast

from botocore.exceptions import ClientError

from tailrace.errors import Transient
from tailrace.export.multipart import replace_in_parts, upload_once
from tailrace.export.objects import (
    Hold,
    Item,
    ObjectConflict,
    Store,
    check_stored,
    checked_body,
    is_busy,
    is_precondition,
    look,
    object_options,
)
from tailrace.export.parts import MULTIPART_BYTES, crc32_text
from tailrace.state.delivery import DeliveredHow

# A 409 says that another writer is at this very key; more than this many in a row is no accident.
TRIES_MAX = 3


class Contended(Transient):
    """Other writers kept changing this key; try later."""


def put_if_absent(store: Store, item: Item, hold: Hold) -> DeliveredHow:
    """Put the object, or find that it is there with our bytes.

    Raise `ObjectConflict` where another object has the name, `Contended` after repeated 409s,
    `Unconfirmed` where the store's 200 names no object, `Corrupt` where the archive's file is not
    what was sealed, and botocore's errors.
    """
    put_once = _put_once if item.size_bytes < MULTIPART_BYTES else upload_once
    for _ in range(TRIES_MAX):
        how = put_once(store, item, hold)
        if how is not None:
            return how
    raise Contended(
        f"Cannot put s3://{store.bucket}/{item.key}: other writers were at the same key "
        f"{TRIES_MAX} times in a row. It is tried again."
    )


def put_replacing(store: Store, item: Item, hold: Hold) -> DeliveredHow:
    """Put the object, find it there with our bytes, or replace one of other content.

    Only for a manual export with *Overwrite previously exported data*, whose run is alone with its
    keys. Raise what `put_if_absent` raises, and what the hold does before anything is replaced.
    """
    try:
        return put_if_absent(store, item, hold)
    except ObjectConflict:
        hold.check()
    if item.size_bytes < MULTIPART_BYTES:
        _send(store, item, hold, object_options(store, item))
    else:
        replace_in_parts(store, item, hold)
    return "replaced"


def _put_once(store: Store, item: Item, hold: Hold) -> DeliveredHow | None:
    capabilities = store.capabilities
    if not capabilities.conditional_put and look(store, item):
        return "found"
    options = object_options(store, item)
    if capabilities.conditional_put:
        options["IfNoneMatch"] = "*"
    try:
        _send(store, item, hold, options)
    except ClientError as error:
        if is_precondition(error):
            return look(store, item)
        if is_busy(error):
            return None
        raise
    return "put"


def _send(store: Store, item: Item, hold: Hold, options: dict[str, Any]) -> None:
    if store.capabilities.checksums:
        options["ChecksumCRC32"] = crc32_text(item.crc32)
    with item.open() as file:
        body = checked_body(store, item, file, hold)
        answer = store.client.put_object(
            Bucket=store.bucket,
            Body=cast("IO[bytes]", body),
            ContentLength=item.size_bytes,
            **options,
        )
    check_stored(store, item, answer)
