"""What another organization has is, to a person of this one, as if it did not exist.

A public function of `accounts` that is in none of the tables is a failure.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import msgspec
import pytest
from argon2.profiles import CHEAPEST
from sqlalchemy.engine import Engine

from tailrace import accounts
from tailrace.accounts.options import OptionsChange, change_options, options_of
from tailrace.accounts.passwords import Passwords
from tailrace.accounts.people import (
    NewPerson,
    add_person,
    change_role,
    find_person,
    people,
    remove_person,
)
from tailrace.accounts.portfolios import (
    add_portfolio,
    change_portfolio,
    find_portfolio,
    portfolios,
)
from tailrace.accounts.project_keys import add_key, api_keys, renew_secret_key, revoke_key
from tailrace.accounts.projects import add_organization, add_project, find_project, projects
from tailrace.accounts.renaming import rename_project
from tailrace.accounts.sessions import end_sessions
from tailrace.accounts.sign_in_links import links_that_hold, make_link
from tailrace.clock import SteppedClock
from tailrace.errors import BadRequest
from tailrace.ids import SystemIds
from tailrace.state.audit import entries

IDS = SystemIds()
ACME, RIVAL = 100001, 100002
# Projects of the one and the other, a view of the other, and what there is not at all.
OURS, THEIRS, THEIR_VIEW, NOBODYS = 300001, 300002, 300003, 399999

Use = Callable[[Engine, SteppedClock, int], Any]


@pytest.fixture(autouse=True)
def their_key(engine: Engine, clock: SteppedClock) -> str:
    for name in ("Acme", "Rival"):
        number = add_organization(engine, name, clock=clock)
        made = add_project(engine, number, "Shop", ids=IDS, clock=clock)
        for email in (f"admin@{name.lower()}.example", f"dana@{name.lower()}.example"):
            new = NewPerson(email, "admin")
            add_person(engine, number, new, passwords=Passwords(IDS, CHEAPEST), clock=clock)
        change_options(engine, made.project_id, OptionsChange(drop_bots=True), clock=clock)
    add_portfolio(engine, "All", [THEIRS], clock=clock)
    return made.api_key


# What a project's number, or a portfolio project's, is asked for.
USES: dict[str, Use] = {
    "find_project": lambda engine, clock, number: find_project(engine, number, within=ACME),
    "api_keys": lambda engine, clock, number: api_keys(engine, number, within=ACME),
    "add_key": lambda engine, clock, number: add_key(
        engine, number, ids=IDS, clock=clock, within=ACME
    ),
    "renew_secret_key": lambda engine, clock, number: renew_secret_key(
        engine, number, ids=IDS, clock=clock, within=ACME
    ),
    "change_options": lambda engine, clock, number: change_options(
        engine, number, OptionsChange(drop_ip=True), clock=clock, within=ACME
    ),
    "rename_project": lambda engine, clock, number: rename_project(
        engine, number, "Another", clock=clock, within=ACME
    ),
    "add_portfolio": lambda engine, clock, number: add_portfolio(
        engine, "View", [OURS, number], clock=clock, within=ACME
    ),
    "find_portfolio": lambda engine, clock, number: find_portfolio(engine, number, within=ACME),
    "change_portfolio": lambda engine, clock, number: change_portfolio(
        engine, number, [OURS], clock=clock, within=ACME
    ),
}
VIEWS = ("add_portfolio", "find_portfolio", "change_portfolio")

# What a person is asked for, by address, in an organization that is the asker's own.
PEOPLE: dict[str, Callable[[Engine, SteppedClock, str], Any]] = {
    "find_person": lambda engine, clock, email: find_person(engine, ACME, email),
    "change_role": lambda engine, clock, email: change_role(
        engine, ACME, email, "viewer", clock=clock
    ),
    "remove_person": lambda engine, clock, email: remove_person(engine, ACME, email, clock=clock),
    "make_link": lambda engine, clock, email: make_link(
        engine, ACME, email, ids=IDS, clock=clock, machine=clock, by="admin@acme.example"
    ),
}

# What has a test of its own, below.
OTHERS = ("links_that_hold", "options_of", "people", "portfolios", "projects", "revoke_key")

# What needs none, and why.
LEFT_OUT = {
    "account_with_password": "it signs in, before anybody is known",
    "add_organization": "the operator's command",
    "add_person": "it makes a member; what an account elsewhere is like is not told on pages",
    "add_project": "it is given the asker's own organization",
    "change_password": "only the account's owner may be let do it",
    "chosen_organization": "the operator's commands ask which one is meant",
    "find_link": "who has the token may",
    "hash_of": "it reads what it is given",
    "insert_key": "it works inside others' transactions",
    "join_path": "it asks for nothing",
    "make_operators_link": "the operator's command",
    "new_key": "it asks for nothing",
    "organizations": "the operator's command",
    "organizations_of": "what the asker is, in all of their own organizations",
    "rename": "it works inside others' transactions",
    "rename_organization": "it is given the asker's own organization",
    "require_organization": "it works inside others' transactions",
    "secret_key_is": "the collector asks; who knows the secret may",
    "set_password": "only the operator may be let do it",
    "use_link": "who has the token may",
}

# Modules in which nothing is asked for an organization, and why.
WITHOUT = {
    "addresses": "rules of an address",
    "first_run": "there is no organization yet",
    "keys": "the collector reads all keys",
    "mappings": "the collector asks with the organization of a key",
    "membership": "it works inside others' transactions",
    "passwords": "rules of a password",
    "recipients": "it works inside others' transactions",
    "roles": "rules of a role",
    "sessions": "a token is its browser's own; ending a member's has a test of its own, below",
    "tokens": "they ask for nothing",
    "trail": "it works inside others' transactions",
}


def test_every_function_is_in_a_table() -> None:
    there = {
        name
        for module in _modules()
        for name, one in inspect.getmembers(module, inspect.isfunction)
        if one.__module__ == module.__name__ and not name.startswith("_")
    }
    tables = [*USES, *PEOPLE, *OTHERS, *LEFT_OUT]
    assert len(tables) == len(set(tables))
    assert there == set(tables)


def _modules() -> Iterator[ModuleType]:
    names = {one.name for one in pkgutil.iter_modules(accounts.__path__)}
    assert set(WITHOUT) <= names
    for name in sorted(names - set(WITHOUT)):
        module = importlib.import_module(f"{accounts.__name__}.{name}")
        classes = [one for _, one in inspect.getmembers(module, inspect.isclass)]
        own = [one for one in classes if one.__module__ == module.__name__]
        assert all(issubclass(one, msgspec.Struct) for one in own), own
        yield module


def refusal(use: Use, engine: Engine, clock: SteppedClock, number: int) -> str:
    with pytest.raises(BadRequest) as raised:
        use(engine, clock, number)
    return str(raised.value).replace(str(number), "N")


@pytest.mark.parametrize("what", USES)
@pytest.mark.parametrize("number", [THEIRS, THEIR_VIEW])
def test_what_is_anothers_is_refused_in_the_words_for_what_there_is_not(
    engine: Engine, clock: SteppedClock, what: str, number: int
) -> None:
    before = entries(engine)
    said = refusal(USES[what], engine, clock, number)
    assert said == refusal(USES[what], engine, clock, NOBODYS)
    assert entries(engine) == before


@pytest.mark.parametrize("what", [what for what in USES if what not in VIEWS])
def test_what_is_ones_own_is_not_refused(engine: Engine, clock: SteppedClock, what: str) -> None:
    USES[what](engine, clock, OURS)


def test_a_key_of_another_organization_can_not_be_revoked(
    engine: Engine, clock: SteppedClock, their_key: str
) -> None:
    with pytest.raises(BadRequest) as theirs:
        revoke_key(engine, their_key, clock=clock, within=ACME)
    unknown = their_key[:6] + "0" * 26
    with pytest.raises(BadRequest) as nobodys:
        revoke_key(engine, unknown, clock=clock, within=ACME)
    assert str(theirs.value) == str(nobodys.value)
    assert api_keys(engine, THEIRS)[0].revoked_micros is None
    revoke_key(engine, their_key, clock=clock, within=RIVAL)


@pytest.mark.parametrize("what", PEOPLE)
def test_a_person_of_another_organization_is_one_that_there_is_not(
    engine: Engine, clock: SteppedClock, what: str
) -> None:
    before = entries(engine)
    said = []
    for email in ("dana@rival.example", "nobody@rival.example"):
        with pytest.raises(BadRequest) as raised:
            PEOPLE[what](engine, clock, email)
        said.append(str(raised.value).replace(email, "N"))
    assert said[0] == said[1]
    assert entries(engine) == before
    assert find_person(engine, RIVAL, "dana@rival.example").role == "admin"
    PEOPLE[what](engine, clock, "dana@acme.example")


@pytest.mark.parametrize("email", ["dana@rival.example", "nobody@rival.example"])
def test_sessions_of_another_organizations_people_are_not_ended(
    engine: Engine, clock: SteppedClock, email: str
) -> None:
    before = entries(engine)
    with pytest.raises(BadRequest, match=rf"There is no person '{email}' in organization {ACME}"):
        end_sessions(engine, ACME, email, clock=clock, by="admin@acme.example")
    assert entries(engine) == before


def test_links_of_another_organization_are_not_told(engine: Engine, clock: SteppedClock) -> None:
    make_link(
        engine,
        RIVAL,
        "dana@rival.example",
        ids=IDS,
        clock=clock,
        machine=clock,
        by="admin@rival.example",
    )
    assert list(links_that_hold(engine, RIVAL, machine=clock)) == ["dana@rival.example"]
    assert links_that_hold(engine, ACME, machine=clock) == {}


def test_options_of_another_organization_are_those_of_a_project_that_there_is_not(
    engine: Engine,
) -> None:
    nobodys = options_of(engine, NOBODYS, within=ACME)
    assert options_of(engine, THEIRS, within=ACME) == nobodys
    assert options_of(engine, OURS, within=ACME) != nobodys


def test_lists_of_one_organization_hold_nothing_of_another(engine: Engine) -> None:
    assert [one.id for one in projects(engine, organization_id=ACME)] == [OURS]
    assert portfolios(engine, organization_id=ACME) == []
    assert [one.id for one in portfolios(engine, organization_id=RIVAL)] == [THEIR_VIEW]
    assert {one.organization for one in people(engine, ACME)} == {ACME}
    assert [one.email for one in people(engine, ACME)] == [
        "admin@acme.example",
        "dana@acme.example",
    ]
