"""API keys are listed with their lives, limited in number, and revoked for good."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy.engine import Engine

from tailrace.accounts import project_keys
from tailrace.accounts.keys import KeyBook
from tailrace.accounts.project_keys import (
    KEYS_MAX,
    ApiKey,
    add_key,
    api_keys,
    renew_secret_key,
    revoke_key,
    secret_key_is,
)
from tailrace.accounts.projects import NewProject, add_organization, add_project
from tailrace.clock import SteppedClock
from tailrace.errors import BadRequest
from tailrace.ids import SystemIds
from tailrace.state.audit import entries

IDS = SystemIds()


@pytest.fixture
def made(engine: Engine, clock: SteppedClock) -> NewProject:
    organization = add_organization(engine, "Acme", clock=clock)
    return add_project(engine, organization, "Shop", ids=IDS, clock=clock)


def test_keys_are_listed_with_names_and_times_also_after_their_end(
    engine: Engine, clock: SteppedClock, made: NewProject
) -> None:
    began = clock.now_micros()
    clock.advance(5)
    second = add_key(engine, made.project_id, ids=IDS, clock=clock, name=" iOS app ")
    clock.advance(5)
    first = ApiKey(made.api_key, made.project_id, None, began, began + 10)
    assert revoke_key(engine, made.api_key, clock=clock) == first
    assert api_keys(engine, made.project_id) == [
        first,
        ApiKey(second, made.project_id, "iOS app", began + 5, None),
    ]
    assert [one.detail for one in entries(engine) if one.object == f"api key {second[:6]}…"] == [
        {"project": made.project_id, "name": "iOS app"}
    ]


def test_a_key_needs_a_name_that_can_be_shown_or_none(
    engine: Engine, clock: SteppedClock, made: NewProject
) -> None:
    with pytest.raises(BadRequest, match=r"API key .*printable"):
        add_key(engine, made.project_id, ids=IDS, clock=clock, name="")
    assert len(api_keys(engine, made.project_id)) == 1


def test_a_project_has_at_most_so_many_accepted_keys_whatever_was_revoked(
    engine: Engine, clock: SteppedClock, made: NewProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert KEYS_MAX == 50
    monkeypatch.setattr(project_keys, "KEYS_MAX", 3)
    more = [add_key(engine, made.project_id, ids=IDS, clock=clock) for _ in range(2)]
    with pytest.raises(BadRequest, match="it has 3, the most"):
        add_key(engine, made.project_id, ids=IDS, clock=clock)
    assert set(KeyBook(engine).load()) == {made.api_key, *more}
    revoke_key(engine, more[0], clock=clock)
    newest = add_key(engine, made.project_id, ids=IDS, clock=clock)
    assert set(KeyBook(engine).load()) == {made.api_key, more[1], newest}
    other = add_project(engine, 100001, "App", ids=IDS, clock=clock)
    add_key(engine, other.project_id, ids=IDS, clock=clock)


def test_a_renewed_secret_key_replaces_the_old_one_and_is_stored_nowhere(
    engine: Engine, clock: SteppedClock, made: NewProject, tmp_path: Path
) -> None:
    other = add_project(engine, 100001, "App", ids=IDS, clock=clock)
    secret = renew_secret_key(engine, made.project_id, ids=IDS, clock=clock, by="ann")
    assert secret_key_is(engine, made.project_id, secret)
    assert not secret_key_is(engine, made.project_id, made.secret_key)
    assert secret_key_is(engine, other.project_id, other.secret_key)
    assert secret.encode() not in b"".join(path.read_bytes() for path in tmp_path.iterdir())
    newest = entries(engine, of=f"project {made.project_id}")[0]
    assert (newest.who, newest.what) == ("ann", "secret key renewed")
    assert secret not in str(newest)
    with pytest.raises(BadRequest, match="no project 7"):
        renew_secret_key(engine, 7, ids=IDS, clock=clock)
