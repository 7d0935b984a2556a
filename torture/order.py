"""The order in which objects came: no marker before what it stands for, nothing ever changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tailrace.clock import MICROS
from tailrace.hours import Hour
from tailrace.seal.names import manifest_key, marker_key
from torture.journal import Happening
from torture.landed import Copy
from torture.timeline import Timeline

_PROBE = "_tailrace/access-check-"
# The journal and the timeline look at the machine's clock at different moments.
SLACK_SECONDS = 0.02

_Place = tuple[str, str]


def prove_order(
    happenings: Iterable[Happening], copies: Iterable[Copy], timeline: Timeline
) -> Iterator[str]:
    """Yield what was changed or removed, and what came before that which it stands for."""
    copies = list(copies)
    buckets = {copy.bucket for copy in copies}
    created: dict[_Place, tuple[int, Happening]] = {}
    for number, one in enumerate(happenings):
        if one.bucket not in buckets or _PROBE in one.key:
            continue
        place = one.bucket, one.key
        if one.kind != "created" or place in created:
            yield f"s3://{one.bucket}/{one.key} was {one.kind} after it had been delivered"
        else:
            created[place] = number, one
    for copy in copies:
        yield from _check_copy(copy, created, timeline)


def _check_copy(
    copy: Copy, created: dict[_Place, tuple[int, Happening]], timeline: Timeline
) -> Iterator[str]:
    for (scope, hour), checked in copy.manifests.items():
        files = list(checked.keys)
        manifest = manifest_key(copy.prefix, scope, hour)
        marker = marker_key(copy.prefix, scope, hour)
        turns = []
        for key in (*files, manifest, marker):
            found = created.get((copy.bucket, key))
            if found is None:
                yield f"s3://{copy.bucket}/{key} is not in the server's journal"
                break
            turns.append(found[0])
        else:
            if turns and max(turns) != turns[-1]:
                yield f"s3://{copy.bucket}/{marker} came before a file or the manifest"
            if max(turns[:-1]) != turns[-2]:
                yield f"s3://{copy.bucket}/{manifest} came before a file"
            yield from _check_hour(created[copy.bucket, marker][1], hour, timeline)
            for key, file in zip(files, checked.record.files, strict=True):
                first = created[copy.bucket, key][1]
                if (first.size_bytes, first.sha256) != (file.bytes, file.sha256):
                    yield f"s3://{copy.bucket}/{key} came as something else than it is now"


def _check_hour(marker: Happening, hour: Hour, timeline: Timeline) -> Iterator[str]:
    slack = int(SLACK_SECONDS * MICROS * timeline.rate)
    if timeline.of_machine(marker.at_micros) < hour.end_micros - slack:
        yield f"s3://{marker.bucket}/{marker.key} came before its hour was over"
