"""Addresses that come back from a browser, such as where to go after signing in."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import Request

_CHARACTERS_MAX = 2000


def own_path(text: str) -> str:
    """Return a path of this site as it is, and `/` for anything that may lead elsewhere."""
    return text if _is_plain(text) else "/"


def page_path(request: Request) -> str:
    """Return where the page that answers a request can be fetched; `/` where that isn't known.

    What answers a form is where the form stood: its own address need not have a page.
    """
    if request.method in ("GET", "HEAD"):
        return _with_query(request.url.path, request.url.query)
    try:
        stood = urlsplit(request.headers.get("referer", ""))
    except ValueError:
        # Whatever sends this is no browser.
        return "/"
    if stood.netloc != request.headers.get("host"):
        return "/"
    return _with_query(stood.path, stood.query)


def _with_query(path: str, query: str) -> str:
    return own_path(f"{path}?{query}" if query else path)


def _is_plain(text: str) -> bool:
    # Browsers read "//" and "/\" as the beginning of a host, and drop tabs and line breaks.
    return (
        len(text) <= _CHARACTERS_MAX
        and text.isascii()
        and text.isprintable()
        and "\\" not in text
        and text.startswith("/")
        and not text.startswith("//")
    )
