"""Check manifests from the bucket alone: each for itself, and a series of them as a chain.

Called by `inspect`, by the command line and by whoever keeps a bucket and trusts nobody.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from tailrace.errors import BadRequest, Corrupt, NewerFormat
from tailrace.hours import Hour
from tailrace.seal.manifest import (
    MANIFEST_FORMAT,
    RECORD_FORMAT,
    Manifest,
    PreviousHour,
    SealRecord,
    decode_record,
    digest,
    fault,
    schema_of,
)
from tailrace.seal.names import NO_NUMBER, FileName, file_name, parse_file_name, url_path


class _Format(msgspec.Struct):
    format: int


_decode_format = msgspec.json.Decoder(_Format).decode
_decode_manifest = msgspec.json.Decoder(Manifest).decode


class CheckedManifest(msgspec.Struct, frozen=True):
    """A manifest that holds together, decoded."""

    record: SealRecord
    sha256: str
    keys: tuple[str, ...]


def check_manifest(body: bytes) -> CheckedManifest:
    """Read a manifest and check its digest, its accounting, its names and keys.

    Raises `Corrupt` that says what does not hold, `NewerFormat` for a later release's manifest.
    """
    try:
        _known("manifest", _decode_format(body).format, MANIFEST_FORMAT)
        manifest = _decode_manifest(body)
        seal = bytes(manifest.seal)
        _check_digest(seal, manifest.seal_sha256)
        _known("seal record", _decode_format(seal).format, RECORD_FORMAT)
        record = decode_record(seal)
        schema = schema_of(record.scope, bytes(record.settings))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Corrupt(f"This is no manifest: {error}. Fetch the object again.") from error
    reason = _fault(manifest, record)
    if reason is None and record.schema != schema:
        reason = f"its settings make lines of {schema.keys} keys, but it says {record.schema.keys}"
    if reason is not None:
        raise Corrupt(
            f"The manifest of {record.scope} for {record.hour} does not hold: {reason}. "
            "Compare it with the one that tailrace sealed."
        )
    return CheckedManifest(record, manifest.seal_sha256, tuple(o.key for o in manifest.objects))


def check_chain(bodies: Iterable[bytes]) -> list[CheckedManifest]:
    """Check manifests of one scope, in the order of their hours, with nothing left out.

    Raises `Corrupt` naming the hour that is missing or was altered. What lies before the first and
    after the last one given can't be seen.
    """
    checked: list[CheckedManifest] = []
    for body in bodies:
        manifest = check_manifest(body)
        if checked:
            _check_link(checked[-1], manifest)
        checked.append(manifest)
    return checked


def _fault(manifest: Manifest, record: SealRecord) -> str | None:
    try:
        hour = Hour.parse(record.hour)
        names = [parse_file_name(file.name) for file in record.files]
    except BadRequest as error:
        return str(error)
    first = 1 if record.scope > 0 else NO_NUMBER
    wanted = [FileName(record.scope, hour, first + i) for i in range(len(names))]
    if names != wanted or (record.scope < 0 and len(names) > 1):
        return "its files are not numbered as files of this hour are"
    folders = {_folder(o.key, o.name) for o in manifest.objects}
    if [o.name for o in manifest.objects] != [file_name(n.scope, n.hour, n.number) for n in names]:
        return "its objects are not the seal record's files"
    if len(folders) > 1 or not all(f.endswith(f"{record.scope}/") for f in folders):
        return "its keys are not those of this hour's files"
    if any(o.url != url_path(o.key) for o in manifest.objects):
        return "a URL in it is not its key's"
    return fault(record)


def _check_digest(seal: bytes, sha256: str) -> None:
    if digest(seal) != sha256:
        raise Corrupt(
            f"This manifest does not hold: its seal record's SHA-256 is {digest(seal)}, but it "
            f"says {sha256}. It was altered; deliver it again."
        )


def _folder(key: str, name: str) -> str:
    return key.removesuffix(name) if key.endswith(name) else ""


def _check_link(before: CheckedManifest, after: CheckedManifest) -> None:
    scope = after.record.scope
    if before.record.scope != scope:
        raise Corrupt(
            f"The manifests are of {before.record.scope} and {scope}: a chain has one of them. "
            "Check each folder of manifests for itself."
        )
    link = after.record.previous
    distance = Hour.parse(after.record.hour).number - Hour.parse(before.record.hour).number
    if link == PreviousHour(before.record.hour, before.sha256, distance - 1):
        return
    if link is not None and link.hour != before.record.hour:
        raise Corrupt(
            f"The chain of {scope} breaks at {after.record.hour}: the hour before it is "
            f"{link.hour}, whose manifest is not here. Look for it in the bucket, or deliver it "
            "again."
        )
    raise Corrupt(
        f"The chain of {scope} breaks at {after.record.hour}: it does not follow "
        f"{before.record.hour} as that manifest is now. One of the two was altered; deliver both "
        "again."
    )


def _known(what: str, found: int, newest: int) -> None:
    if found > newest:
        raise NewerFormat(
            f"Cannot check this {what}: its format is {found}, this release knows {newest}. "
            "Use the newer release."
        )
