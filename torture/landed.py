"""What lies in the buckets at the end of a run, read and checked as their owner would."""

from __future__ import annotations

import hashlib
import re
import zlib
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence

import msgspec

from tailrace.demo.seaweed import Seaweed
from tailrace.errors import Corrupt
from tailrace.hours import Hour
from tailrace.seal.manifest import SealRecord
from tailrace.seal.merges import MergedId
from tailrace.seal.names import MANIFEST_FOLDER, marker_key, parse_file_name
from tailrace.seal.proof import CheckedManifest, check_chain, check_manifest

_PROBE = "_tailrace/access-check-"
_MANIFEST = re.compile(rf"{MANIFEST_FOLDER}/(-?[1-9][0-9]*)/\1_([0-9-]{{10}})_([0-9]+)\.json")


class Properties(msgspec.Struct, frozen=True, gc=False):
    """Which event of which attempt a line is of."""

    client: int
    request: int
    index: int
    attempt: int


class Line(msgspec.Struct, frozen=True, gc=False):
    """The columns of an exported line that the proof needs."""

    app: int
    amplitude_id: int
    device_id: str
    event_properties: Properties
    server_upload_time: str
    user_id: str | None
    uuid: str


class Found(msgspec.Struct, frozen=True, gc=False):
    """A line, and the hour of the file that it is in."""

    line: Line
    hour: Hour


class FoundMerge(msgspec.Struct, frozen=True, gc=False):
    """A merged ID, and the hour of the file that it is in."""

    merge: MergedId
    hour: Hour


_decode_line = msgspec.json.Decoder(Line).decode
_decode_merge = msgspec.json.Decoder(MergedId).decode


class Copy:
    """All objects below one prefix of a bucket."""

    def __init__(self, server: Seaweed, bucket: str, prefix: str) -> None:
        self.bucket = bucket
        self.prefix = prefix
        self._client = server.client(server.owner)
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        listed = [item["Key"] for page in pages for item in page.get("Contents", [])]
        self.keys = {key for key in listed if not key.removeprefix(prefix).startswith(_PROBE)}
        self.manifests: dict[tuple[int, Hour], CheckedManifest] = {}
        self._bodies: dict[tuple[int, Hour], bytes] = {}
        for key in self.keys:
            match = _MANIFEST.fullmatch(key.removeprefix(prefix))
            if match is not None:
                place = int(match[1]), Hour.parse(f"{match[2]}T{match[3]:0>2}")
                self._bodies[place] = self.body(key)
                self.manifests[place] = check_manifest(self._bodies[place])

    def body(self, key: str) -> bytes:
        """Return an object's bytes."""
        return self._client.get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def scopes(self) -> dict[int, list[Hour]]:
        """Return the hours of each scope that has any, oldest first."""
        hours: dict[int, list[Hour]] = defaultdict(list)
        for scope, hour in sorted(self.manifests):
            hours[scope].append(hour)
        return dict(hours)

    def check_whole(self, last: Hour) -> Iterator[str]:
        """Yield what is wrong with the copy in itself: files, markers, digests, strangers.

        Hours after `last` may be on their way.
        """
        known: set[str] = set()
        for (scope, hour), checked in self.manifests.items():
            record = checked.record
            if (record.scope, record.hour) != (scope, str(hour)):
                yield f"{self._at(scope, hour)}: its manifest is of {record.scope} {record.hour}"
            marker = marker_key(self.prefix, scope, hour)
            known |= {marker, *checked.keys, self._manifest_key(scope, hour)}
            if marker not in self.keys and hour <= last:
                yield f"{self._at(scope, hour)}: there is a manifest and no marker"
            for key, file in zip(checked.keys, record.files, strict=True):
                if key not in self.keys:
                    yield f"{self._at(scope, hour)}: {key} is named and not there"
                    continue
                body = self.body(key)
                if hashlib.sha256(body).hexdigest() != file.sha256 or len(body) != file.bytes:
                    yield f"{key} is not what its manifest says"
        for key in sorted(self.keys - known):
            if key.endswith("_complete"):
                yield f"{key} is a marker without a manifest"
            elif not self._may_be_early(key):
                yield f"{key} belongs to no manifest"

    def _may_be_early(self, key: str) -> bool:
        """Whether it is a file of an hour that is not complete here."""
        name = parse_file_name(key.rsplit("/", 1)[1])
        return (name.scope, name.hour) not in self.manifests

    def check_chains(self) -> Iterator[str]:
        """Yield each scope whose chain of digests breaks, or does not begin at its beginning."""
        for scope, hours in self.scopes().items():
            try:
                chain = check_chain([self._bodies[scope, hour] for hour in hours])
            except Corrupt as error:
                yield str(error)
                continue
            if chain[0].record.previous is not None:
                yield f"the chain of {scope} begins after {chain[0].record.previous.hour}"

    def lines(self, scope: int) -> Iterator[Found]:
        """Yield every line of a project, with the hour of its file."""
        for line, hour in self._lines(scope):
            yield Found(_decode_line(line), hour)

    def merged(self, organization: int) -> Iterator[FoundMerge]:
        """Yield every merged ID of an organization, with the hour of its file."""
        for line, hour in self._lines(-organization):
            yield FoundMerge(_decode_merge(line), hour)

    def _lines(self, scope: int) -> Iterator[tuple[bytes, Hour]]:
        for hour in self.scopes().get(scope, []):
            checked = self.manifests[scope, hour]
            for key, file in zip(checked.keys, checked.record.files, strict=True):
                # One shot, one member: what follows a first member would be lost here.
                text = zlib.decompress(self.body(key), 31)
                lines = text.splitlines()
                if len(lines) != file.lines:
                    raise Corrupt(f"{key} has {len(lines)} lines, not {file.lines}")
                for line in lines:
                    yield line, hour

    def records(self, scope: int) -> dict[Hour, SealRecord]:
        """Return a scope's seal records."""
        return {hour: one.record for (of, hour), one in self.manifests.items() if of == scope}

    def _manifest_key(self, scope: int, hour: Hour) -> str:
        return f"{self.prefix}{MANIFEST_FOLDER}/{scope}/{scope}_{hour.date}_{hour.of_day}.json"

    def _at(self, scope: int, hour: Hour) -> str:
        return f"s3://{self.bucket}/{self.prefix} {scope} {hour}"


def same_hours(
    main: Copy, places: Sequence[Copy], scope: int, due: Collection[Hour]
) -> Iterator[str]:
    """Yield the due hours of `main` that a destination has at no place, and any that differs.

    A destination that was moved has some hours at its former places.
    """
    for hour in main.scopes()[scope]:
        there, whole = main.manifests[scope, hour], False
        for copy in places:
            here = copy.manifests.get((scope, hour))
            whole = whole or marker_key(copy.prefix, scope, hour) in copy.keys
            if here is not None and here.sha256 != there.sha256:
                yield f"s3://{copy.bucket}/{copy.prefix} has {hour} of {scope} differently"
        if hour in due and not whole:
            copy = places[-1]
            yield f"s3://{copy.bucket}/{copy.prefix} lacks {hour} of {scope}"
