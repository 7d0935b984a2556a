"""The application: every page behind the guard, static files, and the operator's endpoints."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.convertors import register_url_convertor
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tailrace.ops.web import operator_routes
from tailrace.web import (
    activity,
    automatic_exports,
    catalog,
    configuration,
    edit,
    events,
    export_data,
    failures,
    first_run,
    home,
    hour_file,
    hour_page,
    joining,
    manage,
    manual_exports,
    overview,
    parts_page,
    settings_keys,
    settings_mail,
    settings_organization,
    settings_people,
    settings_projects,
    setup_data,
    setup_policy,
    setup_verify,
    signing_in,
    sources,
    themes,
)
from tailrace.web.guard import guarded
from tailrace.web.headers import SecureHeaders
from tailrace.web.numbers import Number
from tailrace.web.page import Page
from tailrace.web.rendering import environment
from tailrace.web.site import Site
from tailrace.web.trouble import no_route

# What a number in an address or a form may have: any that is counted here, and SQLite holds it.
register_url_convertor("int", Number())

# Smaller answers fit into one packet anyhow.
COMPRESSED_BYTES_MIN = 1000

# Every area of the site; an area is a module with its `PAGES`.
AREAS = (
    home,
    signing_in,
    first_run,
    joining,
    overview,
    hour_page,
    hour_file,
    automatic_exports,
    activity,
    configuration,
    edit,
    export_data,
    manual_exports,
    manage,
    settings_organization,
    settings_projects,
    settings_people,
    settings_keys,
    settings_mail,
    themes,
    catalog,
    sources,
    events,
    setup_data,
    setup_policy,
    setup_verify,
    failures,
)


def pages(site: Site) -> Sequence[Page]:
    """Return every page there is on this installation."""
    shown = [one for area in AREAS for one in area.PAGES]
    return [*shown, *parts_page.PAGES] if site.settings.web.parts_page else shown


def application(site: Site) -> Starlette:
    """Return the ASGI application."""

    async def static(request: Request) -> Response:
        found = site.static.answer(request)
        if found is None:
            raise HTTPException(404)
        return found

    app = Starlette(
        routes=[
            *operator_routes(site.read_status),
            Route("/static/{name}", static),
            *(guarded(page) for page in pages(site)),
        ],
        exception_handlers={HTTPException: no_route},
        middleware=[
            Middleware(SecureHeaders),
            Middleware(GZipMiddleware, minimum_size=COMPRESSED_BYTES_MIN),
        ],
    )
    app.state.site = site
    app.state.templates = environment(site.static)
    return app
