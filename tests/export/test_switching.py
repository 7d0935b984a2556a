"""Pausing and resuming over a real server, also where the command or the exporter is killed."""

from __future__ import annotations

from typing import Any

import pytest

from tailrace import killpoints
from tailrace.accounts.projects import add_organization, add_project
from tailrace.app.switching import missed, pause, resume
from tailrace.demo import seaweed
from tailrace.errors import BadRequest
from tailrace.export.activation import verify_and_activate
from tailrace.hours import Hour
from tailrace.ids import SystemIds

DATA = b"sealed bytes"


class Died(BaseException):
    """Not an Exception: nothing may catch it, as nothing catches a kill."""


def seal(world: Any, hour: Hour) -> Hour:
    world.seal(world.put_file(1, DATA, hour), hour=hour)
    return hour


def deliver_all(world: Any) -> None:
    exporter = world.exporter()
    while exporter.deliver_next():
        pass


def switch(world: Any, verb: str, number: int) -> None:
    if verb == "pause":
        pause(world.destinations, number)
    else:
        resume(world.destinations, world.clients, number)


def states(world: Any) -> dict[Hour, str]:
    return {run.hour: run.state for run in world.ledger.runs()}


def test_missed_hours_go_out_when_it_goes_on(world: Any, bucket: str, keys: Any) -> None:
    added = world.add_destination(bucket)
    pause(world.destinations, added.id)
    hours = [seal(world, world.hour.plus(number)) for number in range(-3, 1)]
    deliver_all(world)
    assert keys() == []
    assert [one.hours for one in missed(world.destinations, added.id).ranges] == [4]

    done = resume(world.destinations, world.clients, added.id, [f"{hours[0]}..{hours[1]}"])

    assert (done.destination.state, done.left_out, done.owed) == ("active", 2, 2)
    assert [(one.first, one.last) for one in done.missed] == [(hours[0], hours[-1])]
    deliver_all(world)
    assert states(world) == dict(
        zip(hours, ["cancelled", "cancelled", "success", "success"], strict=True)
    )
    assert len([key for key in keys() if key.endswith("_complete")]) == 2


def test_it_stays_paused_while_access_is_refused(
    world: Any, bucket: str, server: seaweed.Seaweed
) -> None:
    added = world.add_destination(bucket)
    pause(world.destinations, added.id)
    seal(world, world.hour)
    policy = seaweed.export_policy("exports/")
    server.put_policy(bucket, {**policy, "s3:PutObject": ["elsewhere/*"]})

    refused = resume(world.destinations, world.clients, added.id)

    assert "s3:PutObject" in refused.verification.missing_actions
    assert (refused.destination.state, refused.left_out, refused.owed) == ("paused", 0, 0)
    assert states(world) == {}

    server.put_policy(bucket, policy)
    assert resume(world.destinations, world.clients, added.id).owed == 1


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("yesterday", "hours to leave out 'yesterday' is no date"),
        ("2026-01-01", "no hour of these was missed"),
        ("2026-11-23T09..2026-11-23T08", "name the earlier end first"),
    ],
)
def test_what_can_not_be_left_out_is_named_and_nothing_changes(
    world: Any, bucket: str, text: str, named: str
) -> None:
    added = world.add_destination(bucket)
    pause(world.destinations, added.id)
    seal(world, world.hour)
    with pytest.raises(BadRequest, match=named):
        resume(world.destinations, world.clients, added.id, [text])
    assert world.destinations.get(added.id).state == "paused"


@pytest.mark.parametrize(("text", "owed"), [("2026-11-23", 1), ("all", 0)])
def test_dates_and_all_can_be_left_out(world: Any, bucket: str, text: str, owed: int) -> None:
    added = world.add_destination(bucket)
    pause(world.destinations, added.id)
    for hour in (world.hour, Hour.parse("2026-11-24T05")):
        seal(world, hour)
    assert resume(world.destinations, world.clients, added.id, [text]).owed == owed


def test_only_a_paused_destination_is_resumed(world: Any, bucket: str) -> None:
    added = world.add_destination(bucket)
    with pytest.raises(BadRequest, match="it is active, not paused"):
        resume(world.destinations, world.clients, added.id)


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_a_command_that_is_killed_has_switched_all_or_nothing(
    world: Any, bucket: str, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    added = world.add_destination(bucket)
    if verb == "resume":
        pause(world.destinations, added.id)
        seal(world, world.hour)
    before = world.destinations.get(added.id)

    def die(name: str) -> None:
        if name == "destination.before_commit":
            raise Died

    with monkeypatch.context() as patched:
        patched.setattr(killpoints, "reached", die)
        with pytest.raises(Died):
            switch(world, verb, added.id)

    assert world.destinations.get(added.id) == before
    if verb == "pause":
        seal(world, world.hour)
    else:
        assert len(world.destinations.missed(added.id)) == 1
        resume(world.destinations, world.clients, added.id)
    deliver_all(world)
    assert states(world) == {world.hour: "success"}


def test_a_run_in_work_ends_though_its_destination_is_paused(
    world: Any, bucket: str, proxy: Any, keys: Any
) -> None:
    added = world.add_destination(bucket, endpoint_url=proxy.url)
    seal(world, world.hour)
    proxy.add("PUT", "_complete", before=lambda: world.destinations.pause(added.id))
    deliver_all(world)
    assert states(world) == {world.hour: "success"}
    assert len(keys()) == 3


def test_a_bucket_that_another_organization_has_taken_meanwhile_is_not_even_probed(
    world: Any, bucket: str, proxy: Any
) -> None:
    paused = world.add_destination(bucket, endpoint_url=proxy.url)
    pause(world.destinations, paused.id)
    rival = add_organization(world.engine, "Rival", clock=world.clock)
    project = add_project(world.engine, rival, "Theirs", ids=SystemIds(), clock=world.clock)
    world.add_destination(bucket, endpoint_url=proxy.url, project=project.project_id)
    for probe in (
        lambda: resume(world.destinations, world.clients, paused.id),
        lambda: verify_and_activate(paused.id, world.destinations, world.clients),
    ):
        with pytest.raises(BadRequest, match="another organization"):
            probe()
    assert proxy.requests == []
    assert world.destinations.get(paused.id).state == "paused"
