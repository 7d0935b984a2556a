"""Destinations are added, activated by their probes alone, and leave a trail."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import msgspec
import pytest

from tailrace.errors import BadRequest
from tailrace.hours import Hour
from tailrace.state.audit import entries
from tailrace.state.delivery import Capabilities, Destination
from tailrace.state.destinations import Destinations, NewDestination
from tailrace.state.secrets import Secrets

if TYPE_CHECKING:
    from tests.state.conftest import Books


def test_a_new_destination_is_setting_up_and_reads_back_whole(books: Books) -> None:
    new = NewDestination(
        project=books.project,
        bucket="acme",
        name="Lake",
        region="eu-central-1",
        prefix="raw/",
        endpoint_url="http://127.0.0.1:8333",
        access_key_id="AKID",
        secret_encrypted=b"token",
        role_arn="arn:aws:iam::1:role/x",
        external_id="e",
        include_events=False,
        include_merged_ids=True,
        manifest=False,
        marker=False,
    )
    added = books.destinations.add(new)
    assert books.destinations.get(added.id) == added
    assert added.organization == books.organization
    assert (added.state, added.from_hour, added.capabilities) == ("setting_up", None, None)
    shown = msgspec.structs.asdict(added)
    assert {key: shown[key] for key in msgspec.structs.asdict(new)} == msgspec.structs.asdict(new)


def test_activation_keeps_capabilities_and_begins_with_today(books: Books) -> None:
    added = books.setting_up()
    seen = Capabilities(conditional_put=True, conditional_complete=False, checksums=False)
    active = books.destinations.activate(added.id, seen)
    assert (active.state, active.from_hour, active.until_hour) == ("active", books.today, None)
    assert active.capabilities == seen


def test_activation_on_another_day_keeps_the_first_hour(books: Books) -> None:
    added = books.active()
    books.clock.advance(48 * 3_600_000_000)
    assert books.destinations.activate(added.id, books.capabilities).from_hour == books.today


def test_capabilities_can_be_seen_anew(books: Books) -> None:
    added = books.active()
    seen = Capabilities(conditional_put=False, conditional_complete=False, checksums=False)
    assert books.destinations.set_capabilities(added.id, seen).capabilities == seen


def test_lists_are_narrowed_by_organization_and_project(books: Books) -> None:
    first = books.setting_up(bucket="one")
    other = books.add_project(books.organization)
    second = books.setting_up(bucket="two", project=other)
    rival = books.add_organization("Rival")
    third = books.setting_up(bucket="three", project=books.add_project(rival))
    ids = [found.id for found in books.destinations.list()]
    assert ids == [first.id, second.id, third.id]
    assert books.destinations.list(organization=rival) == [third]
    assert books.destinations.list(project=other) == [second]


def test_an_unknown_project_or_destination_is_refused(books: Books) -> None:
    with pytest.raises(BadRequest, match="no project 42"):
        books.setting_up(project=42)
    with pytest.raises(BadRequest, match="no destination 42"):
        books.destinations.get(42)
    with pytest.raises(BadRequest, match="no destination 42"):
        books.destinations.activate(42, books.capabilities)
    assert books.destinations.list() == []


def test_a_destination_that_would_receive_nothing_is_refused(books: Books) -> None:
    with pytest.raises(BadRequest, match="receive nothing"):
        books.destinations.add(
            NewDestination(project=books.project, bucket="acme", include_events=False)
        )


@pytest.mark.parametrize(
    ("ours", "theirs", "shared"),
    [
        (None, None, True),
        (None, "https://s3.eu-west-1.amazonaws.com", True),
        ("http://127.0.0.1:1", "HTTP://127.0.0.1:1/", True),
        ("http://127.0.0.1:1", "http://127.0.0.1:2", False),
        ("http://127.0.0.1:1", None, False),
    ],
)
def test_a_bucket_belongs_to_one_organization(
    books: Books, ours: str | None, theirs: str | None, shared: bool
) -> None:
    added = books.destinations.add(
        NewDestination(project=books.project, bucket="acme", endpoint_url=ours)
    )
    books.destinations.activate(added.id, books.capabilities)
    rival = books.add_project(books.add_organization("Rival"))
    wanted = NewDestination(project=rival, bucket="acme", endpoint_url=theirs)
    if not shared:
        books.destinations.add(wanted)
        return
    with pytest.raises(BadRequest, match="another organization") as refusal:
        books.destinations.add(wanted)
    assert "Acme" not in str(refusal.value)
    assert str(books.organization) not in str(refusal.value)


def test_a_bucket_that_was_only_named_is_of_whoever_is_verified_first(books: Books) -> None:
    rival = books.add_project(books.add_organization("Rival"))
    theirs = books.setting_up(project=rival)
    owned = books.active()
    books.destinations.pause(owned.id)
    books.destinations.resume(books.destinations.get(owned.id), books.capabilities)
    edited = msgspec.structs.replace(theirs, prefix="else/")
    for refused in (
        lambda: books.destinations.activate(theirs.id, books.capabilities),
        lambda: books.destinations.edit(theirs, edited, None, now_micros=0),
        lambda: books.setting_up(project=rival),
    ):
        with pytest.raises(BadRequest, match="another organization") as refusal:
            refused()
        assert "Acme" not in str(refusal.value)
    assert books.destinations.get(theirs.id) == theirs


def test_projects_of_one_organization_share_a_bucket(books: Books) -> None:
    books.active()
    books.active(project=books.add_project(books.organization))
    assert len(books.destinations.list()) == 2


def test_a_paused_destination_frees_its_bucket_for_others(books: Books) -> None:
    paused = books.active()
    books.destinations.pause(paused.id)
    books.active(project=books.add_project(books.add_organization("Rival")))
    with pytest.raises(BadRequest, match="another organization"):
        books.destinations.activate(paused.id, books.capabilities)
    assert books.destinations.get(paused.id).state == "paused"


def test_only_an_active_destination_can_be_paused(books: Books) -> None:
    added = books.setting_up()
    with pytest.raises(BadRequest, match="setting up, not active"):
        books.destinations.pause(added.id)


def test_what_a_destination_receives_can_be_changed(books: Books) -> None:
    added = books.active()
    wanted = msgspec.structs.replace(added, include_events=False, include_merged_ids=True)
    books.destinations.edit(added, wanted, None, now_micros=0)
    changed = books.destinations.get(added.id)
    assert (changed.include_events, changed.include_merged_ids) == (False, True)
    assert changed.from_hour == added.from_hour
    with pytest.raises(BadRequest, match="it would receive nothing"):
        books.destinations.edit(
            changed, msgspec.structs.replace(changed, include_merged_ids=False), None, now_micros=0
        )
    assert books.destinations.get(added.id) == changed
    assert entries(books.engine, of=f"destination {added.id}")[0].what == "edited"


def test_an_interval_can_not_end_before_it_begins(books: Books) -> None:
    added = books.active()
    with pytest.raises(BadRequest, match="before its first hour"):
        books.destinations.set_interval(added.id, books.today, books.today.previous())


def test_all_active_destinations_can_begin_with_another_day(books: Books) -> None:
    active, waiting = books.active(bucket="one"), books.setting_up(bucket="two")
    january = Hour.parse("2026-01-02T00")
    books.seal(january.plus(13))
    books.destinations.start_all_from(january)
    assert books.destinations.get(active.id).from_hour == january
    assert books.destinations.get(waiting.id).from_hour is None
    assert books.states() == {(active.id, "events", january.plus(13)): "pending"}


def test_every_change_leaves_an_entry_without_secrets(books: Books) -> None:
    key = b"A" * 43 + b"="
    token = Secrets(key).encrypt("wJalrX")
    new = NewDestination(project=books.project, bucket="acme", secret_encrypted=token)
    added = books.destinations.add(new)
    books.destinations.activate(added.id, books.capabilities)
    books.destinations.set_capabilities(added.id, books.capabilities)
    books.destinations.set_interval(added.id, books.today, None)
    books.destinations.pause(added.id)
    trail = entries(books.engine, of=f"destination {added.id}")
    assert [entry.what for entry in trail] == [
        "paused",
        "interval set",
        "capabilities set",
        "activated",
        "added",
    ]
    assert {entry.who for entry in trail} == {"test"}
    assert {entry.at_micros for entry in trail} == {books.clock.now_micros()}
    assert trail[-1].detail["bucket"] == "acme"
    assert token.decode() not in str(trail)
    assert "wJalrX" not in str(trail)


def test_a_refused_change_leaves_no_entry(books: Books) -> None:
    before = entries(books.engine)
    with pytest.raises(BadRequest):
        books.setting_up(project=42)
    assert entries(books.engine) == before


def test_of_organizations_that_race_for_a_bucket_one_gets_it(books: Books) -> None:
    projects = [books.add_project(books.add_organization(f"Rival {n}")) for n in range(8)]
    rivals = [books.setting_up(bucket="wanted", project=project) for project in projects]
    start = threading.Barrier(len(rivals))

    def activate(named: Destination) -> int:
        own = Destinations(books.engine, books.clock)
        start.wait()
        try:
            return own.activate(named.id, books.capabilities, probed=named).organization
        except BadRequest:
            return 0

    with ThreadPoolExecutor(len(rivals)) as pool:
        owners = list(pool.map(activate, rivals))

    assert len([owner for owner in owners if owner]) == 1
    using = [one for one in books.destinations.list() if one.state == "active"]
    assert [one.organization for one in using] == [owner for owner in owners if owner]


def test_of_organizations_that_race_to_edit_or_resume_into_a_bucket_one_gets_it(
    books: Books,
) -> None:
    others = [
        books.active(bucket=f"own-{n}", project=books.add_project(books.add_organization(f"R{n}")))
        for n in range(6)
    ]
    paused = books.active(bucket="wanted")
    paused = books.destinations.pause(paused.id)
    start = threading.Barrier(len(others) + 1)

    def edit(seen: Destination) -> bool:
        wanted = msgspec.structs.replace(seen, bucket="wanted")
        start.wait()
        try:
            books.destinations.edit(seen, wanted, books.capabilities, now_micros=0)
        except BadRequest:
            return False
        return True

    def resume(seen: Destination) -> bool:
        start.wait()
        try:
            books.destinations.resume(seen, books.capabilities)
        except BadRequest:
            return False
        return True

    with ThreadPoolExecutor(len(others) + 1) as pool:
        resumed = pool.submit(resume, paused)
        edited = list(pool.map(edit, others))

    assert [resumed.result(), *edited].count(True) == 1
    using = [one for one in books.destinations.list() if one.bucket == "wanted"]
    assert len([one for one in using if one.state == "active"]) == 1
