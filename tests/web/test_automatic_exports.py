"""The list of automatic exports: documented columns, filters in the address, live."""

from __future__ import annotations

from typing import Any

import pytest

from tailrace.clock import MICROS
from tailrace.hours import Hour
from tailrace.settings import ExportSettings, Settings
from tailrace.state.delivery import RUN_STATES, Cause
from tailrace.state.reports import Run
from tailrace.web.automatic_exports import TRIGGERS_MAX
from tailrace.web.automatic_values import STATUSES, AutomaticRow, automatic_rows, states_of
from tests.web.conftest import Place, Visitor
from tests.web.exporting import REFUSED, Exporting
from tests.web.reading import Read
from tests.web.test_overview import dana as dana
from tests.web.test_overview import exporting as exporting
from tests.web.test_overview import now as now

HOUR = Hour.parse("2026-11-20T09")


@pytest.fixture
def settings() -> Settings:
    return Settings(export=ExportSettings(private_endpoints=True))


def row(**changes: Any) -> AutomaticRow:
    values: dict[str, Any] = {
        "destination_id": 1,
        "data_type": "events",
        "scope": 300001,
        "hour": HOUR,
        "manual_export": 0,
        "state": "success",
        "attempts": 1,
        "lease": 1,
        "due_micros": None,
        "cause": None,
        "sealed": True,
        "files": 2,
        "lines": 58_302,
        "size_bytes": 1_200_000,
        "files_delivered": 2,
        "created_micros": HOUR.end_micros,
        "started_micros": HOUR.end_micros,
        "tries": (),
        "finished_micros": HOUR.end_micros + 146 * MICROS,
    }
    (found,) = automatic_rows([Run(**values | changes)], "/d")
    return found


def page(place: Place, query: str = "") -> str:
    return f"/p/{place.project}/destinations/1/automatic-exports{query}"


def hours_of(shown: Read) -> list[str]:
    return [link.rpartition("/")[2] for link in shown.links() if "/hours/" in link]


def columns(shown: Read) -> int:
    return len(shown.all("th", scope="col"))


def test_an_hour_that_is_out_is_told_in_the_documented_columns() -> None:
    found = row()
    assert (found.state, found.tone) == ("Success", "ok")
    assert found.exported == "2026-11-20 09:00 to 10:00"
    assert found.completed == "2026-11-20 10:02"
    assert found.completed_at == "2026-11-20T10:02:26Z"
    assert (found.lines, found.files, found.size) == ("58,302", "2", "1.2 MB")
    assert (found.delay, found.attempts) == ("2m 26s", "1")
    assert found.href == "/d/hours/2026-11-20T09"
    assert (found.trigger, found.trigger_href) == ("Hourly", "")


def test_one_by_hand_leads_to_its_manual_export_and_has_no_delay() -> None:
    found = row(manual_export=3)
    assert (found.trigger, found.trigger_href) == ("Manual export 3", "/d/manual-exports#export-3")
    assert found.delay == "–"
    assert found.id != row().id


@pytest.mark.parametrize(
    ("state", "word"),
    [("failed", "Failed"), ("retrying", "Retrying"), ("conflict", "Conflict")],
)
def test_one_in_trouble_says_why_in_a_few_words(state: str, word: str) -> None:
    cause = Cause("access", "AccessDenied", "S3 answered 403.", "Add it.", title="Not let in")
    found = row(state=state, cause=cause, finished_micros=None)
    assert (found.state, found.why, found.completed, found.delay) == (word, "Not let in", "–", "–")
    assert row(state=state, cause=REFUSED, finished_micros=None).why == REFUSED.sentence


def test_what_was_mended_says_nothing_of_it_any_more() -> None:
    assert row(cause=REFUSED).why == ""
    assert row(state="running", cause=REFUSED, finished_micros=None).why == ""


def test_one_that_was_left_out_was_never_completed() -> None:
    found = row(state="cancelled")
    assert (found.state, found.completed, found.delay) == ("Left out", "–", "–")


def test_every_state_can_be_chosen() -> None:
    assert {state for _, _, states in STATUSES for state in states} == set(RUN_STATES)
    assert states_of("nothing") == ()


def test_the_newest_hours_come_first_with_how_many_there_are(
    place: Place, dana: Visitor, exporting: Exporting, now: Hour
) -> None:
    exporting.activate(exporting.add())
    exporting.seal(now.plus(-3), now.plus(-2))
    exporting.deliver()
    exporting.seal(now.plus(-1))

    shown = dana.get(page(place))

    assert hours_of(shown) == [str(now.plus(-1)), str(now.plus(-2)), str(now.plus(-3))]
    assert "Showing 3 rows" in shown.text
    assert "Status Date Exported (UTC) Completed At (UTC) Events Files" in shown.text
    assert shown.all("th", aria_sort="descending") == shown.all("th", scope="col")[1:2]


def test_both_data_types_have_rows_and_a_column_that_tells_them_apart(
    place: Place, dana: Visitor, exporting: Exporting, now: Hour
) -> None:
    exporting.activate(exporting.add())
    exporting.seal(now.plus(-1))
    assert columns(dana.get(page(place))) == 8
    exporting.activate(exporting.add("both", include_merged_ids=True))
    both = dana.get(page(place).replace("/1/", "/2/"))
    assert columns(both) == 9
    assert "Data Events Files" in both.text


def test_rows_are_filtered_by_status_and_date(
    place: Place, dana: Visitor, exporting: Exporting, now: Hour
) -> None:
    exporting.activate(exporting.add())
    exporting.seal(now.plus(-2))
    exporting.deliver()
    exporting.seal(now.plus(-1))
    exporting.deliver(refused=1)

    assert hours_of(dana.get(page(place, "?status=attention"))) == [str(now.plus(-1))]
    assert hours_of(dana.get(page(place, "?status=success"))) == [str(now.plus(-2))]
    assert len(hours_of(dana.get(page(place, f"?from={now.date}&to={now.date}")))) == 2
    none = dana.get(page(place, "?to=2020-01-01"))
    assert "No export matches" in none.text
    assert "Showing 0 rows" in none.text
    # A status that there is not shows all.
    assert len(hours_of(dana.get(page(place, "?status=x&sort=x&skip=x")))) == 2


@pytest.mark.parametrize(
    ("query", "field"),
    [("?from=yesterday", "from"), ("?to=2026-13-01", "to"), ("?from=2999-01-01", "from")],
)
def test_a_wrong_date_is_told_beside_its_field(
    place: Place, dana: Visitor, exporting: Exporting, now: Hour, query: str, field: str
) -> None:
    exporting.activate(exporting.add())
    shown = dana.get(page(place, query), 422)
    assert shown.all("input", name=field)[0]["aria-invalid"] == "true"
    assert not any("data-live" in one for one in shown.all("div"))


def test_the_one_that_was_completed_last_can_come_first(
    place: Place, dana: Visitor, exporting: Exporting, now: Hour
) -> None:
    exporting.activate(exporting.add())
    exporting.seal(now.plus(-2))
    exporting.deliver()
    exporting.seal(now.plus(-1))
    links = dana.get(page(place)).links()
    sort = next(link for link in links if "sort=completed" in link)
    assert hours_of(dana.get(sort)) == [str(now.plus(-2)), str(now.plus(-1))]


def test_older_rows_are_a_page_away_and_none_is_left_out(
    place: Place, dana: Visitor, exporting: Exporting, now: Hour
) -> None:
    exporting.activate(exporting.add())
    exporting.destinations.set_interval(1, now.plus(-130), None)
    hours = [now.plus(-130 + one) for one in range(130)]
    exporting.seal(*hours)

    first = dana.get(page(place))
    assert "Showing 100 rows" in first.text
    second = dana.get(next(link for link in first.links() if "skip=100" in link))
    assert "Showing 30 rows, from row 101 on" in second.text
    assert hours_of(first) + hours_of(second) == [str(one) for one in reversed(hours)]
    assert page(place) in second.links()


def test_it_is_live_and_costs_nothing_while_nothing_changes(
    place: Place, dana: Visitor, exporting: Exporting, now: Hour
) -> None:
    exporting.activate(exporting.add())
    exporting.seal(now.plus(-1))
    since = dana.get(page(place, "?status=pending")).field("since")
    dana.get(page(place, f"/live?status=pending&since={since}"), 204)
    exporting.deliver()
    assert hours_of(dana.get(page(place, f"/live?status=pending&since={since}"))) == []


def test_without_a_run_it_says_what_will_stand_there(
    place: Place, dana: Visitor, exporting: Exporting
) -> None:
    exporting.add()
    assert "No automatic export yet" in dana.get(page(place)).text


@pytest.fixture
def by_hand(place: Place, dana: Visitor, exporting: Exporting, now: Hour) -> tuple[Hour, Hour]:
    """Two hours before there was a destination, exported by hand: the first one twice."""
    first, second = now.plus(-31), now.plus(-30)
    exporting.seal(first, second)
    exporting.activate(exporting.add_unreachable())
    exporting.seal(now.plus(-1))
    for until in (first, second):
        dana.post(
            f"/p/{place.project}/destinations/1/export",
            {
                "first_date": first.date,
                "first_hour": f"{first.of_day:02d}",
                "last_date": until.date,
                "last_hour": f"{until.of_day:02d}",
            },
        )
    return first, second


def test_manual_exports_stand_elsewhere_unless_they_are_asked_for(
    place: Place, dana: Visitor, exporting: Exporting, now: Hour, by_hand: tuple[Hour, Hour]
) -> None:
    first, second = (str(one) for one in by_hand)
    hourly, both = dana.get(page(place)), dana.get(page(place, "?trigger=all"))
    assert hours_of(hourly) == [str(now.plus(-1))]
    assert columns(hourly) == 8
    assert hours_of(both) == [str(now.plus(-1)), second, first, first]
    assert columns(both) == 9
    documented = "Status Date Exported (UTC) Completed At (UTC) Trigger Events"
    assert documented in both.text
    assert [one for one in both.links() if "#export-" in one] == [
        f"/p/{place.project}/destinations/1/manual-exports#export-{number}" for number in (2, 1, 2)
    ]
    ids = [one["id"] for one in both.all("tr") if "id" in one]
    assert len(ids) == len(set(ids)) == 4


def test_the_runs_of_one_manual_export_can_be_listed(
    place: Place, dana: Visitor, exporting: Exporting, now: Hour, by_hand: tuple[Hour, Hour]
) -> None:
    first, second = (str(one) for one in by_hand)
    shown = dana.get(page(place, "?trigger=2"))
    assert hours_of(shown) == [second, first]
    assert [one["value"] for one in shown.all("option") if "selected" in one] == ["", "2"]
    options = [one["value"] for one in shown.all("option")]
    assert options[-4:] == ["", "all", "2", "1"]
    live = next(one["data-hx-get"] for one in shown.all("div") if "data-live" in one)
    assert hours_of(dana.get(live)) == [second, first]
    assert hours_of(dana.get(page(place, "?trigger=1"))) == [first]
    # The list of manual exports leads here.
    listed = dana.get(f"/p/{place.project}/destinations/1/manual-exports")
    assert page(place, "?trigger=2") in listed.links()


@pytest.mark.parametrize("trigger", ["9", "0", "02", "x", "9" * 30])
def test_a_trigger_that_there_is_not_is_the_hour(
    place: Place,
    dana: Visitor,
    exporting: Exporting,
    now: Hour,
    by_hand: tuple[Hour, Hour],
    trigger: str,
) -> None:
    assert hours_of(dana.get(page(place, f"?trigger={trigger}"))) == [str(now.plus(-1))]


def test_a_manual_export_of_another_destination_is_no_trigger_here(
    place: Place, dana: Visitor, exporting: Exporting, now: Hour, by_hand: tuple[Hour, Hour]
) -> None:
    exporting.add_unreachable("another")
    shown = dana.get(page(place, "?trigger=1").replace("/1/", "/2/"))
    assert hours_of(shown) == [str(now.plus(-1))]
    assert "Manual export 1" not in shown.text


def test_an_older_manual_export_can_be_chosen_by_its_address(
    place: Place, dana: Visitor, exporting: Exporting, now: Hour, by_hand: tuple[Hour, Hour]
) -> None:
    day = now.plus(-24 * 9).date
    path = f"/p/{place.project}/destinations/1/export"
    for _ in range(TRIGGERS_MAX):
        dana.post(path, {"first_date": day, "last_date": day})
    without, chosen = dana.get(page(place)), dana.get(page(place, "?trigger=1"))
    assert "1" not in [one["value"] for one in without.all("option")]
    assert [one["value"] for one in chosen.all("option") if "selected" in one] == ["", "1"]


def test_the_overview_leads_to_all_runs(
    place: Place, dana: Visitor, exporting: Exporting, now: Hour, by_hand: tuple[Hour, Hour]
) -> None:
    shown = dana.get(f"/p/{place.project}/destinations/1")
    assert page(place, "?trigger=all") in shown.links()
