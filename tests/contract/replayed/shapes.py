"""The requests of SDKs that no registry here has, byte for byte: head, JSON, compression.

They are written from what these SDKs are known to send. They show that the collector takes such
requests, not that the SDKs work.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

Event = Mapping[str, Any]

UPLOADED = "2026-11-23T13:00:01.250Z"
_DIAGNOSTICS: dict[str, list[str]] = {"malformed_events": [], "error_logs": []}


class Shape(msgspec.Struct, frozen=True):
    """How an SDK writes a request: its own head lines, and its body of events."""

    head: str
    body: Callable[[str, Sequence[Event]], str]
    event: Callable[[int, Event], dict[str, Any]]
    gzip: bool

    def request(self, path: str, port: int, api_key: str, events: Sequence[Event]) -> bytes:
        """Return all bytes of a request with these events, as the SDK completes them."""
        completed = [self.event(place, event) for place, event in enumerate(events)]
        content = self.body(api_key, completed).encode()
        if self.gzip:
            content = gzip.compress(content, mtime=0)
        head = self.head.format(path=path, host=f"127.0.0.1:{port}", length=len(content))
        return head.replace("\n", "\r\n").encode() + content


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


_JAVA_NULLS = (
    *("version_name", "platform", "os_name", "device_brand", "device_manufacturer", "idfa"),
    *("device_model", "carrier", "country", "region", "city", "dma", "idfv", "adid"),
    *("android_id", "language", "ip", "device_id", "user_id"),
)


def _java_event(place: int, event: Event) -> dict[str, Any]:
    # Everything is there, as null or as nothing, in the order of a hash map.
    return {
        "session_id": -1,
        "groups": {},
        "group_properties": {},
        "user_properties": {},
        **dict.fromkeys(_JAVA_NULLS),
        "library": "amplitude-java/1.12.4",
        "event_id": place,
        **event,
    }


def _java_body(api_key: str, events: Sequence[Event]) -> str:
    return _compact({"options": {"min_id_length": 5}, "api_key": api_key, "events": events})


def _go_event(place: int, event: Event) -> dict[str, Any]:
    groups = event.get("groups")
    lists = {} if groups is None else {"groups": {kind: [one] for kind, one in groups.items()}}
    return {**event, **lists, "library": "amplitude-go/1.1.0"}


def _go_body(api_key: str, events: Sequence[Event]) -> str:
    # Go writes these characters as escapes, so that the text can stand in a page.
    text = _compact({"api_key": api_key, "events": events})
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _mobile_event(library: str, platform: str) -> Callable[[int, Event], dict[str, Any]]:
    def complete(place: int, event: Event) -> dict[str, Any]:
        return {
            "session_id": 1795438800000,
            "event_id": place + 1,
            "platform": platform,
            "os_name": platform.lower(),
            "language": "en",
            "carrier": "Unknown",
            "ip": "$remote",
            "library": library,
            "version_name": "1.2.3",
            **event,
        }

    return complete


def _mobile_body(api_key: str, events: Sequence[Event]) -> str:
    # Put together from texts, so the order is this one.
    return (
        f'{{"api_key":{_compact(api_key)},"client_upload_time":"{UPLOADED}",'
        f'"events":{_compact(events)},"options":{{"min_id_length":5}},'
        f'"request_metadata":{{"sdk":{_compact(_DIAGNOSTICS)}}}}}'
    )


JAVA = Shape(
    "POST {path} HTTP/1.1\nContent-Type: application/json\nAccept: application/json\n"
    "User-Agent: Java/17.0.12\nHost: {host}\nConnection: keep-alive\n"
    "Content-Length: {length}\n\n",
    _java_body,
    _java_event,
    gzip=False,
)
GO = Shape(
    "POST {path} HTTP/1.1\nHost: {host}\nUser-Agent: Go-http-client/1.1\n"
    "Content-Length: {length}\nAccept: */*\nContent-Type: application/json\n"
    "Accept-Encoding: gzip\n\n",
    _go_body,
    _go_event,
    gzip=False,
)
GO_GZIP = Shape(
    "POST {path} HTTP/1.1\nHost: {host}\nUser-Agent: Go-http-client/1.1\n"
    "Content-Length: {length}\nAccept: */*\nContent-Encoding: gzip\n"
    "Content-Type: application/json\nAccept-Encoding: gzip\n\n",
    _go_body,
    _go_event,
    gzip=True,
)
KOTLIN = Shape(
    "POST {path} HTTP/1.1\nContent-Type: application/json; charset=utf-8\n"
    "Accept: application/json\nContent-Encoding: gzip\n"
    "User-Agent: Dalvik/2.1.0 (Linux; U; Android 14; Pixel 8 Build/UQ1A)\nHost: {host}\n"
    "Connection: Keep-Alive\nAccept-Encoding: gzip\nContent-Length: {length}\n\n",
    _mobile_body,
    _mobile_event("amplitude-analytics-android/1.20.0", "Android"),
    gzip=True,
)
SWIFT = Shape(
    "POST {path} HTTP/1.1\nHost: {host}\nContent-Type: application/json; charset=utf-8\n"
    "Connection: keep-alive\nAccept: application/json\n"
    "User-Agent: Shop/1 CFNetwork/1494.0.7 Darwin/23.4.0\nContent-Length: {length}\n"
    "Content-Encoding: gzip\nAccept-Language: en-GB,en;q=0.9\nAccept-Encoding: gzip, deflate\n\n",
    _mobile_body,
    _mobile_event("amplitude-swift/1.13.0", "iOS"),
    gzip=True,
)
