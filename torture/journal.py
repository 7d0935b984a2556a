"""The S3 server's own journal of all that happened in its buckets, in order and without a gap.

Listing a bucket now and then could miss a marker that was early by a moment, or an object that was
replaced in between. The journal misses nothing: it is what the server's replicas would follow.
"""

from __future__ import annotations

import base64
import json
import subprocess
import threading
from pathlib import Path
from typing import Any, Literal

import msgspec

from tailrace.demo import seaweed
from tailrace.demo.seaweed import Seaweed

_BUCKETS = "/buckets/"
_UPLOADS = ".uploads"
_SHA256 = "X-Amz-Meta-Tailrace-Sha256"
# The follower prints each event as indented JSON that ends with this line.
_LAST_LINE = b"}\n"

Kind = Literal["created", "replaced", "removed"]


class Happening(msgspec.Struct, frozen=True):
    """What happened to one object, and when by the machine's clock (microseconds).

    `sha256` is what its writer said of it, empty without.
    """

    at_micros: int
    bucket: str
    key: str
    kind: Kind
    size_bytes: int
    sha256: str


class Journal:
    """Follows the server until `stop`; happenings are kept in the order of the server."""

    def __init__(self, server: Seaweed) -> None:
        program = seaweed.find_program()
        assert program is not None
        self.happenings: list[Happening] = []
        self._following = subprocess.Popen(
            [
                *(str(program), "filer.meta.tail", f"-filer={_filer_of(server)}"),
                *(f"-pathPrefix={_BUCKETS}", "-timeAgo=1m"),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._thread = threading.Thread(target=self._read, name="journal", daemon=True)
        self._thread.start()

    def stop(self) -> list[Happening]:
        """End, and return all that happened."""
        if self._following.poll() is not None:
            raise RuntimeError("the follower of the S3 server's journal ended by itself")
        self.end()
        return self.happenings

    def end(self) -> None:
        """Leave no process behind."""
        self._following.kill()
        self._following.wait()
        self._thread.join()
        if self._following.stdout is not None:
            self._following.stdout.close()

    def _read(self) -> None:
        assert self._following.stdout is not None
        lines: list[bytes] = []
        for line in self._following.stdout:
            lines.append(line)
            if line == _LAST_LINE:
                text = b"".join(lines)
                lines = []
                self._take(json.loads(text[text.index(b"{") :]))

    def _take(self, event: dict[str, Any]) -> None:
        for one in (event, *event.get("events", [])):
            at_micros = int(one["tsNs"]) // 1000
            happening = _happening(at_micros, one["directory"], one["eventNotification"])
            if happening is not None:
                self.happenings.append(happening)


def _happening(at_micros: int, folder: str, event: dict[str, Any]) -> Happening | None:
    old, new = event["oldEntry"], event["newEntry"]
    entry = new or old
    if entry is None or entry["isDirectory"]:
        return None
    path = f"{folder}/{entry['name']}".removeprefix(_BUCKETS)
    bucket, _, key = path.partition("/")
    if not key or bucket.startswith(".") or key.startswith(_UPLOADS):
        return None
    kind: Kind = "created" if old is None else "removed" if new is None else "replaced"
    sha256 = base64.b64decode((entry.get("extended") or {}).get(_SHA256, "")).decode()
    return Happening(at_micros, bucket, key, kind, int(entry["attributes"]["fileSize"]), sha256)


def _filer_of(server: Seaweed) -> str:
    words = Path(f"/proc/{server.process_id}/cmdline").read_text().split("\0")
    ports = dict(word.split("=", 1) for word in words if word.startswith("-filer.port"))
    return f"127.0.0.1:{ports['-filer.port']}.{ports['-filer.port.grpc']}"
