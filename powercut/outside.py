"""What lies outside the machine and so outlives a cut: the bucket, and what was promised to whom.

The workload marks each promise in its trace at the moment from which it holds; the aftermath
begins with the promises that were marked before the cut.
"""

from __future__ import annotations

import base64
import copy
import zlib
from collections.abc import Callable
from typing import Any

import msgspec
from botocore.exceptions import ClientError

from tailrace.state.delivery import Destination


class StoredObject(msgspec.Struct, frozen=True):
    """An object of the bucket."""

    body: bytes
    metadata: dict[str, str]


class Sent(msgspec.Struct, frozen=True, tag="sent"):
    """A request is on its way into the log; from here on it may be stored. `events` by number."""

    request: int
    project: int
    events: tuple[int, ...]


class Acknowledged(msgspec.Struct, frozen=True, tag="acknowledged"):
    """A request was answered with 200. `stamp` is its append time in microseconds."""

    request: int
    stamp: int


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """A request was answered with 503: nothing of it is stored."""

    request: int


class Put(msgspec.Struct, frozen=True, tag="put"):
    """The bucket took an object."""

    key: str
    body: bytes
    metadata: dict[str, str]


class Passed(msgspec.Struct, frozen=True, tag="passed"):
    """Time went by."""

    now_micros: int
    steady_micros: int


class Initialised(msgspec.Struct, frozen=True, tag="initialised"):
    """`tailrace init` has printed its keys."""

    organization: int
    projects: tuple[int, ...]
    api_keys: tuple[str, ...]


class DestinationAdded(msgspec.Struct, frozen=True, tag="destination"):
    """A destination was shown as active."""

    destination: int


class ClockFixed(msgspec.Struct, frozen=True, tag="clock-fixed"):
    """The folder's clock was fixed by its first start."""

    offset_micros: int


class ClockAccepted(msgspec.Struct, frozen=True, tag="clock-accepted"):
    """`tailrace clock accept` has said so."""

    accepted_micros: int


class Retired(msgspec.Struct, frozen=True, tag="retired"):
    """`tailrace log retire` has said so."""

    partition: int


class Kept(msgspec.Struct, frozen=True, tag="kept"):
    """A function that makes a file durable has returned. `path` lies below the data folder."""

    path: str
    content: bytes


class Asked(msgspec.Struct, frozen=True, tag="asked"):
    """No promise: the thread's next sync is asked for at this site."""

    site: str


Mark = (
    Sent
    | Acknowledged
    | Refused
    | Put
    | Passed
    | Initialised
    | DestinationAdded
    | ClockFixed
    | ClockAccepted
    | Retired
    | Kept
    | Asked
)

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Mark)


def encode_mark(mark: Mark) -> bytes:
    """Return a mark as the line that stands for it."""
    return _encoder.encode(mark) + b"\n"


def decode_mark(line: bytes) -> Mark:
    """Return the mark of a line."""
    mark: Mark = _decoder.decode(line)
    return mark


class Promises:
    """All that was promised up to a step."""

    def __init__(self) -> None:
        self.version = 0
        self.sent: dict[int, Sent] = {}
        self.acknowledged: dict[int, int] = {}
        self.refused: set[int] = set()
        self.objects: dict[str, StoredObject] = {}
        self.now_micros = 0
        self.steady_micros = 0
        self.initialised: Initialised | None = None
        self.destination: int | None = None
        self.clock_offset: int | None = None
        self.clock_accepted: int | None = None
        self.retired: set[int] = set()
        self.kept: dict[str, bytes] = {}

    def with_answers(self) -> Promises:
        """Return the same promises, to which more requests and answers may be added."""
        more = copy.copy(self)
        more.sent, more.acknowledged = dict(self.sent), dict(self.acknowledged)
        return more

    def take(self, line: bytes) -> None:
        """Add a marked promise; raise `ValueError` for one against an earlier one."""
        mark = decode_mark(line)
        if isinstance(mark, Asked):
            return
        self.version += 1
        match mark:
            case Sent() as sent:
                self.sent[sent.request] = sent
            case Acknowledged(request, stamp):
                self.acknowledged[request] = stamp
            case Refused(request):
                self.refused.add(request)
            case Put(key, body, metadata):
                if key in self.objects:
                    raise ValueError(f"{key} was put twice")
                self.objects[key] = StoredObject(body, metadata)
            case Passed(now, steady):
                self.now_micros, self.steady_micros = now, steady
            case Initialised() as initialised:
                self.initialised = initialised
            case DestinationAdded(destination):
                self.destination = destination
            case ClockFixed(offset):
                self.clock_offset = offset
            case ClockAccepted(accepted):
                self.clock_accepted = accepted
            case Retired(partition):
                self.retired.add(partition)
            case Kept(path, content):
                self.kept[path] = content


class Bucket:
    """The part of an S3 client that deliveries of small objects use, over objects in memory.

    Puts are conditional and their CRC32 is checked, as S3 does; `on_put` hears of each before it
    is answered.
    """

    def __init__(
        self, objects: dict[str, StoredObject], on_put: Callable[[Put], None] = lambda put: None
    ) -> None:
        self.objects = objects
        self._on_put = on_put

    def of(self, destination: Destination) -> Any:
        """Return a client of the destination's bucket; there is one."""
        return self

    def open_in(self, destination: Destination, region: str) -> Any:
        """As `of`."""
        return self

    def head_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803
        """Answer as S3 does."""
        found = self.objects.get(Key)
        if found is None:
            raise _error(404, "404", "HeadObject")
        return {
            "ETag": '"1"',
            "ContentLength": len(found.body),
            "Metadata": found.metadata,
        }

    def put_object(
        self,
        *,
        Bucket: str,  # noqa: N803
        Key: str,  # noqa: N803
        Body: Any,  # noqa: N803
        ContentLength: int,  # noqa: N803
        ContentType: str,  # noqa: N803
        Metadata: dict[str, str],  # noqa: N803
        IfNoneMatch: str,  # noqa: N803
        ChecksumCRC32: str,  # noqa: N803
    ) -> dict[str, Any]:
        """Answer as S3 does."""
        if Key in self.objects:
            raise _error(412, "PreconditionFailed", "PutObject")
        body = Body.read()
        crc = base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()
        if len(body) != ContentLength or crc != ChecksumCRC32:
            raise _error(400, "BadDigest", "PutObject")
        self.objects[Key] = StoredObject(body, Metadata)
        self._on_put(Put(Key, body, Metadata))
        return {"ETag": '"stored"'}


def _error(status: int, code: str, operation: str) -> ClientError:
    answer: Any = {
        "Error": {"Code": code, "Message": code},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(answer, operation)
