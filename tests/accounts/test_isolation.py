"""What another organization has is, to a person of this one, as if it did not exist."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy.engine import Engine

from tailrace.accounts.options import OptionsChange, change_options
from tailrace.accounts.portfolios import (
    add_portfolio,
    change_portfolio,
    find_portfolio,
    portfolios,
)
from tailrace.accounts.project_keys import add_key, api_keys, renew_secret_key, revoke_key
from tailrace.accounts.projects import add_organization, add_project, find_project, projects
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
    add_portfolio(engine, "All", [THEIRS], clock=clock)
    return made.api_key


USES: dict[str, Use] = {
    "find a project": lambda engine, clock, number: find_project(engine, number, within=ACME),
    "list keys": lambda engine, clock, number: api_keys(engine, number, within=ACME),
    "add a key": lambda engine, clock, number: add_key(
        engine, number, ids=IDS, clock=clock, within=ACME
    ),
    "renew a secret key": lambda engine, clock, number: renew_secret_key(
        engine, number, ids=IDS, clock=clock, within=ACME
    ),
    "change options": lambda engine, clock, number: change_options(
        engine, number, OptionsChange(drop_ip=True), clock=clock, within=ACME
    ),
    "show it in a view": lambda engine, clock, number: add_portfolio(
        engine, "View", [OURS, number], clock=clock, within=ACME
    ),
    "find a view": lambda engine, clock, number: find_portfolio(engine, number, within=ACME),
    "change a view": lambda engine, clock, number: change_portfolio(
        engine, number, [OURS], clock=clock, within=ACME
    ),
}


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


@pytest.mark.parametrize("what", [what for what in USES if "view" not in what])
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


def test_lists_of_one_organization_hold_nothing_of_another(engine: Engine) -> None:
    assert [one.id for one in projects(engine, organization_id=ACME)] == [OURS]
    assert portfolios(engine, organization_id=ACME) == []
    assert [one.id for one in portfolios(engine, organization_id=RIVAL)] == [THEIR_VIEW]
