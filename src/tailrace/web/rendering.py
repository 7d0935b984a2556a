"""Rendering: templates with autoescape, the values that every page has, and headers of fragments.

Each file of `templates/parts` holds one macro of its own name, which every template can call.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from tailrace.clock import to_datetime
from tailrace.web.cookies import set_form, theme_of
from tailrace.web.forms import form_token, new_form_cookie, tied_to
from tailrace.web.navigation import Navigation, navigation
from tailrace.web.page import Visit, Visitor
from tailrace.web.paths import page_path
from tailrace.web.site import Site
from tailrace.web.static_files import StaticFiles

TEMPLATES = Path(__file__).parent / "templates"


class Shell(msgspec.Struct, frozen=True):
    """What is around a page's own content.

    `now` is the service's time, for counting down; `back` is where another theme leads to.
    """

    title: str
    now: str
    theme: str
    back: str
    navigation: Navigation | None
    libraries: tuple[str, ...]


def environment(static: StaticFiles) -> Environment:
    """Return the templates, with the parts as functions; a missing value is an error."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.globals["static"] = static.path
    for path in sorted((TEMPLATES / "parts").glob("*.html")):
        made.globals[path.stem] = _part(made, path.stem)
    return made


def _part(templates: Environment, name: str) -> Callable[..., str]:
    # Parts call each other, so none is read before all of them have a name.
    @functools.cache
    def macro() -> Callable[..., str]:
        found: Callable[..., str] = getattr(
            templates.get_template(f"parts/{name}.html").module, name
        )
        return found

    def called(*arguments: Any, **named: Any) -> str:
        return macro()(*arguments, **named)

    return called


def page(
    visit: Visit, template: str, *, title: str, status: int = 200, shown_at: str = "", **values: Any
) -> HTMLResponse:
    """Return a whole page: `templates/pages/{template}` in the frame of the site.

    `shown_at` is its own address where that is secret: browsers do not send it along with forms.
    """
    return rendered(
        visit.site,
        visit.request,
        visit.visitor,
        template,
        title=title,
        status=status,
        shown_at=shown_at,
        **values,
    )


def rendered(
    site: Site,
    request: Request,
    visitor: Visitor | None,
    template: str,
    *,
    title: str,
    status: int = 200,
    shown_at: str = "",
    **values: Any,
) -> HTMLResponse:
    """Return a whole page, also where no guard has let anybody in."""
    shell = Shell(
        title=title,
        now=f"{to_datetime(site.clock.now_micros()):%Y-%m-%dT%H:%M:%SZ}",
        theme=theme_of(request),
        back=shown_at or page_path(request),
        navigation=None if visitor is None else navigation(site, request, visitor),
        libraries=site.static.libraries,
    )
    return _answer(site, request, template, status, values | {"shell": shell})


def fragment(visit: Visit, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """Return a part of a page that the browser puts into the one it has."""
    return _answer(visit.site, visit.request, template, status, values)


def piece(visit: Visit, template: str, **values: Any) -> str:
    """Return such a part as text, for a stream whose answer has begun."""
    values["form_token"] = form_token(tied_to(visit.request), visit.site.ids)
    templates: Environment = visit.request.app.state.templates
    return templates.get_template(f"pages/{template}").render(values)


def _answer(
    site: Site, request: Request, template: str, status: int, values: dict[str, Any]
) -> HTMLResponse:
    secret = tied_to(request)
    cookie = "" if secret else new_form_cookie(site.ids)
    values["form_token"] = form_token(secret or cookie, site.ids)
    templates: Environment = request.app.state.templates
    response = HTMLResponse(templates.get_template(f"pages/{template}").render(values), status)
    if cookie:
        set_form(response, request, cookie)
    return response
