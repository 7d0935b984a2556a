"""The theme, which each browser keeps for itself, with or without somebody signed in."""

from __future__ import annotations

from starlette.responses import RedirectResponse, Response

from tailrace.errors import BadRequest
from tailrace.web.cookies import THEMES, set_theme
from tailrace.web.page import Page, Visit
from tailrace.web.paths import own_path


def _choose(visit: Visit) -> Response:
    theme = visit.field("theme")
    if theme not in THEMES:
        raise BadRequest(f"There is no theme {theme[:20]!r}: choose one of {', '.join(THEMES)}.")
    response = RedirectResponse(own_path(visit.field("back")), 303)
    set_theme(response, visit.request, theme)
    return response


PAGES = (Page("/theme", _choose, "anybody", "POST"),)
