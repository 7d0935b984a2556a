"""The pages of what was sent: sources with snippets, events as they came, refused requests."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import msgspec
import pytest

from tailrace.accounts.project_keys import add_key, revoke_key
from tailrace.app.refused import RefusedFile
from tailrace.collect.refusals import Refusal
from tailrace.files import Files
from tailrace.hours import Hour
from tailrace.log.partitions import partition_folder
from tailrace.log.record import Record
from tailrace.log.writer import LogWriter
from tailrace.web.event_values import refused_rows
from tests.web.conftest import COLLECT_URL, Place, Visitor
from tests.web.exporting import Exporting
from tests.web.reading import Read


@pytest.fixture
def dana(place: Place) -> Visitor:
    place.add("dana@acme.example")
    return place.visitor("dana@acme.example")


def arrive(place: Place, *events: dict[str, Any], project: int = 0) -> None:
    """Append a request as a collector does that runs for this call."""

    async def append() -> None:
        folder = partition_folder(place.site.folder.log, 1)
        folder.mkdir(exist_ok=True)
        writer = LogWriter.open(
            folder, partition=1, clock=place.site.clock, files=Files(), known_end=0
        )
        body = json.dumps({"events": list(events)}).encode()
        record = Record(
            place.organization, project or place.project, "/batch", 1, None, "::1", 1, body
        )
        await writer.append(record)
        writer.close()

    asyncio.run(append())


def refuse(place: Place, *found: Refusal) -> None:
    RefusedFile(place.site.folder.run, "collector-1", Files()).write(found)


def events(place: Place, query: str = "") -> str:
    return f"/p/{place.project}/events{query}"


def sources(place: Place, query: str = "") -> str:
    return f"/p/{place.project}/catalog/sources{query}"


def test_an_event_is_shown_as_it_came_and_only_in_its_project(place: Place, dana: Visitor) -> None:
    arrive(place, {"event_type": "Bought", "user_id": "shopper-17", "price": 9.5})
    arrive(place, {"event_type": "Theirs"}, project=place.project + 1)
    shown = dana.get(events(place))
    assert "Bought shopper-17" in shown.text
    assert '"price": 9.5' in shown.text
    assert "Theirs" not in shown.text
    assert "No refusal is known of" in shown.text


def test_events_of_one_request_keep_their_names_when_others_come(
    place: Place, dana: Visitor
) -> None:
    arrive(place, {"event_type": "a"}, {"event_type": "b"})
    before = [one["id"] for one in dana.get(events(place)).all("li") if "id" in one]
    arrive(place, {"event_type": "c"})
    after = [one["id"] for one in dana.get(events(place)).all("li") if "id" in one]
    assert len(before) == 2
    assert len(set(after)) == 3
    assert after[1:] == before


def test_an_event_keeps_its_name_when_older_ones_of_its_request_are_dropped(
    place: Place, dana: Visitor
) -> None:
    arrive(place, *({"event_type": f"x{number}"} for number in range(40)))
    before = _names(dana.get(events(place)))
    arrive(place, *({"event_type": f"y{number}"} for number in range(20)))
    after = _names(dana.get(events(place)))
    assert len(after) == 50
    assert {name: before[name] for name in after.keys() & before.keys()}.items() <= after.items()
    assert len(after.keys() & before.keys()) == 30


def _names(shown: Read) -> dict[str, str]:
    """Return each event's type by its name in the page."""
    found = re.findall(r'id="(event-\d+-\d+)">.*?<strong>(.*?)</strong>', shown.answer.text)
    return dict(found)


def test_who_knows_the_project_waits_for_no_first_event(place: Place, dana: Visitor) -> None:
    hour = Hour.of_micros(place.site.clock.now_micros()).plus(-2)
    Exporting(place.site, place.organization, place.project).seal(hour)
    assert "Waiting for your next event" in dana.get(sources(place)).text


def test_what_looks_like_html_is_text(place: Place, dana: Visitor) -> None:
    arrive(place, {"event_type": "<script>alert(1)</script>", "user_id": "<b>"})
    shown = dana.get(events(place))
    assert "<script>alert(1)</script>" in shown.text
    assert "<script>alert" not in shown.answer.text


def test_a_refused_request_says_why_and_belongs_to_its_project(place: Place, dana: Visitor) -> None:
    answer = '{"code":400,"error":"Request missing required field","missing_field":"event_type"}'
    at = place.site.clock.now_micros()
    refuse(
        place,
        Refusal(at, place.project, "/2/httpapi", 400, answer),
        Refusal(at, place.project + 1, "/2/httpapi", 413, "theirs"),
    )
    shown = dana.get(events(place))
    assert "400 Request missing required field: event_type" in shown.text
    assert "theirs" not in shown.text


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (
            '{"error":"Invalid values","events_with_invalid_fields":{"time":[0]}}',
            "Invalid values (events with invalid fields: time)",
        ),
        ('{"error":"Payload too large","detail":"Too many."}', "Payload too large: Too many."),
        ("bad_checksum", "bad_checksum"),
        ('{"error":"cut of', '{"error":"cut of'),
        ("{}", "{}"),
    ],
)
def test_an_answer_is_told_in_a_line(answer: str, why: str) -> None:
    (row,) = refused_rows([Refusal(0, 1, "/batch", 400, answer)])
    assert row.why == why


def test_it_is_live_and_costs_nothing_while_nothing_comes(place: Place, dana: Visitor) -> None:
    since = dana.get(events(place)).field("since")
    dana.get(events(place, f"/live?since={since}"), 204)
    arrive(place, {"event_type": "a"})
    changed = dana.get(events(place, f"/live?since={since}"))
    assert "(nobody)" in changed.text
    dana.get(events(place, f"/live?since={changed.field('since')}"), 204)
    refuse(place, Refusal(1, place.project, "/batch", 400, "no"))
    assert "400 no" in dana.get(events(place, f"/live?since={changed.field('since')}")).text


def test_a_viewer_sees_no_events_and_is_led_to_none(place: Place, dana: Visitor) -> None:
    place.add("vera@acme.example", "viewer")
    vera = place.visitor("vera@acme.example")
    shown = vera.get(f"/p/{place.project}/catalog/destinations")
    assert events(place) not in shown.links()
    assert sources(place) not in shown.links()
    vera.get(events(place), 403)
    vera.get(sources(place), 403)
    assert events(place) in dana.get(f"/p/{place.project}/catalog/destinations").links()


def test_snippets_have_the_address_and_a_key_of_the_project(place: Place, dana: Visitor) -> None:
    shown = dana.get(sources(place))
    assert "Waiting for your first event" in shown.text
    assert shown.text.count(place.made.api_key) == 5
    assert shown.text.count(f"{COLLECT_URL}/2/httpapi") == 5
    assert "Sources Destinations" in shown.text
    current = [one["href"] for one in shown.all("a", aria_current="page")]
    assert sources(place) in current


def test_another_key_can_be_chosen_and_a_strangers_not(place: Place, dana: Visitor) -> None:
    site = place.site
    key = add_key(site.engine, place.project, ids=site.ids, clock=site.clock, name="app")
    assert key in dana.get(sources(place, f"?key={key}")).text
    other = place.add_project(place.add_organization("Other"), "Theirs").api_key
    # It stands only where the address of the page does.
    shown = dana.get(sources(place, f"?key={other}"))
    assert other not in shown.text
    assert shown.answer.text.count(other) == shown.field("back").count(other)


def test_what_arrives_is_told_without_a_reload(place: Place, dana: Visitor) -> None:
    since = dana.get(sources(place)).field("since")
    dana.get(sources(place, f"/live?since={since}"), 204)
    arrive(place, {"event_type": "Opened", "user_id": "shopper-17"})
    shown = dana.get(sources(place, f"/live?since={since}"))
    assert "Events arrive" in shown.text
    assert "Opened shopper-17" in shown.text


def test_without_a_key_or_a_collector_it_says_what_to_do(place: Place, dana: Visitor) -> None:
    revoke_key(place.engine, place.made.api_key, clock=place.site.clock)
    assert "This project has no API key" in dana.get(sources(place)).text


def test_while_no_collector_runs_there_is_nothing_to_copy(place: Place, dana: Visitor) -> None:
    place.app.state.site = msgspec.structs.replace(place.site, collect_url=lambda: "")
    shown = dana.get(sources(place))
    assert "Nothing takes events now" in shown.text
    assert place.made.api_key not in shown.text
