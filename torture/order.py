"""The order in which objects came: no marker before what it stands for, nothing ever changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Protocol

from tailrace.clock import MICROS
from tailrace.hours import Hour
from tailrace.seal.names import manifest_key, marker_key
from tailrace.seal.proof import CheckedManifest
from torture.journal import Happening
from torture.timeline import Timeline

_PROBE = "_tailrace/access-check-"
# The journal and the timeline look at the machine's clock at different moments.
SLACK_SECONDS = 0.02

_Place = tuple[str, str]


class Delivered(Protocol):
    """What lies below one prefix of a bucket at the end."""

    @property
    def bucket(self) -> str: ...
    @property
    def prefix(self) -> str: ...
    @property
    def keys(self) -> AbstractSet[str]: ...
    @property
    def manifests(self) -> Mapping[tuple[int, Hour], CheckedManifest]: ...


def prove_order(
    happenings: Iterable[Happening], copies: Iterable[Delivered], timeline: Timeline
) -> Iterator[str]:
    """Yield what was changed or removed, and what came before that which it stands for."""
    copies = list(copies)
    buckets = {copy.bucket for copy in copies}
    created: dict[_Place, tuple[int, Happening]] = {}
    for number, one in enumerate(happenings):
        if one.bucket not in buckets or _PROBE in one.key:
            continue
        place = one.bucket, one.key
        if not any(c.bucket == one.bucket and one.key.startswith(c.prefix) for c in copies):
            yield f"s3://{one.bucket}/{one.key} is below no destination's prefix"
        if one.kind != "created" or place in created:
            yield f"s3://{one.bucket}/{one.key} was {one.kind} after it had been delivered"
        else:
            created[place] = number, one
    for copy in copies:
        yield from _check_copy(copy, created, timeline)


def _check_copy(
    copy: Delivered, created: dict[_Place, tuple[int, Happening]], timeline: Timeline
) -> Iterator[str]:
    for (scope, hour), checked in copy.manifests.items():
        files = list(checked.keys)
        manifest = manifest_key(copy.prefix, scope, hour)
        marker = marker_key(copy.prefix, scope, hour)
        # The newest hour may have its manifest and not its marker when the run ends.
        keys = [*files, manifest, *([marker] if marker in copy.keys else [])]
        places = [(copy.bucket, key) for key in keys]
        unseen = [key for bucket, key in places if (bucket, key) not in created]
        if unseen:
            yield f"s3://{copy.bucket}/{unseen[0]} is not in the server's journal"
            continue
        turns = [created[place][0] for place in places]
        for number, key in enumerate(keys[len(files) :], start=len(files)):
            if max(turns[: number + 1]) != turns[number]:
                yield f"s3://{copy.bucket}/{key} came before what it stands for"
        if marker in copy.keys:
            yield from _check_hour(created[copy.bucket, marker][1], hour, timeline)
        for key, file in zip(files, checked.record.files, strict=True):
            first = created[copy.bucket, key][1]
            if (first.size_bytes, first.sha256) != (file.bytes, file.sha256):
                yield f"s3://{copy.bucket}/{key} came as something else than it is now"


def _check_hour(marker: Happening, hour: Hour, timeline: Timeline) -> Iterator[str]:
    slack = int(SLACK_SECONDS * MICROS * timeline.rate)
    if timeline.of_machine(marker.at_micros) < hour.end_micros - slack:
        yield f"s3://{marker.bucket}/{marker.key} came before its hour was over"
