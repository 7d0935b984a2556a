"""Every answer of the collector, byte for byte (sections 3.1.12 and 3.9).

All bodies are compact JSON with an integer `code` equal to the status: SDKs act on it. `detail`
is an extra sentence where the documented keys don't say what is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from tailrace.collect.rates import Throttled
from tailrace.errors import BadRequest

Headers = list[tuple[bytes, bytes]]

# Echoed text is cut here, as every stored string is (section 3.1.3).
ECHO_LENGTH_MAX = 1024

JSON_HEADERS: Headers = [
    (b"content-type", b"application/json"),
    (b"access-control-allow-origin", b"*"),
]
_TEXT_HEADERS: Headers = [
    (b"content-type", b"text/plain; charset=utf-8"),
    (b"access-control-allow-origin", b"*"),
]

# The bodies that senders of forms look for (D15); the last is what old browsers are told by.
SUCCESS = "success"
INVALID_KEY = "invalid_api_key"
THROTTLED = "throttled"
_TOO_LARGE = "Request Entity Too Large"
_INVALID_JSON = "Invalid JSON request body"

_PREFLIGHT_DEFAULT = b"Content-Type, Content-Encoding, Authorization"
_HEADER_NAMES = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~-]+(?: *, *[A-Za-z0-9!#$%&'*+.^_`|~-]+)*")


class Answer(msgspec.Struct, frozen=True):
    """A status, a body and the headers beside type and length."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    kind: Literal["json", "text"] = "json"


def headers_of(answer: Answer) -> Headers:
    """Return all headers of an answer, but for the connection's."""
    first = JSON_HEADERS if answer.kind == "json" else _TEXT_HEADERS
    return [*first, (b"content-length", b"%d" % len(answer.body)), *answer.headers]


class Refused(BadRequest):
    """The request is answered with `answer` and nothing of it is stored.

    `project` is whose key it came with, set once that is known.
    """

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.body.decode())
        self.answer = answer
        self.project: int | None = None


def accepted(stamp_micros: int, body_bytes: int, events: int) -> Answer:
    """Return the 200; all four integers are required by SDKs, in this order."""
    return Answer(
        200,
        b'{"code":200,"server_upload_time":%d,"payload_size_bytes":%d,"events_ingested":%d}'
        % (stamp_micros // 1000, body_bytes, events),
    )


def failure(
    status: int,
    error: str,
    keys: Mapping[str, object] | None = None,
    *,
    detail: str | None = None,
    headers: Sequence[tuple[bytes, bytes]] = (),
) -> Answer:
    """Return an answer that isn't 200: `code`, `error`, the further `keys`, then `detail`."""
    body: dict[str, object] = {"code": status, "error": error, **(keys or {})}
    if detail is not None:
        body["detail"] = detail
    return Answer(status, msgspec.json.encode(body), tuple(headers))


def invalid_path() -> Answer:
    """Return the 400 for a path that isn't served, whatever the method (D14)."""
    return failure(400, "Invalid request path")


def method_not_allowed(methods: Sequence[str]) -> Answer:
    """Return the 405 for any other than the path's methods and OPTIONS."""
    allowed = ", ".join((*methods, "OPTIONS"))
    return failure(405, "Method not allowed", headers=[(b"allow", allowed.encode())])


def forbidden() -> Answer:
    """Return the 403 for wrong keys in Basic authentication (D36)."""
    return text(403, "Invalid API Key")


def too_long() -> Answer:
    """Return the 414 for a query that is too long; the same form may be posted."""
    return text(414, "The address is too long: send the form with POST.")


def no_form(content_type: str) -> Answer:
    """Return the 415 for a body that is no form."""
    kinds = "application/x-www-form-urlencoded or multipart/form-data"
    return text(415, f"Content-Type {content_type!r} is no form: send {kinds}.")


def text(status: int, sentence: str) -> Answer:
    """Return an answer of plain text."""
    return Answer(status, echo(sentence).encode(), kind="text")


def as_text(answer: Answer) -> Answer:
    """Return what an answer of JSON says, as the endpoints that take forms say it (D15)."""
    if answer.kind == "text":
        return answer
    told = msgspec.json.decode(answer.body)
    error, detail = told.get("error", SUCCESS), told.get("detail")
    if answer.status == 429:
        error, detail = THROTTLED, None
    elif answer.status == 413 and detail is None:
        error = _TOO_LARGE
    elif error == _INVALID_JSON and detail is not None:
        # A form is no JSON: what is wrong is its bytes, or a field that the detail names.
        error, detail = detail, None
    body = error if detail is None else f"{error}: {detail}"
    return Answer(answer.status, body.encode(), answer.headers, "text")


def missing_body() -> Answer:
    """Return the 400 for an empty body."""
    return failure(400, "Missing request body")


def invalid_json(detail: str | None = None) -> Answer:
    """Return the 400 for a body that is no JSON object, or none that can be read."""
    return failure(400, _INVALID_JSON, detail=detail)


def invalid_event_json() -> Answer:
    """Return the 400 for an element of `events` that is no object."""
    return failure(400, "Invalid event JSON")


def missing_field(name: str, detail: str | None = None) -> Answer:
    """Return the 400 for a request-level field; it makes SDKs drop the whole batch."""
    return failure(400, "Request missing required field", {"missing_field": name}, detail=detail)


def invalid_api_key(api_key: str, detail: str | None = None) -> Answer:
    """Return the 400 that SDKs match by its exact text; a detail is for people."""
    return failure(400, f"Invalid API key: {echo(api_key)}", detail=detail)


def too_large(detail: str | None = None) -> Answer:
    """Return the 413 that makes SDKs split the batch."""
    return failure(413, "Payload too large", detail=detail)


def throttled(who: Throttled) -> Answer:
    """Return the 429: nothing is stored, SDKs wait with the named events and repeat the others."""
    keys: dict[str, object] = {
        "eps_threshold": who.rate.events_per_second,
        "throttled_devices": who.devices,
        "throttled_users": who.users,
    }
    if who.rate.events_per_day is not None:
        # SDKs drop the events of those that are named here.
        keys["exceeded_daily_quota_users"] = who.quota_users
        keys["exceeded_daily_quota_devices"] = who.quota_devices
    keys["throttled_events"] = who.events
    detail = "Send fewer events at once: waiting does not help." if who.endless else None
    return failure(429, "Too many requests for some devices and users", keys, detail=detail)


def too_slow() -> Answer:
    """Return the 408 for a body that didn't come in time."""
    return failure(408, "Request timeout", detail="The body did not arrive in time.")


def unknown_encoding(encoding: str) -> Answer:
    """Return the 415 for a Content-Encoding other than gzip and identity."""
    return failure(
        415,
        "Unsupported content encoding",
        detail=f"Content-Encoding {echo(encoding)!r} is not known; send gzip or none.",
        headers=[(b"accept-encoding", b"gzip, identity")],
    )


def unavailable(reason: str) -> Answer:
    """Return the 503: surely nothing was stored, a repeat is safe."""
    return failure(503, "Service unavailable", detail=reason, headers=[(b"retry-after", b"1")])


def maybe_stored() -> Answer:
    """Return the 500: the request is stored wholly or not at all; an insert_id makes it safe."""
    return failure(
        500,
        "Internal server error",
        detail="The request may have been stored; repeat it with the same insert_id values.",
    )


def preflight(requested_headers: bytes | None) -> Answer:
    """Return the answer to OPTIONS on any path; browsers send JSON and gzip headers."""
    allowed = requested_headers or b""
    if len(allowed) > ECHO_LENGTH_MAX or not _HEADER_NAMES.fullmatch(allowed):
        allowed = _PREFLIGHT_DEFAULT
    return Answer(
        200,
        b'{"code":200}',
        (
            (b"access-control-allow-methods", b"POST, GET, OPTIONS"),
            (b"access-control-allow-headers", allowed),
            (b"access-control-max-age", b"86400"),
            (b"vary", b"Access-Control-Request-Headers"),
        ),
    )


def echo(text: str) -> str:
    """Return text of a client cut and without what UTF-8 can't hold."""
    return text[:ECHO_LENGTH_MAX].encode("utf-8", "replace").decode()
