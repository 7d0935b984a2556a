"""*Manage Export Settings*, as a person reads and uses it."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from tailrace.app.editing import DeletionPlan
from tailrace.hours import Hour
from tailrace.settings import ExportSettings, Settings
from tailrace.state import tables
from tailrace.state.database import writing
from tailrace.web.manage import ending
from tests.web.conftest import Place, Visitor
from tests.web.exporting import Exporting
from tests.web.hours import destination
from tests.web.test_overview import dana as dana
from tests.web.test_overview import exporting as exporting
from tests.web.test_overview import now as now


@pytest.fixture
def settings() -> Settings:
    return Settings(export=ExportSettings(private_endpoints=True))


@pytest.fixture
def path(place: Place, exporting: Exporting) -> str:
    exporting.add_unreachable()
    return f"/p/{place.project}/destinations/1"


def ticked(shown: object) -> set[str]:
    boxes = shown.all("input", name="content")  # type: ignore[attr-defined]
    return {one["value"] for one in boxes if "checked" in one}


def test_what_is_exported_is_shown_and_changed(
    dana: Visitor, exporting: Exporting, path: str
) -> None:
    assert ticked(dana.get(f"{path}/manage")) == {"events", "manifest", "marker"}
    # A browser sends a field once for each box that is ticked.
    answer = dana.client.post(
        f"{path}/manage",
        data={"form_token": dana.token(), "content": ["events", "merged-ids"]},
        follow_redirects=False,
    )
    assert answer.status_code == 303
    assert ticked(dana.get(f"{path}/manage")) == {"events", "merged-ids"}


def test_nothing_to_export_is_refused_and_changes_nothing(
    dana: Visitor, exporting: Exporting, path: str
) -> None:
    shown = dana.post(f"{path}/manage", {"content": "marker"}, status=422)
    assert "Cannot change destination 1" in shown.text
    assert exporting.destinations.get(1).include_events


def test_automatic_exports_are_switched_off_and_what_is_missed_is_told(
    dana: Visitor, exporting: Exporting, now: Hour, path: str
) -> None:
    assert dana.post(f"{path}/manage/pause").location == f"{path}/manage"
    exporting.seal(now.plus(-3), now.plus(-2), now.plus(-1))
    shown = dana.get(f"{path}/manage")
    assert f"{now.plus(-3)} to {now.plus(-1)}" in shown.text
    assert "3 hours" in shown.text
    assert "174,906 events" in shown.text
    assert "Switch on and export what was missed" in shown.text


def test_they_stay_off_while_access_does_not_work(
    dana: Visitor, exporting: Exporting, now: Hour, path: str
) -> None:
    dana.post(f"{path}/manage/pause")
    shown = dana.post(f"{path}/manage/resume", status=200)
    assert "Automatic exports are still off" in shown.text
    assert "Could not connect" in shown.text, shown.text
    assert exporting.destinations.get(1).state == "paused"


def test_what_is_not_off_can_not_be_switched_on(
    dana: Visitor, exporting: Exporting, path: str
) -> None:
    shown = dana.post(f"{path}/manage/resume", status=400)
    assert "Cannot resume destination 1: it is active, not paused." in shown.text


def test_what_a_deletion_gives_up_is_counted_in_words() -> None:
    both = destination(include_merged_ids=True)
    assert ending(DeletionPlan(both, 2, 2, (1, 2))).gives_up == (
        "2 runs that wait are not exported any more",
        "2 runs that were missed are not exported any more",
        "2 manual exports that go on are not exported any more",
    )
    assert ending(DeletionPlan(destination(), 1, 1, (1,))).gives_up == (
        "1 run that waits is not exported any more",
        "1 hour that was missed is not exported any more",
        "1 manual export that goes on is not exported any more",
    )
    assert ending(DeletionPlan(destination(), 0, 0, ())).gives_up == ()


def test_a_destination_is_deleted_by_its_name_alone(
    place: Place, dana: Visitor, exporting: Exporting, now: Hour, path: str
) -> None:
    exporting.seal(now.plus(-1))
    assert "1 run that waits is not exported any more" in dana.get(f"{path}/manage").text
    shown = dana.post(f"{path}/manage/delete", {"confirm": "acme-events"}, status=422)
    assert "Type the destination's name, Amazon S3, to delete it." in shown.text
    assert exporting.destinations.get(1).state == "active"

    done = dana.post(f"{path}/manage/delete", {"confirm": " Amazon S3 "})

    assert done.location == f"/p/{place.project}/destinations"
    assert exporting.destinations.get(1).state == "deleted"
    dana.get(f"{path}/manage", 404)


@pytest.mark.parametrize(
    ("kept", "typed"), [("Zürich", "Zu\u0308rich"), ("Zu\u0308rich", "Zürich")]
)
def test_how_a_letter_of_the_name_is_typed_keeps_nobody_from_deleting(
    place: Place, dana: Visitor, exporting: Exporting, path: str, kept: str, typed: str
) -> None:
    with writing(place.engine) as connection:
        connection.execute(sa.update(tables.destination).values(name=kept))
    dana.post(f"{path}/manage/delete", {"confirm": "Zurich"}, status=422)
    dana.post(f"{path}/manage/delete", {"confirm": f" {typed} "})
    assert exporting.destinations.get(1).state == "deleted"


def test_members_do_not_manage(place: Place, dana: Visitor, path: str) -> None:
    place.add("member@acme.example", "member")
    member = place.visitor("member@acme.example")
    assert f"{path}/manage" in dana.get(path).links()
    assert f"{path}/manage" not in member.get(path).links()
    member.get(f"{path}/manage", 403)
