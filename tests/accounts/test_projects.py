"""Organizations, projects and keys are added once, found again, and leave a trail."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sqlalchemy.engine import Engine

from tailrace.accounts.project_keys import add_key, revoke_key, secret_key_is
from tailrace.accounts.projects import (
    Organization,
    add_organization,
    add_project,
    organizations,
    projects,
)
from tailrace.clock import SteppedClock
from tailrace.errors import BadRequest
from tailrace.ids import SystemIds
from tailrace.names import NAME_CHARACTERS_MAX
from tailrace.state.audit import entries

IDS = SystemIds()


def test_ids_begin_where_people_expect_them(engine: Engine, clock: SteppedClock) -> None:
    first = add_organization(engine, "Acme", clock=clock)
    second = add_organization(engine, "Rival", clock=clock)
    made = [add_project(engine, first, name, ids=IDS, clock=clock) for name in ("Shop", "App")]
    assert (first, second) == (100_001, 100_002)
    assert [project.project_id for project in made] == [300_001, 300_002]


def test_keys_are_32_hex_digits_and_differ(engine: Engine, clock: SteppedClock) -> None:
    organization = add_organization(engine, "Acme", clock=clock)
    made = [add_project(engine, organization, "P", ids=IDS, clock=clock) for _ in range(5)]
    keys = {key for project in made for key in (project.api_key, project.secret_key)}
    assert len(keys) == 10
    assert all(re.fullmatch("[0-9a-f]{32}", key) for key in keys)


def test_what_was_added_is_listed(engine: Engine, clock: SteppedClock) -> None:
    acme = add_organization(engine, " Acme ", admin_email="ann@example.com", clock=clock)
    rival = add_organization(engine, "Rival", clock=clock)
    assert organizations(engine) == [
        Organization(acme, "Acme", clock.now_micros()),
        Organization(rival, "Rival", clock.now_micros()),
    ]
    made = add_project(engine, acme, "Shop", ids=IDS, clock=clock)
    add_project(engine, rival, "Other", ids=IDS, clock=clock)
    (found,) = projects(engine, organization_id=acme)
    assert (found.id, found.name, found.api_keys) == (made.project_id, "Shop", (made.api_key,))
    assert len(projects(engine)) == 2


def test_the_secret_key_is_recognized_and_stored_nowhere(
    engine: Engine, clock: SteppedClock, tmp_path: Path
) -> None:
    organization = add_organization(engine, "Acme", clock=clock)
    made = add_project(engine, organization, "Shop", ids=IDS, clock=clock)
    assert secret_key_is(engine, made.project_id, made.secret_key)
    assert not secret_key_is(engine, made.project_id, made.api_key)
    assert not secret_key_is(engine, 42, made.secret_key)
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert made.api_key.encode() in stored
    assert made.secret_key.encode() not in stored
    assert made.secret_key not in repr(made)


def test_a_revoked_key_is_gone_and_can_not_be_revoked_again(
    engine: Engine, clock: SteppedClock
) -> None:
    organization = add_organization(engine, "Acme", clock=clock)
    made = add_project(engine, organization, "Shop", ids=IDS, clock=clock)
    clock.advance(1)
    second = add_key(engine, made.project_id, ids=IDS, clock=clock)
    assert projects(engine)[0].api_keys == (made.api_key, second)
    revoke_key(engine, made.api_key, clock=clock)
    assert projects(engine)[0].api_keys == (second,)
    with pytest.raises(BadRequest, match="revoked before"):
        revoke_key(engine, made.api_key, clock=clock)


def test_what_does_not_exist_is_refused(engine: Engine, clock: SteppedClock) -> None:
    with pytest.raises(BadRequest, match="no organization 1"):
        add_project(engine, 1, "Shop", ids=IDS, clock=clock)
    with pytest.raises(BadRequest, match="no project 1"):
        add_key(engine, 1, ids=IDS, clock=clock)
    with pytest.raises(BadRequest, match="no such key"):
        revoke_key(engine, "0" * 32, clock=clock)
    assert entries(engine) == []


@pytest.mark.parametrize(
    "name", ["", "  ", "a\nb", "\x00", "\u3164", "x" * (NAME_CHARACTERS_MAX + 1)]
)
def test_a_name_that_can_not_be_shown_is_refused(
    engine: Engine, clock: SteppedClock, name: str
) -> None:
    with pytest.raises(BadRequest, match="printable"):
        add_organization(engine, name, clock=clock)
    organization = add_organization(engine, "Ünïcode 株式会社", clock=clock)
    with pytest.raises(BadRequest, match="printable"):
        add_project(engine, organization, name, ids=IDS, clock=clock)


def test_every_change_leaves_an_entry_without_whole_keys(
    engine: Engine, clock: SteppedClock
) -> None:
    organization = add_organization(engine, "Acme", clock=clock, by="ann")
    made = add_project(engine, organization, "Shop", ids=IDS, clock=clock, by="ann")
    revoke_key(engine, made.api_key, clock=clock, by="bob")
    trail = entries(engine)
    assert [(entry.who, entry.what, entry.object.split()[0]) for entry in trail] == [
        ("bob", "revoked", "api"),
        ("ann", "added", "api"),
        ("ann", "added", "project"),
        ("ann", "added", "organization"),
    ]
    assert made.api_key not in str(trail)
    assert made.secret_key not in str(trail)
    assert [entry.what for entry in entries(engine, of=f"project {made.project_id}")] == ["added"]
    assert len(entries(engine, limit=2)) == 2
