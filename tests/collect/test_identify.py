"""`/identify` and `/groupidentify` through a real server: forms in, upload records out."""

from __future__ import annotations

import gzip
import json
from typing import Any
from urllib.parse import urlencode

import pytest
from structlog.testing import capture_logs

from tailrace.collect.identify import GROUP_IDENTIFIES_MAX, GROUP_PROPERTIES_MAX
from tailrace.collect.limits import MEBIBYTE, Limits
from tailrace.collect.rates import Rate, Rates
from tailrace.collect.texts import QUERY_BYTES_MAX
from tailrace.errors import DiskReserve, Transient
from tailrace.log.record import Record

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
MULTIPART = {"Content-Type": "multipart/form-data; boundary=edge"}
PATHS = ["/identify", "/groupidentify"]
PERSON = {"user_id": "shopper-1", "user_properties": {"$set": {"plan": "pro"}}}
GROUP = {"group_type": "org", "group_value": "acme", "group_properties": {"$add": {"seats": 2}}}


def form_of(api_key: str, identification: Any, **fields: str) -> dict[str, str]:
    text = identification if isinstance(identification, str) else json.dumps(identification)
    return {"api_key": api_key, "identification": text, **fields}


def send(served: Any, path: str, fields: dict[str, str], way: str = "form") -> Any:
    if way == "query":
        return served.request("GET", f"{path}?{urlencode(fields)}")
    if way == "posted query":
        return served.request("POST", f"{path}?{urlencode(fields)}")
    if way == "multipart":
        parts = [
            f'--edge\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in fields.items()
        ]
        return served.post("".join([*parts, "--edge--\r\n"]).encode(), path, MULTIPART)
    return served.post(urlencode(fields).encode(), path, FORM)


def events_of(record: Record) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(record.body)["events"]
    assert record.events == len(found)
    return found


@pytest.mark.parametrize("way", ["form", "multipart", "query", "posted query"])
@pytest.mark.parametrize(
    ("path", "sent", "stored"),
    [
        ("/identify", PERSON, {"event_type": "$identify", **PERSON}),
        (
            "/groupidentify",
            GROUP,
            {
                "event_type": "$groupidentify",
                "groups": {"org": "acme"},
                "group_properties": {"$add": {"seats": 2}},
            },
        ),
    ],
)
def test_one_and_several_are_stored_as_an_upload_before_the_success(
    server: Any, api_key: str, way: str, path: str, sent: Any, stored: Any
) -> None:
    for given in (sent, [sent, sent]):
        before = len(server.records)

        reply = send(server, path, form_of(api_key, given), way)

        assert (reply.status, reply.body) == (200, b"success")
        assert reply.headers["content-type"].startswith("text/plain")
        assert reply.headers["access-control-allow-origin"] == "*"
        (record,) = server.records[before:]
        assert (record.organization, record.project, record.endpoint) == (100001, 300001, path)
        assert record.client_upload_micros is None
        assert json.loads(record.body)["api_key"] == api_key
        expected = [stored] if given is sent else [stored, stored]
        assert events_of(record) == expected


def test_every_documented_key_is_kept_and_others_are_ignored(server: Any, api_key: str) -> None:
    texts = {
        name: f"a {name}"
        for name in (
            *("app_version", "platform", "os_name", "os_version", "device_brand"),
            *("device_manufacturer", "device_model", "carrier", "country", "region"),
            *("city", "dma", "language", "paying", "start_version"),
        )
    }
    person = {
        "device_id": 12345678,
        "user_properties": {"a": 1, "b": None},
        "groups": {"team": ["x", 3]},
        **texts,
    }
    ignored = {"insert_id": "m-1", "time": "2026-01-01", "library": {"name": "x"}, "event_type": 3}

    assert send(server, "/identify", form_of(api_key, {**person, **ignored})).status == 200

    assert events_of(server.records[-1]) == [
        {
            **person,
            "event_type": "$identify",
            "device_id": "12345678",
            "groups": {"team": ["x", "3"]},
        }
    ]


def test_the_shortest_id_is_an_option_of_the_request(server: Any, api_key: str) -> None:
    person = {"user_id": "ann"}
    short = send(server, "/identify", form_of(api_key, person))
    assert (short.status, short.body) == (
        400,
        b"invalid_event_field: user_id of identification 0 must have at least 5 characters.",
    )
    option = json.dumps({"min_id_length": 3})
    assert send(server, "/identify", form_of(api_key, person, options=option)).status == 200
    for bad, told in {
        "[]": b"options must be an object.",
        '{"min_id_length":"3"}': b"options.min_id_length must be a whole number.",
        "{": b"missing_event: options is not valid JSON in UTF-8.",
    }.items():
        reply = send(server, "/identify", form_of(api_key, person, options=bad))
        assert (reply.status, reply.body) == (400, told)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("fields", "body"),
    [
        ({"identification": "{}"}, b"invalid_api_key"),
        ({"api_key": "", "identification": "{}"}, b"invalid_api_key"),
        ({"api_key": "another", "identification": "{}"}, b"invalid_api_key"),
        ({}, b"invalid_api_key"),
        ({"api_key": "KEY"}, b"missing_event"),
        ({"api_key": "KEY", "identification": " "}, b"missing_event"),
    ],
)
def test_what_is_missing_is_told_in_the_known_words(
    server: Any, api_key: str, path: str, fields: dict[str, str], body: bytes
) -> None:
    before = len(server.records)
    sent = {name: value.replace("KEY", api_key) for name, value in fields.items()}
    for way in ("form", "multipart", "query"):
        reply = send(server, path, sent, way)
        assert (reply.status, reply.body) == (400, body)
        assert reply.headers["content-type"].startswith("text/plain")
        assert reply.headers["access-control-allow-origin"] == "*"
    assert len(server.records) == before


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("bad", ["{", "[]", "3", "null", '["x"]', "[{},3]", "NaN", "[" * 100_000])
def test_what_is_no_object_is_a_missing_event(
    server: Any, api_key: str, path: str, bad: str
) -> None:
    reply = send(server, path, form_of(api_key, bad))
    assert reply.status == 400
    assert reply.body.startswith(b"missing_event: identification ")


REFUSED: list[tuple[str, str, str, str]] = [
    ("no id", "/identify", "{}", "identification 0 has neither user_id nor device_id"),
    ("a placeholder", "/identify", '{"user_id":"null"}', "user_id of identification 0 must name"),
    (
        "a number as text",
        "/identify",
        '{"user_id":"shopper-1","city":3}',
        "city of identification 0 must be text",
    ),
    (
        "text as properties",
        "/identify",
        '[{"user_id":"shopper-1"},{"user_id":"shopper-1","user_properties":"x"}]',
        "user_properties of identification 1 must be an object",
    ),
    (
        "a key twice",
        "/identify",
        '{"user_id":"shopper-1","city":"a","city":"b"}',
        "city of identification 0 is there more than once",
    ),
    (
        "too deep",
        "/identify",
        '{"user_id":"shopper-1","user_properties":' + '{"a":' * 41 + "1" + "}" * 42,
        "user_properties of identification 0 is nested deeper than 40 layers",
    ),
    ("no group type", "/groupidentify", '{"group_value":"a"}', "group_type of identification 0"),
    ("no group value", "/groupidentify", '{"group_type":"a"}', "group_value of identification 0"),
    (
        "several values",
        "/groupidentify",
        '{"group_type":"a","group_value":["b","c"]}',
        "group_value of identification 0 must be one text",
    ),
    (
        "a list as properties",
        "/groupidentify",
        '{"group_type":"a","group_value":"b","group_properties":[]}',
        "group_properties of identification 0 must be an object",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "identification", "sentence"),
    [row[1:] for row in REFUSED],
    ids=[row[0] for row in REFUSED],
)
def test_a_bad_value_is_told_by_key_and_rule_and_nothing_is_stored(
    server: Any, api_key: str, path: str, identification: str, sentence: str
) -> None:
    before = len(server.records)
    reply = send(server, path, form_of(api_key, identification))
    assert reply.status == 400
    assert reply.body.decode().startswith(f"invalid_event_field: {sentence}")
    assert len(server.records) == before


def test_many_faults_are_told_in_few_sentences(server: Any, api_key: str) -> None:
    reply = send(server, "/identify", form_of(api_key, [{}] * 50))
    assert reply.body.count(b"has neither") == 10
    assert reply.body.endswith(b"; and 40 more.")


def test_a_group_identify_needs_no_person(server: Any, api_key: str) -> None:
    group = {"group_type": "n", "group_value": 7}
    assert send(server, "/groupidentify", form_of(api_key, group)).status == 200
    assert events_of(server.records[-1])[0]["groups"] == {"n": "7"}


def test_more_than_the_limits_is_a_413_in_text(server: Any, api_key: str) -> None:
    many_properties = {f"p{n}": 1 for n in range(GROUP_PROPERTIES_MAX + 1)}
    too_much = [
        ("/groupidentify", [GROUP] * (GROUP_IDENTIFIES_MAX + 1)),
        ("/groupidentify", {**GROUP, "group_properties": many_properties}),
        ("/groupidentify", {**GROUP, "group_properties": {"$set": many_properties}}),
        ("/identify", [PERSON] * 2001),
    ]
    for path, given in too_much:
        reply = send(server, path, form_of(api_key, given))
        assert reply.status == 413
        assert reply.headers["content-type"].startswith("text/plain")
    assert send(server, "/groupidentify", form_of(api_key, [GROUP] * 1024)).status == 200
    large = send(server, "/identify", {"api_key": api_key, "x": "y" * MEBIBYTE})
    assert (large.status, large.body) == (413, b"Request Entity Too Large")


def test_a_form_of_a_mebibyte_is_taken(serve: Any, api_key: str) -> None:
    served = serve()
    person = {"user_id": "shopper-1", "user_properties": {"t": ["x" * 1000] * 1000}}
    for way in ("form", "multipart"):
        assert send(served, "/identify", form_of(api_key, person), way).status == 200
    assert served.bytes_in_flight == 0


def test_a_long_query_is_a_414_and_may_be_posted(server: Any, api_key: str) -> None:
    person = {**PERSON, "user_properties": {"t": ["x" * 1000] * (QUERY_BYTES_MAX // 1000 + 1)}}
    reply = send(server, "/identify", form_of(api_key, person), "query")
    assert reply.status == 414
    assert b"POST" in reply.body
    assert send(server, "/identify", form_of(api_key, person)).status == 200
    # The parser gives up above 64 KiB, wherever the reads are cut.
    head = b"GET /identify?" + b"x" * 66_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"
    assert server.raw(head).startswith(b"HTTP/1.1 414 ")


@pytest.mark.parametrize("path", [*PATHS, "/"])
@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE", "PATCH"])
def test_other_methods_are_a_405_that_names_the_right_ones(
    server: Any, path: str, method: str
) -> None:
    reply = server.request(method, path)
    assert reply.status == 405
    assert reply.body == (b"" if method == "HEAD" else b"Method not allowed")
    assert reply.headers["allow"] == ("POST, OPTIONS" if path == "/" else "POST, GET, OPTIONS")


@pytest.mark.parametrize("path", [*PATHS, "/"])
def test_browsers_may_ask_first(server: Any, path: str) -> None:
    headers = {"Access-Control-Request-Headers": "content-type,cross-origin-resource-policy"}
    reply = server.request("OPTIONS", path, headers=headers)
    assert reply.status == 200
    assert "cross-origin-resource-policy" in reply.headers["access-control-allow-headers"]


def test_a_body_that_is_no_form_is_a_415(server: Any, api_key: str) -> None:
    body = json.dumps({"api_key": api_key, "identification": PERSON})
    reply = server.post(body.encode(), "/identify", {"Content-Type": "application/json"})
    assert reply.status == 415
    assert b"multipart/form-data" in reply.body


def test_a_broken_form_is_a_400_that_says_so(server: Any) -> None:
    reply = server.post(b"--edge\r\nX", "/identify", MULTIPART)
    assert (reply.status, reply.body) == (400, b"The multipart form ends too early.")

    compressed = {"Content-Encoding": "gzip"}
    reply = server.post(gzip.compress(b"api_key=x")[:-1], "/identify", compressed)
    assert (reply.status, reply.body) == (400, b"The gzip stream ends too early.")


@pytest.mark.parametrize(
    ("error", "status"), [(Transient("no"), 503), (DiskReserve("no"), 503), (OSError("no"), 500)]
)
def test_what_is_not_durable_is_no_success(
    serve: Any, api_key: str, error: Exception, status: int
) -> None:
    async def append(_: Record) -> int:
        raise error

    served = serve(append=append)
    reply = send(served, "/identify", form_of(api_key, PERSON))
    assert reply.status == status
    assert reply.headers["content-type"].startswith("text/plain")
    assert b"success" not in reply.body
    assert served.bytes_in_flight == 0


def test_no_key_is_told_while_keys_can_not_be_read(serve: Any, api_key: str) -> None:
    served = serve()
    served.accounts.error = OSError("gone")
    reply = send(served, "/identify", form_of("unknown", PERSON))
    assert (reply.status, reply.headers["retry-after"]) == (503, "1")


def test_who_sends_too_fast_is_throttled_in_text(serve: Any, api_key: str) -> None:
    served = serve(rates=Rates({"/identify": Rate(1), "/groupidentify": Rate(1)}))
    assert send(served, "/identify", form_of(api_key, [PERSON] * 30)).status == 200
    reply = send(served, "/identify", form_of(api_key, PERSON))
    assert (reply.status, reply.body) == (429, b"throttled")
    assert send(served, "/groupidentify", form_of(api_key, [GROUP] * 100)).status == 200
    assert len(served.records) == 2


def test_a_query_is_in_no_log_though_the_request_fails(
    serve: Any, api_key: str, capfd: pytest.CaptureFixture[str]
) -> None:
    served = serve()

    def fail(*_: object) -> None:
        raise RuntimeError("a defect")

    served.collector._forms["/identify"]._accept = fail
    with capture_logs() as logs:
        reply = send(served, "/identify", form_of(api_key, PERSON), "query")

    assert reply.status == 500
    assert [entry["event"] for entry in logs] == ["request_failed"]
    told = capfd.readouterr()
    assert api_key not in repr(logs) + told.out + told.err


def test_the_limits_are_those_of_the_settings(serve: Any, api_key: str) -> None:
    served = serve(Limits(httpapi_bytes_max=2000, events_max=3, id_length_min=2))
    assert send(served, "/identify", form_of(api_key, {"user_id": "ab"})).status == 200
    assert send(served, "/identify", form_of(api_key, [{"user_id": "ab"}] * 4)).status == 413
    assert send(served, "/identify", form_of(api_key, "x" * 2000)).status == 413
