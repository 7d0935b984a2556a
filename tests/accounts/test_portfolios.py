"""A portfolio project is a view over projects of one organization, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.exc import IntegrityError

from tailrace.accounts import portfolios as portfolios_module
from tailrace.accounts.keys import KeyBook
from tailrace.accounts.options import OptionsChange, change_options
from tailrace.accounts.portfolios import (
    Portfolio,
    add_portfolio,
    change_portfolio,
    find_portfolio,
    portfolios,
)
from tailrace.accounts.project_keys import add_key, api_keys, renew_secret_key
from tailrace.accounts.projects import add_organization, add_project, find_project, projects
from tailrace.clock import SteppedClock
from tailrace.errors import BadRequest
from tailrace.ids import SystemIds
from tailrace.state.audit import entries
from tailrace.state.database import writing
from tailrace.state.destinations import Destinations, NewDestination
from tailrace.state.tables import api_key

IDS = SystemIds()
REFUSED = r"300004 is a portfolio project.* receive events .*exported.* 300001, 300002"


@pytest.fixture(autouse=True)
def view(engine: Engine, clock: SteppedClock) -> Portfolio:
    """Two projects of one organization, one of another, and a view over the first two."""
    acme = add_organization(engine, "Acme", clock=clock)
    rival = add_organization(engine, "Rival", clock=clock)
    for organization in (acme, acme, rival):
        add_project(engine, organization, "P", ids=IDS, clock=clock)
    clock.advance(3)
    return add_portfolio(engine, " All ", [300002, 300001, 300002], clock=clock, by="ann")


def test_a_portfolio_has_a_number_of_its_own_among_those_of_projects(
    engine: Engine, clock: SteppedClock, view: Portfolio
) -> None:
    assert view == Portfolio(300004, 100001, "All", clock.now_micros(), (300001, 300002))
    assert find_portfolio(engine, 300004) == view
    assert portfolios(engine) == portfolios(engine, organization_id=100001) == [view]
    assert portfolios(engine, organization_id=100002) == []
    assert add_project(engine, 100001, "P", ids=IDS, clock=clock).project_id == 300005


def test_a_portfolio_is_no_project_to_anything_that_holds_events(engine: Engine) -> None:
    assert [one.id for one in projects(engine)] == [300001, 300002, 300003]
    assert {owner.project for owner in KeyBook(engine).load().values()} == {300001, 300002, 300003}


@pytest.mark.parametrize(
    "use",
    [
        lambda engine, clock: find_project(engine, 300004),
        lambda engine, clock: add_key(engine, 300004, ids=IDS, clock=clock),
        lambda engine, clock: api_keys(engine, 300004),
        lambda engine, clock: renew_secret_key(engine, 300004, ids=IDS, clock=clock),
        lambda engine, clock: change_options(
            engine, 300004, OptionsChange(drop_ip=True), clock=clock
        ),
        lambda engine, clock: Destinations(engine, clock).add(
            NewDestination(project=300004, bucket="acme-events")
        ),
        lambda engine, clock: add_portfolio(engine, "Nested", [300001, 300004], clock=clock),
    ],
)
def test_whatever_names_a_portfolio_as_a_project_is_refused_and_told_why(
    engine: Engine, clock: SteppedClock, use: Callable[[Engine, SteppedClock], Any]
) -> None:
    before = entries(engine)
    with pytest.raises(BadRequest, match=REFUSED):
        use(engine, clock)
    assert entries(engine) == before


def test_the_database_itself_refuses_a_key_of_a_portfolio(engine: Engine) -> None:
    with pytest.raises(IntegrityError), writing(engine) as connection:
        connection.execute(api_key.insert().values(key="k", project=300004, created_micros=0))


@pytest.mark.parametrize(
    ("shown", "rule"),
    [
        ([], "1 to 100 projects, not 0"),
        ([300001, 7], "no project 7"),
        ([300001, 300003], "several organizations"),
    ],
)
def test_what_a_portfolio_can_not_show_is_refused(
    engine: Engine, clock: SteppedClock, shown: list[int], rule: str
) -> None:
    with pytest.raises(BadRequest, match=rule):
        add_portfolio(engine, "All", shown, clock=clock)
    with pytest.raises(BadRequest, match=rule):
        change_portfolio(engine, 300004, shown, clock=clock)
    assert [one.projects for one in portfolios(engine)] == [(300001, 300002)]


def test_a_portfolio_has_a_name_and_a_limit(
    engine: Engine, clock: SteppedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BadRequest, match=r"portfolio project .*printable"):
        add_portfolio(engine, "\n", [300001], clock=clock)
    monkeypatch.setattr(portfolios_module, "PORTFOLIO_PROJECTS_MAX", 1)
    with pytest.raises(BadRequest, match="1 to 1 projects, not 2"):
        add_portfolio(engine, "All", [300001, 300002], clock=clock)


def test_a_portfolio_can_show_other_projects_of_its_organization_alone(
    engine: Engine, clock: SteppedClock
) -> None:
    assert change_portfolio(engine, 300004, [300001], clock=clock, by="bob").projects == (300001,)
    assert find_portfolio(engine, 300004).projects == (300001,)
    with pytest.raises(BadRequest, match="another organization"):
        change_portfolio(engine, 300004, [300003], clock=clock)
    for number in (300001, 7):
        with pytest.raises(BadRequest, match=f"no portfolio project {number}"):
            change_portfolio(engine, number, [300001], clock=clock)
    assert [(one.who, one.what, one.detail) for one in entries(engine, of="project 300004")] == [
        ("bob", "changed", {"portfolio_of": [300001]}),
        (
            "ann",
            "added",
            {"name": "All", "organization": 100001, "portfolio_of": [300001, 300002]},
        ),
    ]


def test_collectors_hear_of_a_new_portfolio(engine: Engine, clock: SteppedClock) -> None:
    book = KeyBook(engine)
    assert book.portfolios() == {"300004"}
    before = book.version()
    add_portfolio(engine, "Another", [300001], clock=clock)
    assert book.version() > before
    assert book.portfolios() == {"300004", "300005"}
    with writing(engine) as connection:
        connection.execute(sa.text("DROP TABLE portfolio_project"))
        connection.execute(sa.text("DROP TABLE portfolio"))
    with pytest.raises(Exception, match="503"):
        book.portfolios()
