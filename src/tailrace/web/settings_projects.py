"""Settings: projects, how their lines are made, and portfolio projects."""

from __future__ import annotations

import msgspec
from starlette.responses import RedirectResponse, Response

from tailrace.accounts.options import (
    SCHEMA_NUMBER,
    OptionsChange,
    ProjectOptions,
    change_options,
    options_of,
)
from tailrace.accounts.portfolios import Portfolio, add_portfolio, portfolios
from tailrace.accounts.projects import add_project, projects
from tailrace.accounts.renaming import rename_project
from tailrace.accounts.roles import allowed
from tailrace.errors import BadRequest
from tailrace.web.numbers import is_number
from tailrace.web.page import NotThere, Page, Visit
from tailrace.web.problems import Problems
from tailrace.web.rendering import page
from tailrace.web.settings_tabs import settings_tabs

PROJECTS = "/settings/projects"
# Each option, what a box says, and what it means.
OPTIONS = (
    ("schema_number", f"$schema is {SCHEMA_NUMBER}", "Otherwise it is null, as in older files."),
    ("extended_columns", "Six newer columns behind the 49", "For loaders that know them."),
    ("drop_ip", "Lines without IP addresses", "The place that was found by one stays."),
    ("drop_location", "Lines without latitude and longitude", ""),
    ("drop_bots", "No events of bots", "As their user agents tell."),
    ("keep_advertising_ids", "Advertising IDs as they are", "Otherwise their hash alone."),
)


class OptionBox(msgspec.Struct, frozen=True):
    """One option of a project."""

    name: str
    label: str
    help: str
    is_on: bool


class ProjectView(msgspec.Struct, frozen=True):
    """A project with its options."""

    id: int
    name: str
    keys: str
    boxes: tuple[OptionBox, ...]


class PortfolioView(msgspec.Struct, frozen=True):
    """A portfolio project and what it shows."""

    id: int
    name: str
    shows: str


def boxes(options: ProjectOptions) -> tuple[OptionBox, ...]:
    """Return a project's options as boxes."""
    found = msgspec.structs.asdict(options) | {"schema_number": options.schema_number is not None}
    return tuple(OptionBox(name, label, more, bool(found[name])) for name, label, more in OPTIONS)


def change_of(ticked: tuple[str, ...]) -> OptionsChange:
    """Return the options that boxes stand for."""
    on = {name: name in ticked for name, _, _ in OPTIONS}
    number = SCHEMA_NUMBER if on.pop("schema_number") else None
    return OptionsChange(schema_number=number, **on)


def _list(visit: Visit) -> Response:
    return _show(visit, Problems())


def _add(visit: Visit) -> Response:
    site, by, problems = visit.site, visit.by, Problems()
    try:
        add_project(
            site.engine,
            by.organization,
            visit.field("name"),
            ids=site.ids,
            clock=site.clock,
            by=by.name,
        )
    except BadRequest as error:
        problems.add("name", error)
        return _show(visit, problems)
    return RedirectResponse(PROJECTS, 303)


def _portfolio(visit: Visit) -> Response:
    site, by, problems = visit.site, visit.by, Problems()
    chosen = [int(text) for text in visit.fields("shows") if is_number(text)]
    try:
        add_portfolio(
            site.engine,
            visit.field("portfolio_name"),
            chosen,
            clock=site.clock,
            within=by.organization,
            by=by.name,
        )
    except BadRequest as error:
        problems.add("portfolio_name", error)
        return _show(visit, problems)
    return RedirectResponse(PROJECTS, 303)


def _change(visit: Visit) -> Response:
    """Rename a project and choose its options; both of this organization alone."""
    site, by, number = visit.site, visit.by, visit.number("n")
    if number not in {one.id for one in projects(site.engine, organization_id=by.organization)}:
        raise NotThere(f"There is no project {number}.")
    problems = Problems()
    try:
        rename_project(
            site.engine,
            number,
            visit.field("name"),
            clock=site.clock,
            within=by.organization,
            by=by.name,
        )
    except BadRequest as error:
        problems.add(f"name-{number}", error)
        return _show(visit, problems)
    wanted = change_of(visit.fields("options"))
    if boxes(options_of(site.engine, number, within=by.organization)) != boxes(
        ProjectOptions(**wanted.chosen())  # type: ignore[arg-type]  # every option is set
    ):
        change_options(
            site.engine, number, wanted, clock=site.clock, within=by.organization, by=by.name
        )
    return RedirectResponse(f"{PROJECTS}#project-{number}", 303)


def _show(visit: Visit, problems: Problems) -> Response:
    site, by = visit.site, visit.by
    found = projects(site.engine, organization_id=by.organization)
    return page(
        visit,
        "settings_projects.html",
        title="Projects",
        status=422 if problems else 200,
        tabs_items=settings_tabs(visit),
        shown=tuple(
            ProjectView(
                one.id,
                one.name,
                f"{len(one.api_keys)} accepted",
                boxes(options_of(site.engine, one.id, within=by.organization)),
            )
            for one in found
        ),
        views=tuple(_view(one) for one in portfolios(site.engine, organization_id=by.organization)),
        choices=tuple((str(one.id), f"{one.name} ({one.id})") for one in found),
        name=visit.field("name") if "name" in problems else "",
        portfolio_name=visit.field("portfolio_name"),
        ticked=visit.fields("shows"),
        problems=problems,
        may_change=allowed(by.member.role, "manage_projects"),
    )


def _view(one: Portfolio) -> PortfolioView:
    return PortfolioView(one.id, one.name, ", ".join(str(number) for number in one.projects))


PAGES = (
    Page(PROJECTS, _list, "see"),
    Page(PROJECTS, _add, "manage_projects", "POST"),
    Page(f"{PROJECTS}/portfolio", _portfolio, "manage_projects", "POST"),
    Page(f"{PROJECTS}/{{n:int}}", _change, "manage_projects", "POST"),
)
