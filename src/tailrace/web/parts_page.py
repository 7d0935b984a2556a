"""`/dev/parts`: every part in all its states, for those who work on the pages, and for tests.

It is there only where `web.parts_page` is set.
"""

from __future__ import annotations

from starlette.responses import Response

from tailrace.web.page import Page, Visit
from tailrace.web.rendering import page


def _parts(visit: Visit) -> Response:
    return page(visit, "parts.html", title="Parts")


PAGES = (Page("/dev/parts", _parts, "anybody"),)
