"""Rate limits: the counting against a plain model, and the 429 through a real server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.clock import MICROS
from tailrace.collect.rates import (
    WINDOW_SECONDS,
    Admitted,
    EventIds,
    Rate,
    Rates,
    Throttled,
    Windows,
    event_ids,
)
from tailrace.errors import Transient
from tailrace.hours import HOUR_MICROS
from tailrace.log.record import Record

Upload = Callable[..., dict[str, Any]]

PATH = "/batch"
PROJECT = 300001


def of(user: str | None = None, device: str | None = None, times: int = 1) -> list[EventIds]:
    return [EventIds(user, device)] * times


def refused(verdict: Admitted | Throttled) -> Throttled:
    assert isinstance(verdict, Throttled)
    return verdict


def admitted(verdict: Admitted | Throttled) -> Admitted:
    assert isinstance(verdict, Admitted)
    return verdict


REQUESTS = st.lists(
    st.tuples(
        st.integers(0, 12 * MICROS),
        st.lists(
            st.tuples(st.sampled_from([None, "u1", "u2"]), st.sampled_from([None, "d1", "d2"])),
            min_size=1,
            max_size=60,
        ),
    ),
    max_size=40,
)


@given(REQUESTS)
def test_the_window_is_the_last_30_whole_seconds(
    requests: list[tuple[int, list[tuple[str | None, str | None]]]],
) -> None:
    rates = Rates({PATH: Rate(2)})
    taken: list[tuple[int, tuple[str, str]]] = []
    now = 0
    for wait, ids in requests:
        now += wait
        names = [("user", user) for user, _ in ids if user] + [
            ("device", device) for _, device in ids if device
        ]
        recent = [name for second, name in taken if second > now // MICROS - WINDOW_SECONDS]
        over = {name for name in names if names.count(name) + recent.count(name) > 60}

        verdict = rates.admit(PATH, PROJECT, [EventIds(*pair) for pair in ids], now)

        if not over:
            admitted(verdict)
            taken += [(now // MICROS, name) for name in names]
            continue
        throttled = refused(verdict)
        named = {("user", name) for name in throttled.users} | {
            ("device", name) for name in throttled.devices
        }
        assert named == over
        assert throttled.events == [
            index
            for index, (user, device) in enumerate(ids)
            if {("user", user), ("device", device)} & over
        ]
        assert all(eps > 2 for eps in (*throttled.users.values(), *throttled.devices.values()))


@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.sampled_from("abc"), st.integers(0, 9), st.booleans()),
        max_size=60,
    )
)
def test_what_is_taken_back_was_never_counted(
    counts: list[tuple[int, str, int, bool]],
) -> None:
    both, kept = Windows(steps=7, step_micros=10), Windows(steps=7, step_micros=10)
    taken_back = []
    now = 0
    for wait, name, count, keep in counts:
        now += wait * 10
        both.add(name.encode(), now, count)
        kept.add(name.encode(), now, count if keep else 0)
        if not keep:
            taken_back.append((name.encode(), now, count))
    for name_back, then, count in taken_back:
        both.take_back(name_back, then, count)

    for later in range(now, now + 100, 10):
        for known in (b"a", b"b", b"c"):
            assert both.total(known, later) == kept.total(known, later)


def test_a_user_at_the_rate_passes_and_one_event_more_does_not() -> None:
    rates = Rates({PATH: Rate(30)})

    admitted(rates.admit(PATH, PROJECT, of("u1", times=900), 0))
    throttled = refused(rates.admit(PATH, PROJECT, [*of("u2"), *of("u1")], 29 * MICROS))

    assert throttled.users == {"u1": 31}
    assert throttled.devices == {}
    assert throttled.events == [1]
    assert not throttled.endless


def test_waiting_30_seconds_helps_those_who_sent_too_much() -> None:
    rates = Rates({PATH: Rate(1)})
    admitted(rates.admit(PATH, PROJECT, of("u1", times=30), MICROS - 1))
    refused(rates.admit(PATH, PROJECT, of("u1"), MICROS - 1))

    admitted(rates.admit(PATH, PROJECT, of("u1", times=30), 31 * MICROS - 1))


def test_more_than_the_window_takes_in_one_request_never_passes_and_says_so() -> None:
    rates = Rates({PATH: Rate(1)})

    assert refused(rates.admit(PATH, PROJECT, of("u1", times=31), 0)).endless


def test_a_refused_request_counts_for_nobody() -> None:
    rates = Rates({PATH: Rate(1)})
    refused(rates.admit(PATH, PROJECT, [*of("u1", times=31), *of("u2", "d2", times=30)], 0))

    admitted(rates.admit(PATH, PROJECT, of("u1", times=30), 0))
    admitted(rates.admit(PATH, PROJECT, of("u2", "d2", times=30), 0))


def test_projects_endpoints_users_and_devices_are_counted_apart() -> None:
    rates = Rates({PATH: Rate(1), "/2/httpapi": Rate(1)})
    full = of("name", times=30)

    for path, project in ((PATH, 1), (PATH, 2), ("/2/httpapi", 1)):
        admitted(rates.admit(path, project, full, 0))
    admitted(rates.admit(PATH, 1, of(None, "name", times=30), 0))


def test_events_without_identifiers_are_never_throttled() -> None:
    rates = Rates({PATH: Rate(1)})

    admitted(rates.admit(PATH, PROJECT, of(times=2000), 0))


def test_the_daily_quota_counts_only_from_the_first_time_that_the_rate_was_exceeded() -> None:
    rates = Rates({PATH: Rate(1, 100)})
    minute = 60 * MICROS
    for turn in range(10):
        admitted(rates.admit(PATH, PROJECT, of("u1", times=30), turn * minute))
    refused(rates.admit(PATH, PROJECT, of("u1", times=31), 10 * minute))
    for turn in range(11, 14):
        admitted(rates.admit(PATH, PROJECT, of("u1", times=30), turn * minute))

    throttled = refused(
        rates.admit(PATH, PROJECT, [*of("u2"), *of("u1", "d1", times=11)], 15 * minute)
    )

    assert (throttled.users, throttled.quota_users) == ({}, {"u1": 101})
    assert (throttled.devices, throttled.quota_devices) == ({}, {})
    assert throttled.events == list(range(1, 12))
    admitted(rates.admit(PATH, PROJECT, of("u1", times=10), 15 * minute))


def test_the_daily_quota_rolls_on_by_whole_hours() -> None:
    rates = Rates({PATH: Rate(1, 40)})
    refused(rates.admit(PATH, PROJECT, of(None, "d1", times=31), 0))
    admitted(rates.admit(PATH, PROJECT, of(None, "d1", times=30), HOUR_MICROS - 1))
    admitted(rates.admit(PATH, PROJECT, of(None, "d1", times=10), 2 * HOUR_MICROS))

    full = refused(rates.admit(PATH, PROJECT, of(None, "d1", times=1), 24 * HOUR_MICROS - 1))
    assert full.quota_devices == {"d1": 41}
    admitted(rates.admit(PATH, PROJECT, of(None, "d1", times=30), 24 * HOUR_MICROS))
    refused(rates.admit(PATH, PROJECT, of(None, "d1", times=1), 25 * HOUR_MICROS))


def test_after_a_quiet_day_nobody_is_a_spammer_any_more() -> None:
    rates = Rates({PATH: Rate(1, 5)})
    refused(rates.admit(PATH, PROJECT, of("u1", times=31), 0))
    refused(rates.admit(PATH, PROJECT, of("u1", times=6), HOUR_MICROS))

    admitted(rates.admit(PATH, PROJECT, of("u1", times=30), 24 * HOUR_MICROS))


def test_what_was_not_stored_is_taken_off_rate_and_quota() -> None:
    rates = Rates({PATH: Rate(1, 30)})
    refused(rates.admit(PATH, PROJECT, of("u1", times=31), 0))
    rates.take_back(admitted(rates.admit(PATH, PROJECT, of("u1", times=30), 0)))

    admitted(rates.admit(PATH, PROJECT, of("u1", times=30), 0))


def test_memory_is_bounded_and_the_names_counted_last_are_kept() -> None:
    rates = Rates({PATH: Rate(1)}, names_max=10)
    for turn in range(30):
        admitted(rates.admit(PATH, PROJECT, [*of("busy"), *of(f"other-{turn}")], 0))

    assert refused(rates.admit(PATH, PROJECT, of("busy"), 0)).users == {"busy": 2}
    assert rates.forgotten == 31 - 10


def test_names_that_are_over_make_room_without_being_counted_as_forgotten() -> None:
    windows = Windows(steps=2, step_micros=1, names_max=10)
    for name in range(100):
        windows.add(b"%d" % name, name, 1)

    assert len(windows) == 2
    assert windows.forgotten == 0


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"events":[{"user_id":"u","device_id":null,"x":1}]}', [EventIds("u")]),
        (
            b'{"api_key":"k","events":[{"event_type":"a"},{"device_id":"d"}]}',
            [*of(), *of(None, "d")],
        ),
    ],
)
def test_the_owners_of_events_are_read_from_an_accepted_body(
    body: bytes, expected: list[EventIds]
) -> None:
    assert event_ids(body) == expected


def event(**fields: Any) -> dict[str, Any]:
    return {"event_type": "Opened", **fields}


def test_httpapi_answers_429_to_the_letter_and_stores_nothing(serve: Any, upload: Upload) -> None:
    served = serve(rates=Rates({"/2/httpapi": Rate(1), "/batch": Rate(9, 9)}))
    known = [event(user_id="user-1", device_id="device-1")] * 30
    assert served.post(upload(*known)).status == 200

    reply = served.post(
        upload(event(user_id="user-2"), event(user_id="user-1"), event(device_id="device-1"))
    )

    assert reply.status == 429
    assert reply.body == (
        b'{"code":429,"error":"Too many requests for some devices and users","eps_threshold":1,'
        b'"throttled_devices":{"device-1":2},"throttled_users":{"user-1":2},'
        b'"throttled_events":[1,2]}'
    )
    assert reply.headers["access-control-allow-origin"] == "*"
    assert [record.events for record in served.records] == [30]
    assert served.counters.requests[429] == 1
    assert served.counters.events_throttled == 2
    assert served.post(upload(event(user_id="user-2"))).status == 200


def test_batch_answers_429_with_the_quotas_too(serve: Any, upload: Upload) -> None:
    served = serve(rates=Rates({"/2/httpapi": Rate(1), "/batch": Rate(1, 20)}))
    many = [event(user_id="user-1")] * 31

    first = served.post(upload(*many), "/batch")
    second = served.post(upload(*many[:21]), "/batch")

    assert first.json == {
        "code": 429,
        "error": "Too many requests for some devices and users",
        "eps_threshold": 1,
        "throttled_devices": {},
        "throttled_users": {"user-1": 2},
        "exceeded_daily_quota_users": {},
        "exceeded_daily_quota_devices": {},
        "throttled_events": list(range(31)),
        "detail": "Send fewer events at once: waiting does not help.",
    }
    assert second.body == (
        b'{"code":429,"error":"Too many requests for some devices and users","eps_threshold":1,'
        b'"throttled_devices":{},"throttled_users":{},'
        b'"exceeded_daily_quota_users":{"user-1":21},"exceeded_daily_quota_devices":{},'
        b'"throttled_events":[%s]}' % b",".join(b"%d" % index for index in range(21))
    )
    assert served.records == []


def test_a_bad_request_is_a_400_even_for_those_who_are_too_fast(serve: Any, upload: Upload) -> None:
    served = serve(rates=Rates({"/2/httpapi": Rate(1)}))

    reply = served.post(upload(*[event(user_id="user-1")] * 31, event(user_id="u")))

    assert reply.status == 400


def test_identifiers_count_in_their_canonical_form(serve: Any, upload: Upload) -> None:
    served = serve(rates=Rates({"/2/httpapi": Rate(1)}))
    assert served.post(upload(*[event(user_id=1234567)] * 30)).status == 200

    reply = served.post(upload(event(user_id=" 1234567 ")))

    assert reply.json["throttled_users"] == {"1234567": 2}


def test_events_that_the_log_refused_are_not_counted(serve: Any, upload: Upload) -> None:
    refusals = [Transient("full"), Transient("full")]

    async def append(record: Record) -> int:
        if refusals:
            raise refusals.pop()
        return 1

    served = serve(append=append, rates=Rates({"/2/httpapi": Rate(1)}))
    body = upload(*[event(user_id="user-1")] * 30)

    assert [served.post(body).status for _ in range(4)] == [503, 503, 200, 429]


def test_a_large_body_is_counted_too(serve: Any, upload: Upload) -> None:
    served = serve(rates=Rates({"/2/httpapi": Rate(1), "/batch": Rate(66, 500)}))
    big = [event(user_id="user-1", event_properties={"text": "x" * 1000})] * 1981

    reply = served.post(upload(*big), "/batch")

    assert reply.status == 429
    assert reply.json["throttled_users"] == {"user-1": 67}


def test_without_rate_limits_nothing_is_throttled(server: Any, upload: Upload) -> None:
    body = upload(*[event(user_id="user-1")] * 2000)

    assert [server.post(body, "/batch").status for _ in range(3)] == [200, 200, 200]
