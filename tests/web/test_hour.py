"""The page of one hour: what lies where, what was tried, and that its events add up."""

from __future__ import annotations

import pytest

from tailrace.app.runs import Equation
from tailrace.hours import Hour
from tailrace.web.hour_values import DAYS_MAX, days_of, equation
from tests.web.conftest import Place, Visitor
from tests.web.exporting import REFUSED, Exporting
from tests.web.test_overview import dana as dana
from tests.web.test_overview import exporting as exporting
from tests.web.test_overview import now as now


def page(place: Place, hour: Hour) -> str:
    return f"/p/{place.project}/destinations/1/hours/{hour}"


def test_an_exported_hour_tells_its_files_and_that_they_add_up(
    place: Place, dana: Visitor, exporting: Exporting, now: Hour
) -> None:
    exporting.activate(exporting.add())
    hour = now.plus(-2)
    exporting.seal(hour)
    exporting.deliver()

    shown = dana.get(page(place, hour))

    assert "13:02:26 UTC, 2m 26s after the hour closed." in shown.text
    name = f"{place.project}_{hour.date}_{hour.of_day}#1.json.gz"
    assert f"s3://acme-events/raw/{name}" in shown.text
    assert (
        "58,308 accepted = 58,302 exported + 1 duplicates + 3 identifies + 2 filtered" in shown.text
    )
    assert "attempt 1: exported" in shown.text


def test_an_hour_tells_on_which_days_its_events_happened() -> None:
    many = {f"2026-11-{day:02d}": day for day in range(1, 21)}
    found = days_of(many)
    assert len(found) == DAYS_MAX
    assert (found[0].date, found[0].said, found[0].count) == ("2026-11-20", "20 events", 20)
    assert {one.most for one in found} == {20}
    assert days_of({}) == ()


def test_a_failed_hour_tells_why_and_what_to_do(
    place: Place, dana: Visitor, exporting: Exporting, now: Hour
) -> None:
    exporting.activate(exporting.add())
    exporting.seal(now.plus(-2))
    exporting.refuse()
    shown = dana.get(page(place, now.plus(-2)))
    assert "Failed" in shown.text
    assert "S3 answered 403 AccessDenied to PutObject." in shown.text
    assert "Add s3:PutObject to the policy of the bucket." in shown.text
    assert "Not exported yet" in shown.text


def test_an_ended_hour_leads_to_an_export_of_just_it(
    place: Place, dana: Visitor, exporting: Exporting, now: Hour
) -> None:
    exporting.activate(exporting.add(include_merged_ids=True))
    hour = now.plus(-2)
    exporting.seal(hour)
    exporting.deliver()
    shown = dana.get(page(place, hour))
    assert "Export again" in shown.text
    assert "Objects that were changed there are replaced only with Overwrite" in shown.text

    form = dana.get(next(link for link in shown.links() if "/export?" in link))

    assert (form.field("first_date"), form.field("last_date")) == (hour.date, hour.date)
    chosen = [one["value"] for one in form.all("option") if "selected" in one]
    assert chosen == ["12", "12"]
    # The hour has no merged IDs, so none are exported again.
    assert [one["value"] for one in form.all("input", name="types") if "checked" in one] == [
        "events"
    ]
    assert not [one for one in form.all("input", name="overwrite") if "checked" in one]


def test_an_hour_that_met_other_content_says_what_overwrite_is_for(
    place: Place, dana: Visitor, exporting: Exporting, now: Hour
) -> None:
    exporting.activate(exporting.add())
    exporting.seal(now.plus(-2))
    held = exporting.claim()
    assert held is not None
    exporting.ledger.conflict(held, REFUSED, "raw/x")
    shown = dana.get(page(place, now.plus(-2)))
    assert "An object with other content is in the way." in shown.text


def test_hours_that_can_not_be_exported_by_hand_offer_nothing(
    place: Place, dana: Visitor, exporting: Exporting, now: Hour
) -> None:
    exporting.activate(exporting.add())
    exporting.seal(now.plus(-2))
    exporting.deliver()
    place.add("viewer@acme.example", "viewer")
    viewer = place.visitor("viewer@acme.example")
    # One that is open, one that is over and not closed, one for who only looks.
    for visitor, hour in ((dana, now), (dana, now.plus(-1)), (viewer, now.plus(-2))):
        assert not [one for one in visitor.get(page(place, hour)).links() if "/export" in one]
    # One that never was exported.
    assert "Export this hour" in dana.get(page(place, now.plus(-500))).text
    # One of a destination that was never verified.
    exporting.add("unverified")
    other = page(place, now.plus(-2)).replace("/1/", "/2/")
    assert not [one for one in dana.get(other).links() if "/export" in one]


@pytest.mark.parametrize(
    "hour", ["9999-12-31T23", "1970-01-01T00", "2999-01-01T00", "1969-12-31T23", "x"]
)
def test_an_hour_that_will_not_be_has_no_page(
    place: Place, dana: Visitor, exporting: Exporting, hour: str
) -> None:
    exporting.add()
    dana.get(f"/p/{place.project}/destinations/1/hours/{hour}", 404)
    dana.get(f"/p/{place.project}/destinations/1/hours/{hour}/files/events/1", 404)


def test_an_hour_that_is_open_or_not_exported_says_so(
    place: Place, dana: Visitor, exporting: Exporting, now: Hour
) -> None:
    exporting.activate(exporting.add())
    exporting.seal(now.plus(-1))
    assert "not closed yet" in dana.get(page(place, now)).text
    assert "is not exported to this destination" in dana.get(page(place, now.plus(-500))).text


def test_cells_of_the_overview_lead_to_their_hours(
    place: Place, dana: Visitor, exporting: Exporting, now: Hour
) -> None:
    exporting.activate(exporting.add())
    exporting.seal(now.plus(-1))
    links = dana.get(f"/p/{place.project}/destinations/1").links()
    assert page(place, now.plus(-1)) in links
    assert page(place, now.next()) not in links


@pytest.mark.parametrize("text", ["2026-11-20", "2026-11-20T4", "2026-11-20T24", "x"])
def test_what_is_no_hour_has_no_page(
    place: Place, dana: Visitor, exporting: Exporting, text: str
) -> None:
    exporting.add()
    dana.get(f"/p/{place.project}/destinations/1/hours/{text}", 404)


def test_an_equation_leaves_out_what_there_is_none_of() -> None:
    assert equation(Equation(0, 0, 0, 0, 0, 0)) == "0 accepted = 0 exported"
    assert equation(Equation(7, 5, 0, 0, 0, 2)) == "7 accepted = 5 exported + 2 held"
