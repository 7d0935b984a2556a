"""The collector's view of the keys: complete, current, and loud when it can't be read."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy.engine import Engine

from tailrace.accounts.keys import KeyBook, KeyOwner
from tailrace.accounts.project_keys import add_key, revoke_key
from tailrace.accounts.projects import add_organization, add_project
from tailrace.clock import SteppedClock
from tailrace.errors import Transient
from tailrace.ids import SystemIds
from tailrace.state.database import open_database

IDS = SystemIds()


def test_every_accepted_key_leads_to_its_owner(engine: Engine, clock: SteppedClock) -> None:
    acme = add_organization(engine, "Acme", clock=clock)
    rival = add_organization(engine, "Rival", clock=clock)
    shop = add_project(engine, acme, "Shop", ids=IDS, clock=clock)
    other = add_project(engine, rival, "Other", ids=IDS, clock=clock)
    second = add_key(engine, shop.project_id, ids=IDS, clock=clock)
    revoke_key(engine, shop.api_key, clock=clock)
    assert KeyBook(engine).load() == {
        second: KeyOwner(acme, shop.project_id),
        other.api_key: KeyOwner(rival, other.project_id),
    }


def test_the_version_grows_with_each_change_of_a_key(engine: Engine, clock: SteppedClock) -> None:
    book = KeyBook(engine)
    versions = [book.version()]
    organization = add_organization(engine, "Acme", clock=clock)
    assert book.version() == versions[0]
    made = add_project(engine, organization, "Shop", ids=IDS, clock=clock)
    versions.append(book.version())
    add_key(engine, made.project_id, ids=IDS, clock=clock)
    versions.append(book.version())
    revoke_key(engine, made.api_key, clock=clock)
    versions.append(book.version())
    assert versions == sorted(set(versions))


def test_a_change_by_another_process_is_seen(
    engine: Engine, clock: SteppedClock, tmp_path: Path
) -> None:
    book = KeyBook(engine)
    before = book.version()
    other = open_database(tmp_path / "tailrace.sqlite")
    organization = add_organization(other, "Acme", clock=clock)
    made = add_project(other, organization, "Shop", ids=IDS, clock=clock)
    other.dispose()
    assert book.version() > before
    assert set(book.load()) == {made.api_key}


def test_keys_that_can_not_be_read_are_no_unknown_keys(engine: Engine, tmp_path: Path) -> None:
    engine.dispose()
    path = tmp_path / "tailrace.sqlite"
    path.write_bytes(b"no database at all" * 500)
    book = KeyBook(engine)
    with pytest.raises(Transient, match="503"):
        book.version()
    with pytest.raises(Transient, match="503"):
        book.load()
