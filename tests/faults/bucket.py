"""`Bucket`: a store in a folder that puts if absent, and the proof that is read from it alone.

It stands for S3 where what fails is the disk; the real server is used where it matters.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import msgspec
from botocore.exceptions import ClientError

from tailrace.hours import Hour
from tailrace.seal.proof import CheckedManifest, check_chain, check_manifest
from tailrace.state.delivery import Destination

EVENTS_PER_REQUEST = 3


class Answers(msgspec.Struct):
    """What the clients were told: the numbers of requests by answer."""

    acknowledged: set[int] = msgspec.field(default_factory=set)
    refused: set[int] = msgspec.field(default_factory=set)
    unsure: set[int] = msgspec.field(default_factory=set)


class Bucket:
    """Objects as files of one folder. It is the client of every destination, too."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)

    def of(self, destination: Destination) -> Any:
        """Return the client of a destination."""
        return self

    def open_in(self, destination: Destination, region: str) -> Any:
        """Return the client in a region."""
        return self

    def put_object(self, *, Key: str, Body: Any, Metadata: dict[str, str], **more: Any) -> Any:
        """Put an object unless it is there."""
        assert more["IfNoneMatch"] == "*"
        path = self._path(Key)
        if path.exists():
            raise _error("PreconditionFailed", 412)
        body = Body.read()
        assert len(body) == more["ContentLength"]
        Path(f"{path}.meta").write_text(json.dumps(Metadata))
        path.write_bytes(body)
        return {"ETag": '"1"'}

    def head_object(self, *, Key: str, **more: Any) -> Any:
        """Tell size and metadata of an object."""
        path = self._path(Key)
        if not path.exists():
            raise _error("404", 404)
        metadata = json.loads(Path(f"{path}.meta").read_text())
        return {"ETag": '"1"', "ContentLength": path.stat().st_size, "Metadata": metadata}

    def objects(self) -> dict[str, bytes]:
        """Return all objects by key."""
        return {
            unquote(path.name): path.read_bytes()
            for path in sorted(self.folder.iterdir())
            if path.suffix != ".meta"
        }

    def _path(self, key: str) -> Path:
        return self.folder / quote(key, safe="")


def _error(code: str, status: int) -> ClientError:
    answer: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "Object")


def prove(objects: dict[str, bytes], answers: Answers) -> list[CheckedManifest]:
    """Check from the bucket alone: all that was answered 200 is there once, and nothing else.

    A request of which nobody can be sure is there once and whole, or not at all. The chain of the
    manifests is unbroken, each sum holds, each hour has its marker, no file is without a manifest.
    """
    bodies = [body for key, body in objects.items() if "_manifests/" in key]
    bodies = [body for body in bodies if check_manifest(body).record.scope > 0]
    hours = check_chain(sorted(bodies, key=lambda body: _hour(body).number))
    data = {key: body for key, body in objects.items() if key.endswith(".json.gz")}
    assert data.keys() == {key for hour in hours for key in hour.keys}
    markers = {key for key in objects if key.endswith("_complete")}
    for hour in hours:
        scope, at = hour.record.scope, Hour.parse(hour.record.hour)
        assert f"p/{scope}/{scope}_{at.date}_{at.of_day}_complete" in markers
    # One shot, one member: what follows a first member would be lost here.
    texts = [zlib.decompress(body, 31).splitlines() for body in data.values()]
    lines = [json.loads(line) for text in texts for line in text]
    assert len(lines) == sum(hour.record.exported for hour in hours)
    assert len({line["uuid"] for line in lines}) == len(lines)
    found = Counter(int(line["event_properties"]["request"]) for line in lines)
    doubled = {request: n for request, n in found.items() if n != EVENTS_PER_REQUEST}
    assert not doubled
    assert not answers.acknowledged - found.keys()
    assert found.keys() <= answers.acknowledged | answers.unsure
    return hours


def _hour(body: bytes) -> Hour:
    return Hour.parse(check_manifest(body).record.hour)
