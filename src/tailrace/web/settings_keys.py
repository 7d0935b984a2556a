"""Settings: API keys, which SDKs are configured with, and secret keys, which are shown once."""

from __future__ import annotations

import msgspec
from starlette.responses import RedirectResponse, Response

from tailrace.accounts.project_keys import ApiKey, add_key, api_keys, renew_secret_key, revoke_key
from tailrace.accounts.projects import find_project, projects
from tailrace.accounts.roles import allowed
from tailrace.clock import to_datetime
from tailrace.errors import BadRequest
from tailrace.web.page import Page, Visit
from tailrace.web.problems import Problems
from tailrace.web.rendering import page
from tailrace.web.settings_tabs import settings_tabs

KEYS = "/settings/keys"


class KeyRow(msgspec.Struct, frozen=True):
    """One API key in words; only an accepted one can be revoked."""

    key: str
    name: str
    created: str
    state: str
    is_accepted: bool


class ProjectKeys(msgspec.Struct, frozen=True):
    """A project's keys, those that are accepted first."""

    id: int
    name: str
    rows: tuple[KeyRow, ...]


class Renewed(msgspec.Struct, frozen=True):
    """A secret key that was just made: shown now and never again."""

    project: int
    secret: str


def key_rows(keys: list[ApiKey]) -> tuple[KeyRow, ...]:
    """Return keys in words, accepted ones first, the newest first of each."""
    ordered = sorted(keys, key=lambda one: (one.revoked_micros is not None, -one.created_micros))
    return tuple(
        KeyRow(
            key=one.key,
            name=one.name or "",
            created=_day(one.created_micros),
            state="accepted"
            if one.revoked_micros is None
            else f"revoked {_day(one.revoked_micros)}",
            is_accepted=one.revoked_micros is None,
        )
        for one in ordered
    )


def _list(visit: Visit) -> Response:
    return _show(visit, Problems())


def _add(visit: Visit) -> Response:
    site, by, problems = visit.site, visit.by, Problems()
    try:
        add_key(
            site.engine,
            _project(visit),
            ids=site.ids,
            clock=site.clock,
            name=visit.field("name").strip() or None,
            within=by.organization,
            by=by.name,
        )
    except BadRequest as error:
        problems.add("name", error)
        return _show(visit, problems)
    return RedirectResponse(KEYS, 303)


def _revoke(visit: Visit) -> Response:
    site, by = visit.site, visit.by
    revoke_key(
        site.engine, visit.field("key"), clock=site.clock, within=by.organization, by=by.name
    )
    return RedirectResponse(KEYS, 303)


def _renew(visit: Visit) -> Response:
    site, by = visit.site, visit.by
    project = find_project(site.engine, _project(visit), within=by.organization)
    secret = renew_secret_key(
        site.engine,
        project.id,
        ids=site.ids,
        clock=site.clock,
        within=by.organization,
        by=by.name,
    )
    return _show(visit, Problems(), renewed=Renewed(project.id, secret))


def _show(visit: Visit, problems: Problems, *, renewed: Renewed | None = None) -> Response:
    site, by = visit.site, visit.by
    found = projects(site.engine, organization_id=by.organization)
    return page(
        visit,
        "settings_keys.html",
        title="API keys",
        status=422 if problems else 200,
        tabs_items=settings_tabs(visit),
        shown=tuple(
            ProjectKeys(
                one.id,
                one.name,
                key_rows(api_keys(site.engine, one.id, within=by.organization)),
            )
            for one in found
        ),
        choices=tuple((str(one.id), f"{one.name} ({one.id})") for one in found),
        chosen=visit.field("project"),
        name=visit.field("name"),
        problems=problems,
        renewed=renewed,
        may_change=allowed(by.member.role, "manage_keys"),
        may_renew=allowed(by.member.role, "renew_secret_keys"),
    )


def _project(visit: Visit) -> int:
    number = visit.number_typed("project")
    if number is None:
        raise BadRequest("Choose a project of the list.")
    return number


def _day(micros: int) -> str:
    return f"{to_datetime(micros):%Y-%m-%d}"


PAGES = (
    Page(KEYS, _list, "see_keys"),
    Page(KEYS, _add, "manage_keys", "POST"),
    Page(f"{KEYS}/revoke", _revoke, "manage_keys", "POST"),
    Page(f"{KEYS}/secret", _renew, "renew_secret_keys", "POST"),
)
