"""Every answer of the two upload paths, through a real server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from tailrace.errors import BadRequest, ClockStepped, DiskReserve, Transient
from tailrace.log.record import Record

EVENT = {"event_type": "Opened", "user_id": "user-1"}
MISSING = "Request missing required field"
INVALID = "Invalid field values on some events"
SHORT = "Invalid id length for user_id or device_id"
Upload = Callable[..., dict[str, Any]]


def event(**keys: Any) -> dict[str, Any]:
    return {**EVENT, **keys}


@pytest.mark.parametrize("path", ["/2/httpapi", "/batch"])
def test_a_stored_upload_is_answered_to_the_letter(
    server: Any, path: str, upload: Upload, stamp: int
) -> None:
    body = json.dumps(upload(EVENT, EVENT)).encode()
    stored = len(server.records)

    reply = server.post(body, path)

    assert reply.status == 200
    assert reply.body == (
        b'{"code":200,"server_upload_time":%d,"payload_size_bytes":%d,"events_ingested":2}'
        % (stamp // 1000, len(body))
    )
    assert reply.headers["content-type"] == "application/json"
    record: Record = server.records[stored]
    assert (record.organization, record.project) == (100001, 300001)
    assert (record.endpoint, record.events, record.body) == (path, 2, body)
    assert record.client_address == "127.0.0.1"
    assert record.client_upload_micros is None


def missing_field(name: str) -> dict[str, Any]:
    return {"error": MISSING, "missing_field": name}


def missing(**fields: list[int]) -> dict[str, Any]:
    return {"error": MISSING, "events_with_missing_fields": fields}


def invalid(**fields: list[int]) -> dict[str, Any]:
    return {"error": INVALID, "events_with_invalid_fields": fields}


FLAG = "$skip_user_properties_sync"
NO_DEVICE = "00000000-0000-0000-0000-000000000000"
REFUSED_REQUESTS: list[tuple[str, Any, dict[str, Any]]] = [
    ("empty", b"", {"error": "Missing request body"}),
    ("blank", b" \n", {"error": "Missing request body"}),
    ("no json", b"{", {"error": "Invalid JSON request body"}),
    ("a list", b"[]", {"error": "Invalid JSON request body"}),
    ("a number", b"1", {"error": "Invalid JSON request body"}),
    ("no key", {"events": [EVENT]}, missing_field("api_key")),
    ("null key", {"api_key": None, "events": [EVENT]}, missing_field("api_key")),
    ("empty key", {"api_key": "", "events": [EVENT]}, missing_field("api_key")),
    ("no events", {"api_key": "KEY"}, missing_field("events")),
    ("null events", {"api_key": "KEY", "events": None}, missing_field("events")),
    ("empty events", {"api_key": "KEY", "events": []}, missing_field("events")),
]
REFUSED_KEYS: list[tuple[str, Any, str]] = [
    ("unknown", "nobody's", "nobody's"),
    ("odd", "a\u0000\n\u2028é", "a\u0000\n\u2028é"),
    ("not text", "\ud800x", "?x"),
    ("a number", 12, "12"),
    ("long", "k" * 5000, "k" * 1024),
]
REFUSED_EVENTS: list[tuple[str, list[Any], dict[str, Any]]] = [
    ("an event is null", [EVENT, None], {"error": "Invalid event JSON"}),
    ("an event is text", ["x"], {"error": "Invalid event JSON"}),
    (
        "all without a type",
        [{"user_id": "user-1"}, EVENT, *(event(event_type=blank) for blank in ("", " ", None))],
        missing(event_type=[0, 2, 3, 4]),
    ),
    (
        "no identifier",
        [EVENT, {"event_type": "a"}, event(user_id=""), event(user_id=None, device_id="  ")],
        missing(user_id=[1, 2, 3], device_id=[1, 2, 3]),
    ),
    (
        "every bad index",
        [*(event(time=bad) for bad in ("2020-01-01", 1.5, -1)), EVENT, event(time=True)],
        invalid(time=[0, 1, 2, 4]),
    ),
    ("several fields", [event(time="x", session_id="1")], invalid(time=[0], session_id=[0])),
    ("time after 9999", [event(time=253402300800000)], invalid(time=[0])),
    ("over a long", [event(session_id=2**63)], invalid(session_id=[0])),
    ("text as properties", [event(event_properties="x")], invalid(event_properties=[0])),
    ("a list as properties", [event(user_properties=[])], invalid(user_properties=[0])),
    ("number as text field", [event(platform=3)], invalid(platform=[0])),
    ("text as number", [event(price="3")], invalid(price=[0])),
    ("flag as number", [event(price=True)], invalid(price=[0])),
    ("list in a list of groups", [event(groups={"a": [["b"]]})], invalid(groups=[0])),
    ("object as group", [event(groups={"a": {}})], invalid(groups=[0])),
    ("text as plan", [event(plan="p")], invalid(plan=[0])),
    ("number in plan", [event(plan={"branch": 1})], invalid(plan=[0])),
    ("flag as id", [event(user_id=True)], invalid(user_id=[0])),
    ("text as flag", [event(**{FLAG: "yes"})], invalid(**{FLAG: [0]})),
    (
        "the list of bad user ids",
        [event(user_id=bad) for bad in (" Anonymous ", "nil", "N/A", "{}", "lmy47d", -1, 0)],
        invalid(user_id=[0, 1, 2, 3, 4, 5, 6]),
    ),
    (
        "the list of bad device ids",
        [event(device_id=bad) for bad in ("UNKNOWN", "undefined", NO_DEVICE, "None")],
        invalid(device_id=[0, 1, 2, 3]),
    ),
    (
        "short ids are repeated as invalid",
        [EVENT, event(user_id="abcd"), event(device_id="x")],
        {
            "error": SHORT,
            "events_with_invalid_fields": {"user_id": [1], "device_id": [2]},
            "events_with_invalid_id_lengths": {"user_id": [1], "device_id": [2]},
        },
    ),
    (
        "all kinds in one body",
        [event(user_id="abcd"), event(time="x"), {"user_id": "user-1"}],
        {
            "error": MISSING,
            "events_with_missing_fields": {"event_type": [2]},
            "events_with_invalid_fields": {"user_id": [0], "time": [1]},
            "events_with_invalid_id_lengths": {"user_id": [0]},
        },
    ),
    (
        "invalid before short",
        [event(user_id="abcd", time="x")],
        {
            "error": INVALID,
            "events_with_invalid_fields": {"time": [0], "user_id": [0]},
            "events_with_invalid_id_lengths": {"user_id": [0]},
        },
    ),
]
REFUSED: list[tuple[str, Any, dict[str, Any]]] = [
    *REFUSED_REQUESTS,
    *(
        (f"{name} key", {"api_key": key, "events": [EVENT]}, {"error": f"Invalid API key: {said}"})
        for name, key, said in REFUSED_KEYS
    ),
    *REFUSED_EVENTS,
]


@pytest.mark.parametrize(
    ("body", "answer"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_a_refused_upload_is_answered_to_the_letter_and_stores_nothing(
    server: Any, upload: Upload, api_key: str, body: Any, answer: dict[str, Any]
) -> None:
    stored = len(server.records)
    if isinstance(body, list):
        body = upload(*body)
    if isinstance(body, dict) and body.get("api_key") == "KEY":
        body = {**body, "api_key": api_key}

    reply = server.post(body)

    assert reply.status == 400
    assert reply.json == {"code": 400, **answer}
    assert list(reply.json)[:2] == ["code", "error"]
    assert b": " not in reply.body.replace(b"key: ", b"")
    assert reply.headers["access-control-allow-origin"] == "*"
    assert reply.headers["content-type"] == "application/json"
    assert len(server.records) == stored


GARBAGE: list[tuple[str, bytes, str]] = [
    ("NaN", b'{"a":NaN}', "NaN"),
    ("Infinity", b'{"a":[-Infinity]}', "Infinity"),
    ("out of range", b'{"a":1e400}', "1e400"),
    ("long integer", b'{"a":' + b"9" * 5000 + b"}", "out of range"),
    ("lone surrogate in a key", b'{"\\udfff":1}', "surrogate"),
    ("repeated key", b'{"a":1,"b":2,"a":1}', 'repeats the key "a"'),
    ("repeated nested key", b'{"x":[{"q":{"a":1,"a":2}}]}', 'repeats the key "a"'),
    ("repeated by an escape", b'{"a":1,"\\u0061":2}', 'repeats the key "a"'),
    ("hidden by a colon", b'{"a":"\\u003a","a":"\\u003A"}', 'repeats the key "a"'),
    ("41 layers", b'{"a":' * 41 + b"1" + b"}" * 41, "deeper than 40"),
    ("41 lists", b'{"a":' + b"[" * 40 + b"]" * 40 + b"}", "deeper than 40"),
    ("thousands of layers", b'{"a":' * 5000 + b"1" + b"}" * 5000, "deep"),
    ("invalid UTF-8", b'{"a":"\xff"}', "UTF-8"),
]


# A key that is ignored may be as deep as can be read, and no text in it is mended.
FIELDS_OF_GARBAGE = [
    (b"no_known_key", b'{"a":"\\ud800"}', "surrogate"),
    *(
        (field, value, said)
        for field in (b"event_properties", b"user_properties", b"group_properties", b"no_known_key")
        for _, value, said in GARBAGE
        if field != b"no_known_key" or "deeper than 40" not in said
    ),
]


@pytest.mark.parametrize("path", ["/2/httpapi", "/batch"])
def test_a_portfolio_project_is_no_key_and_people_are_told_why(server: Any, path: str) -> None:
    server.accounts.views.add("300003")
    server.accounts.number += 1
    stored = len(server.records)
    reply = server.post({"api_key": "300003", "events": [EVENT]}, path)
    assert reply.status == 400
    # SDKs compare the whole text; only people read the detail.
    assert reply.json["error"] == "Invalid API key: 300003"
    assert "portfolio project" in reply.json["detail"]
    assert "can't receive events" in reply.json["detail"]
    assert len(server.records) == stored
    other = server.post({"api_key": "300004", "events": [EVENT]}, path)
    assert other.json == {"code": 400, "error": "Invalid API key: 300004"}


@pytest.mark.parametrize(("field", "value", "said"), FIELDS_OF_GARBAGE)
def test_garbage_is_a_400_that_says_what_is_wrong(
    server: Any, api_key: str, field: bytes, value: bytes, said: str
) -> None:
    stored = len(server.records)

    reply = server.post(
        b'{"api_key":"%s","events":[{"event_type":"a","user_id":"user-1","%s":%s}]}'
        % (api_key.encode(), field, value)
    )

    assert reply.status == 400
    assert said in reply.json["detail"]
    assert len(server.records) == stored


@pytest.mark.parametrize(
    "body",
    [
        b'{"api_key":"KEY","api_key":"KEY","events":[{"event_type":"a","user_id":"user-1"}]}',
        b'{"api_key":"KEY","events":[{"event_type":"a","user_id":"user-1","user_id":"user-1"}]}',
        b'{"api_key":"KEY","events":[{"event_type":"a","user_id":"user-1"}],"q":{"a":1,"a":1}}',
        b'{"api_key":"KEY","events":[{"event_type":"a","user_id":"user-1","plan":{"x":1,"x":1}}]}',
        b'{"api_key":"KEY","events":[{"event_type":"a","user_id":"user-1"}],"options":{"a":1,"a":1}}',
    ],
)
def test_a_key_repeated_anywhere_is_refused(server: Any, api_key: str, body: bytes) -> None:
    reply = server.post(body.replace(b"KEY", api_key.encode()))

    assert reply.status == 400
    assert "repeats" in reply.json["detail"] or "more than once" in reply.json["detail"]


ACCEPTED: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("an empty id beside a good one", {"device_id": ""}, {}),
    ("a null id beside a good one", {"device_id": None}, {}),
    ("null fields", {"time": None, "plan": None, "event_properties": None}, {}),
    ("a number as id", {"user_id": 1234567}, {"user_id": "1234567"}),
    ("a whole float as id", {"user_id": 1234567.0}, {"user_id": "1234567"}),
    ("spaces count for the length", {"user_id": " abc "}, {"user_id": "abc"}),
    ("a whole float as time", {"time": 1.5e12}, {"time": 1_500_000_000_000}),
    ("long text is cut", {"city": "é" * 1500}, {"city": "é" * 1024}),
    ("a long id is cut", {"user_id": "u" * 1023 + "  v"}, {"user_id": "u" * 1023}),
    (
        "long nested text is cut",
        {"event_properties": {"a": [{"b": "x" * 1025}]}},
        {"event_properties": {"a": [{"b": "x" * 1024}]}},
    ),
    (
        "half of a pair in a property",
        {"event_properties": {"a": ["cut \ud83d", {"b": "\udeb2 \ud83d\udeb2"}]}},
        {"event_properties": {"a": ["cut \ufffd", {"b": "\ufffd \U0001f6b2"}]}},
    ),
    (
        "half of a pair in a user property",
        {"user_properties": {"$set": {"a": "\ud83d"}}},
        {"user_properties": {"$set": {"a": "\ufffd"}}},
    ),
    ("a group's number", {"groups": {"team": [7, "x"]}}, {"groups": {"team": ["7", "x"]}}),
    ("a huge number", {"event_properties": {"a": 10**300}}, {"event_properties": {"a": 10**300}}),
    ("NUL in text", {"event_properties": {"a": "\x00"}}, {"event_properties": {"a": "\x00"}}),
    ("a reserved name", {"event_type": "[Amplitude] Revenue"}, {}),
    ("forty layers", {"event_properties": json.loads('{"a":' * 40 + "1" + "}" * 40)}, {}),
]


@pytest.mark.parametrize(
    ("sent", "kept"), [case[1:] for case in ACCEPTED], ids=[case[0] for case in ACCEPTED]
)
def test_odd_but_allowed_values_are_kept_in_canonical_form(
    server: Any, upload: Upload, sent: dict[str, Any], kept: dict[str, Any]
) -> None:
    reply = server.post(upload(event(**sent)))

    assert reply.status == 200, reply.body
    stored = json.loads(server.records[-1].body)["events"][0]
    expected = {**EVENT, **{key: value for key, value in sent.items() if value}, **kept}
    assert {key: value for key, value in stored.items() if value} == expected


def test_a_group_identify_needs_no_identifier(server: Any, upload: Upload) -> None:
    assert server.post(upload({"event_type": "$groupidentify", "groups": {"a": "b"}})).status == 200


@pytest.mark.parametrize(("minimum", "status"), [(1, 200), (4, 200), (5, 400), (None, 400)])
def test_the_minimum_length_of_ids_can_be_set(
    server: Any, upload: Upload, minimum: int | None, status: int
) -> None:
    body = upload(event(user_id="abcd"), options={"min_id_length": minimum})

    assert server.post(body).status == status


@pytest.mark.parametrize("options", [[], "x", {"min_id_length": "5"}, {"min_id_length": 1.5}])
def test_options_of_a_wrong_shape_are_named(server: Any, upload: Upload, options: Any) -> None:
    reply = server.post(upload(options=options))

    assert reply.status == 400
    assert "options" in reply.json["detail"]


def test_2000_events_pass_and_2001_are_too_many(server: Any, upload: Upload) -> None:
    assert server.post(upload(*[EVENT] * 2000)).json["events_ingested"] == 2000
    for one in (EVENT, event(extra=[])):
        reply = server.post(upload(*[one] * 2001))
        assert (reply.status, reply.json) == (413, {"code": 413, "error": "Payload too large"})


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize("path", ["/usermap/", "/2/httpapi/", "/batch/x", "/%00", "/2/httpapi%2f"])
def test_an_unknown_path_is_a_400_for_every_method(server: Any, method: str, path: str) -> None:
    reply = server.request(method, path, b"{}")

    assert (reply.status, reply.json) == (400, {"code": 400, "error": "Invalid request path"})
    assert reply.headers["access-control-allow-origin"] == "*"


def test_a_query_does_not_change_the_path(server: Any, upload: Upload) -> None:
    assert server.post(upload(), "/batch?a=b").status == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_only_post_is_allowed_on_an_upload_path(server: Any, method: str) -> None:
    reply = server.request(method, "/2/httpapi")

    assert (reply.status, reply.headers["allow"]) == (405, "POST, OPTIONS")
    assert method == "HEAD" or reply.json == {"code": 405, "error": "Method not allowed"}


@pytest.mark.parametrize("path", ["/2/httpapi", "/batch", "/anything"])
def test_a_preflight_succeeds_on_every_path(server: Any, path: str) -> None:
    asked = {
        "Origin": "https://shop.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-encoding,content-type,x-own",
    }

    reply = server.request("OPTIONS", path, headers=asked)

    assert reply.status == 200
    assert reply.headers["access-control-allow-origin"] == "*"
    assert "POST" in reply.headers["access-control-allow-methods"]
    assert reply.headers["access-control-allow-headers"] == "content-encoding,content-type,x-own"
    assert int(reply.headers["access-control-max-age"]) > 0
    assert "connection" not in reply.headers


def test_a_preflight_without_or_with_odd_headers_allows_the_usual_ones(server: Any) -> None:
    for asked in ({}, {"Access-Control-Request-Headers": 'x"y;'}):
        reply = server.request("OPTIONS", "/batch", headers=asked)
        assert "Content-Encoding" in reply.headers["access-control-allow-headers"]


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/json; charset=UTF-8", "text/plain;charset=UTF-8", "", "x/y"],
)
def test_json_is_taken_with_any_content_type(
    server: Any, upload: Upload, content_type: str
) -> None:
    assert server.post(upload(), headers={"Content-Type": content_type}).status == 200


@pytest.mark.parametrize(
    ("given", "micros"),
    [
        ("2023-11-14T22:13:20.123Z", 1_700_000_000_123_000),
        (1_700_000_000_123, 1_700_000_000_123_000),
        ("yesterday", None),
        (None, None),
        ({}, None),
    ],
)
def test_the_client_upload_time_is_kept_if_it_can_be_read(
    server: Any, upload: Upload, given: Any, micros: int | None
) -> None:
    assert server.post(upload(client_upload_time=given)).status == 200
    assert server.records[-1].client_upload_micros == micros


def test_extra_keys_of_sdks_are_taken_as_they_come(server: Any, upload: Upload) -> None:
    body = upload(
        event(own_key=1), request_metadata={"sdk": {"metrics": {"histogram": {"a": 1}}}}, other=None
    )

    assert server.post(body).status == 200
    assert json.loads(server.records[-1].body) == body


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (ClockStepped("x"), 503, "clock"),
        (DiskReserve("/secret/path"), 503, "disk"),
        (Transient("x"), 503, "Nothing was stored"),
        (BadRequest("x"), 413, "nothing was stored"),
        (OSError("fsync failed"), 500, "may have been stored"),
    ],
)
def test_a_log_that_fails_is_never_a_200(
    serve: Any, upload: Upload, error: Exception, status: int, said: str
) -> None:
    async def append(record: Record) -> int:
        raise error

    served = serve(append=append)

    reply = served.post(upload())

    assert reply.status == reply.json["code"] == status
    assert said in reply.json["detail"]
    assert b"/secret" not in reply.body
    assert served.log_failures == ([error] if status == 500 else [])


def test_the_answer_waits_for_the_log(serve: Any, upload: Upload) -> None:
    durable = asyncio.Event()
    asked: list[Record] = []

    async def append(record: Record) -> int:
        asked.append(record)
        await durable.wait()
        return 5_000_000

    served = serve(append=append)
    served.loop.call_soon_threadsafe(lambda: served.loop.call_later(0.05, durable.set))

    reply = served.post(upload())

    assert len(asked) == 1
    assert reply.json["server_upload_time"] == 5000
    assert served.counters.events_accepted == 1
    assert served.bytes_in_flight == 0


def test_keys_that_cannot_be_read_are_a_503_and_never_a_400(serve: Any, upload: Upload) -> None:
    served = serve()
    served.accounts.error = OSError("locked")

    reply = served.post({**upload(), "api_key": "new"})

    assert reply.status == 503
    assert served.records == []


def test_a_key_made_a_moment_ago_works_at_once(serve: Any, upload: Upload, api_key: str) -> None:
    served = serve()
    served.accounts.keys["new"] = served.accounts.keys[api_key]
    served.accounts.number += 1

    assert served.post({**upload(), "api_key": "new"}).status == 200
