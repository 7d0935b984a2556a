"""The list of destinations and the overview of one, as a person reads them."""

from __future__ import annotations

import gzip

import pytest

from tailrace.clock import SteppedClock
from tailrace.hours import Hour
from tailrace.notify.room import Room
from tailrace.web.health import health, owed_of
from tailrace.web.overview_values import tiles
from tests.web.conftest import Place, Visitor
from tests.web.exporting import Exporting

# What a page over a slow line may weigh, compressed.
OVERVIEW_BYTES_MAX = 15 * 1024


@pytest.fixture
def exporting(place: Place) -> Exporting:
    place.add("dana@acme.example")
    return Exporting(place.site, place.organization, place.project)


@pytest.fixture
def dana(place: Place, exporting: Exporting) -> Visitor:
    return place.visitor("dana@acme.example")


@pytest.fixture
def now(place: Place) -> Hour:
    """The open hour: an hour of today's afternoon, so that some of today are over."""
    clock = place.site.clock
    assert isinstance(clock, SteppedClock)
    today = Hour.of_micros(clock.now_micros()).day_start()
    clock.advance(today.plus(14).start_micros + 20 * 60_000_000 - clock.now_micros())
    return today.plus(14)


def overview(place: Place) -> str:
    return f"/p/{place.project}/destinations/1"


def test_without_a_destination_the_list_says_what_waits(
    place: Place, dana: Visitor, exporting: Exporting, now: Hour
) -> None:
    exporting.seal(now.plus(-1))
    shown = dana.get(f"/p/{place.project}/destinations")
    assert "No destination yet" in shown.text
    assert "58,302 events of this project wait here for one." in shown.text


def test_the_list_has_those_first_that_need_somebody(
    place: Place, dana: Visitor, exporting: Exporting, now: Hour
) -> None:
    exporting.activate(exporting.add("a-healthy"))
    exporting.seal(now.plus(-2))
    exporting.deliver()
    exporting.activate(exporting.add("b-refused"))
    exporting.seal(now.plus(-1))
    exporting.deliver(refused=2)

    shown = dana.get(f"/p/{place.project}/destinations")

    links = [link for link in shown.links() if link.startswith(f"/p/{place.project}/destinations/")]
    assert links == [
        f"/p/{place.project}/destinations/2",
        f"/p/{place.project}/destinations/1",
    ]
    assert "Needs you" in shown.text
    assert "s3://a-healthy/" in shown.text
    assert shown.all("span", class_="strip")[0]["aria-label"].endswith("1 in trouble")


def test_the_overview_tells_of_every_hour(
    place: Place, dana: Visitor, exporting: Exporting, now: Hour
) -> None:
    exporting.activate(exporting.add())
    exporting.seal(now.plus(-3), now.plus(-2))
    exporting.seal(now.plus(-1), lines=0)
    exporting.deliver()

    shown = dana.get(overview(place))

    cells = [one["aria-label"] for one in shown.all("span") + shown.all("a") if "aria-label" in one]
    at = f"{now.plus(-2).start:%a} {now.start.day} {now.start:%b}"
    assert (
        f"{at}, 12:00 to 13:00 UTC: exported, 58,302 events, 1 file, 2m 26s after the hour closed"
        in cells
    )
    assert f"{at}, 13:00 to 14:00 UTC: no events, nothing to export" in cells
    assert sum("UTC: " in one for one in cells) == 14 * 24
    assert "Healthy" in shown.text
    assert "15:00 UTC" in shown.text
    assert "116,604" in shown.text
    assert len(shown.all("tr")) >= 14 + 3


@pytest.mark.parametrize(
    ("room", "words"),
    [
        (Room(9, 10, 5, 3599, 0, 0), "0 events; room for how long is not known yet"),
        (Room(9, 10, 5, 7200, 0, 0), "0 events; room for 4 hours"),
        (Room(9, 10, 0, 7200, 0, 0), "0 events; the disk does not fill"),
    ],
)
def test_the_overview_tells_how_long_there_is_room(
    exporting: Exporting, room: Room, words: str
) -> None:
    added = exporting.add()
    doing = health(added, (), 0, "")
    assert tiles(added, (), doing, owed_of(()), 0, room, 0)[-1].note == words


def test_an_outage_stands_above_all_with_its_cause_and_fix(
    place: Place, dana: Visitor, exporting: Exporting, now: Hour
) -> None:
    exporting.activate(exporting.add())
    exporting.seal(now.plus(-2), now.plus(-1))
    exporting.refuse()

    shown = dana.get(overview(place))

    assert "Nothing goes out since" in shown.text
    assert "S3 answered 403 AccessDenied to PutObject." in shown.text
    assert "Add s3:PutObject to the policy of the bucket." in shown.text
    assert "116,604 events of 2 hours are safe on this machine" in shown.text
    assert f"{overview(place)}/failures" in shown.links()


def test_a_paused_destination_says_by_whom(
    place: Place, dana: Visitor, exporting: Exporting, now: Hour
) -> None:
    exporting.activate(exporting.add())
    exporting.destinations.pause(1)
    shown = dana.get(overview(place))
    assert "Automatic exports are off" in shown.text
    assert "by dana@acme.example" in shown.text


def test_one_that_is_being_set_up_says_so(
    place: Place, dana: Visitor, exporting: Exporting
) -> None:
    exporting.add()
    assert "The set-up is not finished" in dana.get(overview(place)).text


def test_a_page_that_is_as_it_was_costs_nothing_to_keep_live(
    place: Place, dana: Visitor, exporting: Exporting, now: Hour
) -> None:
    exporting.activate(exporting.add())
    exporting.seal(now.plus(-2))
    since = dana.get(overview(place)).field("since")

    dana.get(f"{overview(place)}/live?since={since}", 204)
    exporting.deliver()
    changed = dana.get(f"{overview(place)}/live?since={since}")

    assert changed.field("since") != since
    assert changed.all("h1") == []
    dana.get(f"{overview(place)}/live?since={changed.field('since')}", 204)


def test_more_days_are_shown_where_they_are_asked_for(
    place: Place, dana: Visitor, exporting: Exporting, now: Hour
) -> None:
    exporting.activate(exporting.add())
    shown = dana.get(f"{overview(place)}?days=28")
    labels = [
        one for one in shown.all("span") + shown.all("a") if "UTC: " in one.get("aria-label", "")
    ]
    assert len(labels) == 28 * 24
    assert dana.get(f"{overview(place)}?days=9999").status == 200


@pytest.mark.parametrize("what", ["deleted", "unknown", "of another project"])
def test_there_is_no_page_of_what_is_not_there(
    place: Place, dana: Visitor, exporting: Exporting, what: str
) -> None:
    project = place.project
    if what == "deleted":
        exporting.add()
        exporting.destinations.delete(1, aborted=(), now_micros=0)
    if what == "of another project":
        exporting.add()
        project = place.add_project(place.organization, "Other").project_id
    dana.get(f"/p/{project}/destinations/1", 404)
    dana.get(f"/p/{project}/destinations/1/live", 404)


def test_two_weeks_of_hours_weigh_little(
    place: Place, dana: Visitor, exporting: Exporting, now: Hour
) -> None:
    exporting.activate(exporting.add())
    first = now.plus(-14 * 24)
    exporting.destinations.set_interval(1, first, None)
    for hour in Hour.range(first, now):
        exporting.seal(hour, lines=1000 + 37 * (hour.number % 91))
    exporting.deliver()
    answer = dana.get(overview(place)).answer
    assert answer.text.count('class="hour') >= 336
    assert len(gzip.compress(answer.content)) <= OVERVIEW_BYTES_MAX


def test_the_list_has_names_then_buckets_in_the_order_of_names(
    place: Place, dana: Visitor, exporting: Exporting
) -> None:
    for name in ("pond", "Lake", "Sea"):
        exporting.activate(exporting.add("acme-events", name=name, prefix=f"{name}/"))
    shown = dana.get(f"/p/{place.project}/destinations").text
    places = [f"{name} s3://acme-events/{name}/" for name in ("Lake", "pond", "Sea")]
    assert sorted(places, key=shown.index) == places


def test_the_overview_is_titled_with_the_name(
    place: Place, dana: Visitor, exporting: Exporting
) -> None:
    exporting.activate(exporting.add(name="<Lake & Sea>"))
    shown = dana.get(overview(place))
    assert "<title>&lt;Lake &amp; Sea&gt;" in shown.answer.text
    # The heading, and where this is.
    assert shown.text.count("<Lake & Sea>") == 2
    assert "s3://acme-events/" in shown.text


def test_one_that_is_not_verified_leads_to_its_set_up(
    place: Place, dana: Visitor, exporting: Exporting
) -> None:
    added = exporting.add()
    place.add("view@acme.example", "viewer")
    viewer = place.visitor("view@acme.example")
    begin = f"/p/{place.project}/catalog/set-up/{added.id}"
    # A command added it, so the set-up on the pages is begun by going on.
    for path in (overview(place), f"{overview(place)}/live"):
        assert dana.get(path).all("form", action=begin)
        assert not viewer.get(path).all("form", action=begin)
    assert "A manager or an admin goes on with it." in viewer.get(overview(place)).text
    draft = dana.post(begin).location.removesuffix("/policy")
    for path in (overview(place), f"{overview(place)}/live"):
        shown = dana.get(path)
        assert f"{draft}/verify" in shown.links()
        assert not shown.all("form", action=begin)
        assert f"{draft}/verify" not in viewer.get(path).links()
    dana.get(f"{draft}/verify")
    exporting.activate(added)
    assert "Go on with the set-up" not in dana.get(overview(place)).text
