"""What a collector keeps of refused requests, by project and never without end."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tailrace.collect.rates import Rate, Rates
from tailrace.collect.refusals import (
    ANSWER_CHARACTERS_MAX,
    PROJECTS_MAX,
    REFUSALS_MAX,
    Refusals,
)
from tailrace.errors import DiskReserve
from tailrace.log.record import Record
from tests.collect.conftest import KEY

BAD: dict[str, Any] = {"events": [{"user_id": "shopper-17"}]}


def kept(collector: Any) -> list[tuple[int, str, int]]:
    return [(one.project, one.path, one.status) for one in collector.collector.refusals.all()]


def body(api_key: str = KEY, **more: Any) -> bytes:
    return json.dumps({"api_key": api_key, **more}).encode()


def test_a_refused_upload_is_kept_with_what_its_sender_was_told(serve: Any) -> None:
    served = serve()
    answer = served.post(body(**BAD))
    assert answer.status == 400
    assert kept(served) == [(300001, "/2/httpapi", 400)]
    assert served.collector.refusals.all()[0].answer == answer.body.decode()


def test_an_accepted_one_leaves_nothing(serve: Any) -> None:
    served = serve()
    served.post(body(events=[{"user_id": "shopper-17", "event_type": "a"}]))
    assert kept(served) == []
    assert served.collector.refusals.changes == 0


@pytest.mark.parametrize("content", [b"{", b"", body("f" * 32, **BAD), body("", **BAD)])
def test_one_whose_key_is_no_projects_belongs_to_nobody(serve: Any, content: bytes) -> None:
    served = serve()
    assert served.post(content).status == 400
    assert kept(served) == []


def test_a_refused_form_is_kept_too(serve: Any) -> None:
    served = serve()
    form = f"api_key={KEY}&identification=%5B1%5D".encode()
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    assert served.post(form, "/identify", kind).status == 400
    assert kept(served) == [(300001, "/identify", 400)]


def test_who_sends_too_fast_can_read_it(serve: Any) -> None:
    served = serve(rates=Rates({"/2/httpapi": Rate(1)}))
    events = [{"user_id": "shopper-17", "event_type": "a"}] * 200
    assert served.post(body(events=events)).status == 429
    assert kept(served) == [(300001, "/2/httpapi", 429)]


def test_what_could_not_be_stored_is_kept(serve: Any) -> None:
    async def append(_: Record) -> int:
        raise DiskReserve("full")

    served = serve(append=append)
    assert served.post(body(events=[{"user_id": "shopper-17", "event_type": "a"}])).status == 503
    assert kept(served) == [(300001, "/2/httpapi", 503)]


def test_there_is_never_more_than_a_page_shows() -> None:
    refusals = Refusals()
    for number in range(REFUSALS_MAX + 5):
        refusals.note(number, 1, "/batch", 400, b"no")
    assert [one.at_micros for one in refusals.all()] == list(range(5, REFUSALS_MAX + 5))
    for project in range(2, PROJECTS_MAX + 3):
        refusals.note(0, project, "/batch", 400, b"no")
    assert {one.project for one in refusals.all()} == set(range(3, PROJECTS_MAX + 3))


def test_a_long_answer_is_cut_between_characters() -> None:
    refusals = Refusals()
    refusals.note(0, 1, "/batch", 400, "🚲".encode() * 5000)
    assert refusals.all()[0].answer == "🚲" * ANSWER_CHARACTERS_MAX
