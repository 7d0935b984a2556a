"""*Export Data* and the list of manual exports, as a person reads and uses them."""

from __future__ import annotations

from typing import Any

import pytest

from tailrace.hours import Hour
from tailrace.settings import ExportSettings, Settings
from tailrace.state.manual_exports import ManualExports, NewManualExport
from tailrace.web.list_address import ROWS
from tests.web.conftest import Place, Visitor
from tests.web.exporting import REFUSED, Exporting
from tests.web.reading import Read
from tests.web.test_overview import dana as dana
from tests.web.test_overview import exporting as exporting
from tests.web.test_overview import now as now


@pytest.fixture
def settings() -> Settings:
    return Settings(export=ExportSettings(private_endpoints=True))


@pytest.fixture
def path(place: Place, exporting: Exporting) -> str:
    """A destination whose store can't be reached, so that nothing leaves this machine."""
    exporting.add_unreachable()
    return f"/p/{place.project}/destinations/1"


def fields(first: str, last: str, **more: str) -> dict[str, str]:
    return {"first_date": first, "last_date": last, "types": "events", **more}


def test_the_form_offers_yesterday_and_what_there_is(
    dana: Visitor, exporting: Exporting, now: Hour, path: str
) -> None:
    old = now.plus(-24 * 40)
    exporting.seal(old)
    shown = dana.get(f"{path}/export")
    yesterday = now.plus(-24).date
    assert shown.field("first_date") == yesterday
    assert shown.field("last_date") == yesterday
    assert f"Everything since {old.date}" in shown.text
    chosen = dana.get(f"{path}/export?from=2026-12-01&to=2026-12-09")
    assert (chosen.field("first_date"), chosen.field("last_date")) == ("2026-12-01", "2026-12-09")
    assert [one["value"] for one in chosen.all("option") if "selected" in one] == ["", ""]


@pytest.mark.parametrize(
    ("query", "dates", "hours"),
    [
        ("?from=2026-11-20T14&to=2026-11-21T07", ("2026-11-20", "2026-11-21"), ["14", "07"]),
        ("?from=2026-11-20T14", ("2026-11-20", "2026-11-20"), ["14", "14"]),
        ("?from=2026-11-20&to=2026-11-20T00", ("2026-11-20", "2026-11-20"), ["", "00"]),
        ("?from=2026-11-20T24&to=2026-11-20T1", ("2026-11-20", "2026-11-20"), ["", ""]),
    ],
)
def test_the_address_fills_in_dates_and_hours(
    dana: Visitor, path: str, query: str, dates: tuple[str, str], hours: list[str]
) -> None:
    shown = dana.get(f"{path}/export{query}")
    assert (shown.field("first_date"), shown.field("last_date")) == dates
    assert [one["value"] for one in shown.all("option") if "selected" in one] == hours


WRONG: dict[str, tuple[dict[str, str], str, str]] = {
    "ends before it begins": (
        fields("2027-01-12", "2027-01-10"),
        "last_date",
        "The end date 2027-01-10 is before the start date 2027-01-12.",
    ),
    "in the future": (
        fields("2027-03-01", "2027-03-02"),
        "first_date",
        "The start date 2027-03-01 is in the future",
    ),
    "no date": (fields("", "2027-01-10"), "first_date", "The start date '' is no date"),
}


@pytest.mark.parametrize("what", WRONG)
@pytest.mark.parametrize("button", ["export/preview", "export"])
def test_a_wrong_range_is_said_beside_its_field_and_starts_nothing(
    dana: Visitor, exporting: Exporting, now: Hour, path: str, what: str, button: str
) -> None:
    sent, field, sentence = WRONG[what]
    shown = dana.post(f"{path}/{button}", sent, status=422)
    assert sentence in shown.text
    assert shown.all("input", name=field)[0]["aria-invalid"] == "true"
    # What was typed stays.
    assert shown.field("last_date") == sent["last_date"]
    assert "No manual export" in dana.get(f"{path}/manual-exports").text


def test_a_bucket_that_can_not_be_read_is_said_and_the_export_can_start_all_the_same(
    dana: Visitor, exporting: Exporting, now: Hour, path: str
) -> None:
    hour = now.plus(-30)
    exporting.seal(hour)
    sent = fields(hour.date, hour.date, first_hour=f"{hour.of_day:02d}", last_hour="23")
    shown = dana.post(f"{path}/export/preview", sent, status=200)
    assert "The bucket can't be read now" in shown.text
    assert "Start Export" in shown.text

    started = dana.post(f"{path}/export", sent)

    assert started.location == f"{path}/manual-exports#export-1"
    listed = dana.get(f"{path}/manual-exports")
    assert f"{hour} {hour.day_start().plus(23)}" in listed.text
    assert "0 of 1 hour" in listed.text
    assert "dana@acme.example" in listed.text
    assert "Showing 1 row" in listed.text


def test_nothing_chosen_of_two_data_types_is_said(
    place: Place, dana: Visitor, exporting: Exporting, now: Hour
) -> None:
    exporting.add_unreachable(include_merged_ids=True)
    path = f"/p/{place.project}/destinations/1/export"
    day = now.plus(-24).date
    shown = dana.post(path, {"first_date": day, "last_date": day}, status=422)
    assert "Nothing to export: tick events, merged IDs or both." in shown.text


def start(dana: Visitor, exporting: Exporting, path: str, hour: Hour) -> None:
    exporting.seal(hour)
    dana.post(f"{path}/export", fields(hour.date, hour.date))


def test_one_is_paused_resumed_and_cancelled_by_its_buttons(
    dana: Visitor, exporting: Exporting, now: Hour, path: str
) -> None:
    start(dana, exporting, path, now.plus(-30))
    listed = f"{path}/manual-exports"
    for action, word, buttons in (
        ("pause", "Paused", ["Resume", "Cancel"]),
        ("resume", "Running", ["Pause", "Cancel"]),
        ("cancel", "Cancelled", []),
    ):
        assert dana.post(f"{listed}/1/{action}").location == f"{listed}#export-1"
        shown = dana.get(listed)
        assert word in table(shown)
        labels = [one.get("aria-label", "") for one in shown.all("button")]
        assert [one.split()[0] for one in labels if "manual export 1" in one] == buttons


def test_what_can_not_be_done_any_more_is_said(
    dana: Visitor, exporting: Exporting, now: Hour, path: str
) -> None:
    start(dana, exporting, path, now.plus(-30))
    dana.post(f"{path}/manual-exports/1/cancel")
    shown = dana.post(f"{path}/manual-exports/1/pause", status=400)
    assert "Cannot pause the manual export 1: it is cancelled" in shown.text


@pytest.mark.parametrize("what", ["9/pause", "1/delete"])
def test_what_is_not_there_is_a_404(
    dana: Visitor, exporting: Exporting, now: Hour, path: str, what: str
) -> None:
    start(dana, exporting, path, now.plus(-30))
    dana.post(f"{path}/manual-exports/{what}", status=404)


def test_one_of_another_destination_is_not_reached_from_here(
    dana: Visitor, exporting: Exporting, now: Hour, path: str
) -> None:
    exporting.add_unreachable("another")
    start(dana, exporting, path, now.plus(-30))
    dana.post(f"{path[:-1]}2/manual-exports/1/cancel", status=404)
    assert "Running" in table(dana.get(f"{path}/manual-exports"))


def test_the_list_is_filtered_and_costs_nothing_while_it_is_as_it_was(
    place: Place, dana: Visitor, exporting: Exporting, now: Hour, path: str
) -> None:
    start(dana, exporting, path, now.plus(-30))
    listed = f"{path}/manual-exports"
    assert "No manual export" in dana.get(f"{listed}?status=success").text
    since = dana.get(f"{listed}?status=running").field("since")
    dana.get(f"{listed}/live?status=running&since={since}", 204)
    while (held := _claim(exporting)) is not None:
        for file, _ in exporting.ledger.files(held):
            exporting.ledger.file_delivered(held, file.number, file.name, "put", 7)
        exporting.ledger.succeeded(held, now.start_micros)
    changed = dana.get(f"{listed}/live?status=success&since={since}")
    assert "Success" in table(changed)
    assert "1 of 1 hour" in changed.text
    assert f"{now.date} 14:00" in changed.text


@pytest.mark.parametrize(
    ("merged", "progress", "pace"),
    [(False, "2 of 3 hours", "1 hour a minute"), (True, "2 of 6 runs", "1 run a minute")],
    ids=["events", "both"],
)
def test_what_is_counted_is_what_is_said(
    place: Place,
    dana: Visitor,
    exporting: Exporting,
    now: Hour,
    *,
    merged: bool,
    progress: str,
    pace: str,
) -> None:
    to = exporting.add_unreachable("both", include_merged_ids=True)
    hours = [now.plus(-30 + number) for number in range(3)]
    exporting.seal(*hours)
    exporting.seal_merged_ids(*hours)
    exports = ManualExports(place.engine, place.site.clock, by="dana@acme.example")
    exports.start(
        NewManualExport(
            destination_id=to.id,
            from_hour=hours[0],
            until_hour=hours[-1].next(),
            include_events=True,
            include_merged_ids=merged,
        )
    )
    for number in range(2):
        held = _claim(exporting)
        for file, _ in exporting.ledger.files(held):
            exporting.ledger.file_delivered(held, file.number, file.name, "put", 7)
        exporting.ledger.succeeded(held, now.start_micros + number * 60_000_000)
    shown = table(dana.get(f"/p/{place.project}/destinations/{to.id}/manual-exports"))
    assert progress in shown
    assert pace in shown


def test_older_ones_are_a_page_away_and_none_is_left_out(
    place: Place, dana: Visitor, exporting: Exporting, now: Hour, path: str
) -> None:
    exports = ManualExports(place.engine, place.site.clock, by="dana@acme.example")
    day = now.plus(-24 * 30)
    new = NewManualExport(
        destination_id=1,
        from_hour=day,
        until_hour=day.next(),
        include_events=True,
        include_merged_ids=False,
    )
    # Nothing is sealed, so each is finished at once.
    for _ in range(ROWS + 3):
        exports.start(new)

    first = dana.get(f"{path}/manual-exports")
    assert "Showing 100 rows" in first.text
    assert not [link for link in first.links() if link.endswith("/manual-exports?skip=0")]
    second = dana.get(next(link for link in first.links() if "skip=100" in link))
    assert "Showing 3 rows, from row 101 on" in second.text
    assert rows_of(first) + rows_of(second) == list(range(ROWS + 3, 0, -1))
    assert f"{path}/manual-exports" in second.links()
    assert not [link for link in second.links() if "skip=200" in link]
    # What follows by itself is what is shown.
    live = next(one["data-hx-get"] for one in second.all("div") if "data-live" in one)
    assert rows_of(dana.get(live)) == rows_of(second)
    beyond = dana.get(f"{path}/manual-exports?skip=900")
    assert "No manual export matches" in beyond.text
    assert "Showing 0 rows, from row 901 on" in beyond.text


def test_a_status_that_only_runs_tell_is_paged_as_well(
    place: Place, dana: Visitor, exporting: Exporting, now: Hour, path: str
) -> None:
    hours = [now.plus(-24 * 30 + number) for number in range(4)]
    exporting.seal(*hours)
    for hour in hours:
        dana.post(
            f"{path}/export",
            fields(hour.date, hour.date, first_hour=_hour(hour), last_hour=_hour(hour)),
        )
    for _ in range(2):
        exporting.ledger.conflict(_claim(exporting), REFUSED, "raw/x")
    listed = f"{path}/manual-exports"
    assert rows_of(dana.get(f"{listed}?status=conflict")) == [2, 1]
    assert rows_of(dana.get(f"{listed}?status=conflict&skip=1")) == [1]
    assert rows_of(dana.get(f"{listed}?status=running&skip=1")) == [3]
    assert rows_of(dana.get(f"{listed}?status=success")) == []


def table(shown: Read) -> str:
    """Return what the rows say, without the choices of the filter."""
    return shown.text.partition("Progress Actions")[2]


def _hour(hour: Hour) -> str:
    return f"{hour.of_day:02d}"


def rows_of(shown: Read) -> list[int]:
    ids = [one["id"] for one in shown.all("tr") if one.get("id", "").startswith("export-")]
    return [int(one.removeprefix("export-")) for one in ids]


def test_who_may_only_look_sees_no_buttons(
    place: Place, dana: Visitor, exporting: Exporting, now: Hour, path: str
) -> None:
    start(dana, exporting, path, now.plus(-30))
    place.add("viewer@acme.example", "viewer")
    viewer = place.visitor("viewer@acme.example")
    assert f"{path}/export" in dana.get(path).links()
    assert f"{path}/export" not in viewer.get(path).links()
    shown = viewer.get(f"{path}/manual-exports")
    assert "Running" in table(shown)
    assert not [one for one in shown.all("button") if "manual export" in one.get("aria-label", "")]


def _claim(exporting: Exporting) -> Any:
    return exporting.ledger.claim_manual(
        now_micros=0, lease_micros=60_000_000, destination_limit=9, manual_limit=9
    )
