from __future__ import annotations

import pytest
from sqlalchemy.engine import Engine

from tailrace.accounts.options import (
    OptionsChange,
    ProjectOptions,
    change_options,
    options_of,
)
from tailrace.accounts.projects import add_organization, add_project, find_project
from tailrace.clock import SteppedClock
from tailrace.errors import BadRequest
from tailrace.ids import SystemIds
from tailrace.state.audit import entries


@pytest.fixture
def project(engine: Engine, clock: SteppedClock) -> int:
    organization = add_organization(engine, "Acme", clock=clock)
    return add_project(engine, organization, "Shop", ids=SystemIds(), clock=clock).project_id


def test_a_project_that_chose_nothing_has_the_defaults(engine: Engine, project: int) -> None:
    assert options_of(engine, project) == ProjectOptions(12, False, False, False)


@pytest.mark.parametrize(
    ("change", "options"),
    [
        (OptionsChange(schema_number=None), ProjectOptions(None)),
        (OptionsChange(extended_columns=True), ProjectOptions(12, True)),
        (OptionsChange(drop_ip=True), ProjectOptions(12, drop_ip=True)),
        (OptionsChange(drop_location=True), ProjectOptions(12, drop_location=True)),
        (OptionsChange(drop_bots=True), ProjectOptions(12, drop_bots=True)),
        (OptionsChange(keep_advertising_ids=True), ProjectOptions(keep_advertising_ids=True)),
        (OptionsChange(None, True, True, True), ProjectOptions(None, True, True, True)),
    ],
)
def test_each_option_is_kept_and_can_be_taken_back(
    engine: Engine,
    clock: SteppedClock,
    project: int,
    change: OptionsChange,
    options: ProjectOptions,
) -> None:
    other = add_project(engine, 100001, "App", ids=SystemIds(), clock=clock).project_id
    change_options(engine, other, OptionsChange(None, drop_ip=True), clock=clock)

    assert change_options(engine, project, change, clock=clock) == options

    assert options_of(engine, project) == options
    assert options_of(engine, other) == ProjectOptions(None, drop_ip=True)
    back = OptionsChange(12, False, False, False, False, False)
    assert change_options(engine, project, back, clock=clock) == ProjectOptions()
    assert options_of(engine, project) == ProjectOptions()


def test_options_that_are_not_named_stay(engine: Engine, clock: SteppedClock, project: int) -> None:
    change_options(engine, project, OptionsChange(None, True), clock=clock)
    changed = change_options(engine, project, OptionsChange(drop_ip=True), clock=clock)
    assert changed == options_of(engine, project) == ProjectOptions(None, True, True, False)


def test_a_change_is_in_the_audit_trail_with_what_was_chosen(
    engine: Engine, clock: SteppedClock, project: int
) -> None:
    clock.advance(7)
    change = OptionsChange(schema_number=None, drop_ip=True)
    change_options(engine, project, change, clock=clock, by="ann@example.com")

    newest = entries(engine, of=f"project {project}")[0]
    assert (newest.who, newest.what, newest.at_micros) == (
        "ann@example.com",
        "changed",
        clock.now_micros(),
    )
    assert newest.detail == {"schema_number": None, "drop_ip": True}


@pytest.mark.parametrize(
    ("number", "change", "sentence"),
    [
        (999999, OptionsChange(drop_ip=True), "There is no project 999999"),
        (300001, OptionsChange(), "name at least one option"),
        (300001, OptionsChange(schema_number=13), "schema number to 13: it is 12 or null"),
    ],
)
def test_what_is_wrong_is_said_and_changes_nothing(
    engine: Engine,
    clock: SteppedClock,
    project: int,
    number: int,
    change: OptionsChange,
    sentence: str,
) -> None:
    before = entries(engine)
    with pytest.raises(BadRequest, match=sentence):
        change_options(engine, number, change, clock=clock)
    assert entries(engine) == before
    assert options_of(engine, project) == ProjectOptions()


def test_a_project_is_found_by_its_id(engine: Engine, project: int) -> None:
    assert find_project(engine, project).name == "Shop"
    with pytest.raises(BadRequest, match="There is no project 7"):
        find_project(engine, 7)
