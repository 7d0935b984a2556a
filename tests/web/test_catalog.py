"""The catalog, and the first step of a set-up."""

from __future__ import annotations

import pytest

from tailrace.state.destinations import Destinations, NewDestination
from tailrace.state.drafts import DRAFTS_MAX, Choices, Drafts
from tests.web.conftest import Place, Visitor


def _dana(place: Place) -> Visitor:
    place.add("ann@acme.example")
    place.add("dana@acme.example", "manager")
    return place.visitor("dana@acme.example")


def _catalog(place: Place) -> str:
    return f"/p/{place.project}/catalog/destinations"


def _new(place: Place) -> str:
    return f"/p/{place.project}/catalog/amazon-s3/new"


def _drafts(place: Place) -> Drafts:
    return Drafts(place.engine, place.site.clock, by="dana@acme.example")


def test_the_catalog_leads_to_a_set_up_for_those_who_may(place: Place) -> None:
    page = _dana(place).get(_catalog(place))
    assert "Warehouse Destination" in page.text
    assert "Amazon S3" in page.text
    assert _new(place) in page.links()
    place.add("view@acme.example", "viewer")
    seen = place.visitor("view@acme.example").get(_catalog(place))
    assert _new(place) not in seen.links()
    assert "Managers and admins of the organization connect buckets." in seen.text


def test_looking_at_the_first_step_keeps_nothing_and_choosing_begins_a_set_up(
    place: Place,
) -> None:
    dana = _dana(place)
    page = dana.get(_new(place))
    assert "Export events ingested today and moving forward" in page.text
    assert "Export all merged Amplitude IDs" in page.text
    assert _drafts(place).unfinished(place.project) == []
    begun = dana.post(_new(place), {"data": "merged-ids"})
    (draft,) = _drafts(place).unfinished(place.project)
    assert begun.location == f"/p/{place.project}/setup/{draft.id}/policy"
    assert not draft.choices.include_events
    assert draft.choices.include_merged_ids
    assert draft.changed_by == "dana@acme.example"


def test_the_name_is_pre_filled_and_kept_with_the_set_up(place: Place) -> None:
    dana = _dana(place)
    assert dana.get(_new(place)).field("name") == "Amazon S3"
    begun = dana.post(_new(place), {"data": "events", "name": " Lake "})
    assert dana.get(begun.location.replace("/policy", "/data")).field("name") == "Lake"
    assert "Lake Events" in dana.get(_catalog(place)).text
    bar = dana.get(begun.location).text
    assert "Lake: Events" in bar
    # The next one is offered what nobody has, not even a set-up.
    dana.post(_new(place), {"data": "events", "name": "amazon S3"})
    assert dana.get(_new(place)).field("name") == "Amazon S3 2"


@pytest.mark.parametrize(
    ("name", "words"),
    [("", "1 to 60 characters"), ("x" * 61, "1 to 60 characters"), ("LAKE", "is named 'Lake'")],
)
def test_a_name_that_can_not_be_is_told_beside_its_field(
    place: Place, name: str, words: str
) -> None:
    new = NewDestination(project=place.project, bucket="acme-raw", name="Lake")
    Destinations(place.engine, place.site.clock).add(new)
    dana = _dana(place)
    shown = dana.post(_new(place), {"data": "events", "name": name}, status=422)
    (wrong,) = shown.all("input", aria_invalid="true")
    assert (wrong["name"], wrong["value"]) == ("name", name)
    assert words in shown.text
    assert _drafts(place).unfinished(place.project) == []
    # Both mistakes are told at once.
    assert "Choose what to export" in dana.post(_new(place), {"name": name}, status=422).text


def test_nothing_chosen_is_told_and_nothing_is_begun(place: Place) -> None:
    shown = _dana(place).post(_new(place), {}, status=422)
    assert "Choose what to export" in shown.text
    assert _drafts(place).unfinished(place.project) == []


def test_a_set_up_is_gone_on_with_by_anybody_who_may_and_can_be_discarded(place: Place) -> None:
    draft = _drafts(place).begin(place.project, Choices(bucket="acme-raw"))
    place.add("bob@acme.example", "admin")
    bob = place.visitor("bob@acme.example")
    page = bob.get(_catalog(place))
    assert "Set-up not finished" in page.text
    assert "s3://acme-raw/" in page.text
    assert "by dana@acme.example" in page.text
    policy = f"/p/{place.project}/setup/{draft.id}/policy"
    assert policy in page.links()
    assert bob.get(policy).field("bucket") == "acme-raw"
    bob.post(f"/p/{place.project}/setup/{draft.id}/discard")
    assert "Set-up not finished" not in bob.get(_catalog(place)).text
    bob.get(policy, 404)


def test_a_destination_that_a_command_added_is_gone_on_with(place: Place) -> None:
    new = NewDestination(project=place.project, bucket="acme-raw", region="us-east-1")
    added = Destinations(place.engine, place.site.clock).add(new)
    dana = _dana(place)
    assert "s3://acme-raw/" in dana.get(_catalog(place)).text
    path = f"/p/{place.project}/catalog/set-up/{added.id}"
    first, again = dana.post(path), dana.post(path)
    assert first.location == again.location
    assert dana.get(first.location).field("region") == "us-east-1"


def test_a_project_has_a_limited_number_of_unfinished_set_ups(place: Place) -> None:
    for _ in range(DRAFTS_MAX):
        _drafts(place).begin(place.project, Choices())
    shown = _dana(place).post(_new(place), {"data": "events"}, status=422)
    assert f"has {DRAFTS_MAX} set-ups" in shown.text


def test_a_set_up_of_another_project_does_not_exist(place: Place) -> None:
    other = place.add_project(place.organization, "Other").project_id
    draft = _drafts(place).begin(place.project, Choices())
    dana = _dana(place)
    for step in ("data", "policy", "verify"):
        dana.get(f"/p/{other}/setup/{draft.id}/{step}", 404)
