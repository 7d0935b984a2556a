"""Pages for what went wrong, in words: what happened, what it means, what to do."""

from __future__ import annotations

import msgspec
import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoFreeConnection
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from tailrace.errors import BadRequest, NeedsOperator, NotAllowed, Transient
from tailrace.web.page import NotThere
from tailrace.web.rendering import rendered
from tailrace.web.site import Site

log = structlog.get_logger()

RETRY_SECONDS = 5

_NOT_FOUND = "Nothing is at this address. It may have been mistyped, or what was here was removed."
_BUSY = (
    "tailrace's database did not answer in time, so this page can't be shown and nothing was "
    "changed. Events are still taken. Reload in a few seconds; if it goes on, look at the disk "
    'and at "tailrace status".'
)
_DEFECT = (
    "This page could not be made, which is a defect of tailrace. Collecting and exporting events "
    "are processes of their own and go on. The operator finds the reason in the service's log."
)
_OPERATOR = (
    "Something on tailrace's own machine keeps this from being done, so nothing was changed. The "
    "operator finds what it is, and what to do, in the service's log."
)
_SIGNED_OUT = (
    "You are not signed in any more, so nothing was changed. Sign in, then do it again; what you "
    "typed is still there if you go back."
)


class Trouble(msgspec.Struct, frozen=True):
    """What went wrong, in words, with the status that answers it."""

    status: int
    title: str
    sentence: str


def trouble_page(request: Request, error: Exception) -> Response:
    """Answer what a page raised."""
    found = trouble_of(request, error)
    response = _page(request, found.status, found.title, found.sentence)
    if found.status == 503:
        response.headers["Retry-After"] = str(RETRY_SECONDS)
    return response


def trouble_of(request: Request, error: Exception) -> Trouble:
    """Put into words what a page raised; a defect is logged, and only there told in detail."""
    match error:
        case NotThere():
            return Trouble(404, "There is no such page", str(error) or _NOT_FOUND)
        case NotAllowed():
            return Trouble(403, "You may not do this", str(error))
        case BadRequest():
            return Trouble(400, "This can't be done", str(error))
        case Transient():
            return _busy(request, error, str(error))
        case DBAPIError() | NoFreeConnection():
            return _busy(request, error, _BUSY)
        case NeedsOperator():
            log.error("page_needs_operator", path=_logged(request), reason=str(error))
            return Trouble(500, "Whoever runs tailrace has to look at this", _OPERATOR)
    log.error("page_failed", path=_logged(request), exc_info=error)
    return Trouble(500, "This page could not be made", _DEFECT)


async def no_route(request: Request, error: Exception) -> Response:
    """Answer what the router refuses: an address or a method that there is not."""
    status = error.status_code if isinstance(error, HTTPException) else 404
    title = "There is no such page" if status == 404 else "This address takes no such request"
    return _page(request, status, title, _NOT_FOUND)


def signed_out_page(site: Site, request: Request) -> Response:
    """Answer 401 to a form of somebody who is not signed in any more."""
    return rendered(
        site,
        request,
        None,
        "trouble.html",
        title="You are signed out",
        status=401,
        sentence=_SIGNED_OUT,
        link="/signin",
        link_text="Sign in",
    )


def _logged(request: Request) -> str:
    """Return the path without the token that may be in it: logs are read by many."""
    token = str(request.path_params.get("token", ""))
    return request.url.path.replace(token, "TOKEN") if token else request.url.path


def _busy(request: Request, error: Exception, sentence: str) -> Trouble:
    log.warning("page_unavailable", path=_logged(request), reason=type(error).__name__)
    return Trouble(503, "tailrace is busy", sentence)


def _page(request: Request, status: int, title: str, sentence: str) -> Response:
    site: Site = request.app.state.site
    return rendered(
        site,
        request,
        # Whoever it is: the head of a page reads the database, which may be the trouble.
        None,
        "trouble.html",
        title=title,
        status=status,
        sentence=sentence,
        link="/",
        link_text="Go to the first page",
    )
