"""Cookies: the session's, one that forms of strangers are tied to, and the chosen theme."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from tailrace.accounts.sessions import LIFETIME_MICROS
from tailrace.clock import MICROS
from tailrace.collect.client_address import Network, client_address
from tailrace.settings import Settings

SESSION = "tailrace_session"
FORM = "tailrace_form"
THEME = "tailrace_theme"

THEMES = ("system", "light", "dark")

# A longer one was not set here.
_CHARACTERS_MAX = 128
_YEAR_SECONDS = 365 * 86_400

_NOBODY = b"192.0.2.1"


def read_cookie(request: Request, name: str) -> str:
    """Return a cookie of ours, empty if there is none."""
    value = request.cookies.get(_full_name(request, name), "")
    return value if len(value) <= _CHARACTERS_MAX else ""


def set_session(response: Response, request: Request, token: str) -> None:
    """Let the browser keep a session's token, out of scripts' reach."""
    _set(response, request, SESSION, token, LIFETIME_MICROS // MICROS)


def set_form(response: Response, request: Request, token: str) -> None:
    """Let the browser keep, until it is closed, what its forms are tied to."""
    _set(response, request, FORM, token, None)


def set_theme(response: Response, request: Request, theme: str) -> None:
    """Let the browser keep the theme."""
    _set(response, request, THEME, theme, _YEAR_SECONDS)


def end_session(response: Response, request: Request) -> None:
    """Let the browser forget the session's token."""
    _set(response, request, SESSION, "", 0)


def theme_of(request: Request) -> str:
    """Return the chosen theme, or the system's."""
    theme = read_cookie(request, THEME)
    return theme if theme in THEMES else "system"


def is_behind_tls(request: Request) -> bool:
    """Tell whether the browser speaks TLS, to a trusted proxy or by what `public_url` says."""
    if request.url.scheme == "https":
        return True
    settings: Settings = request.app.state.site.settings
    public = urlsplit(settings.public_url)
    if public.scheme == "https" and request.headers.get("host", "") == public.netloc:
        return True
    trusted = trusted_networks(settings)
    peer = request.client.host if request.client else ""
    # Whom a trusted proxy names is believed; this address is nobody's (RFC 5737).
    if client_address(peer, [(b"x-forwarded-for", _NOBODY)], trusted) != _NOBODY.decode():
        return False
    return request.headers.get("x-forwarded-proto", "").strip().lower() == "https"


def trusted_networks(settings: Settings) -> Sequence[Network]:
    """Return the networks whose forwarding headers are believed."""
    return tuple(ip_network(network) for network in settings.trusted_proxies)


def address_of(request: Request) -> str:
    """Return the client's address."""
    settings: Settings = request.app.state.site.settings
    peer = request.client.host if request.client else ""
    return client_address(peer, request.headers.raw, trusted_networks(settings))


def _set(response: Response, request: Request, name: str, value: str, seconds: int | None) -> None:
    response.set_cookie(
        _full_name(request, name),
        value,
        max_age=seconds,
        path="/",
        secure=is_behind_tls(request),
        httponly=True,
        samesite="lax",
    )


def _full_name(request: Request, name: str) -> str:
    # With this beginning, no other host of the domain can set it (RFC 6265bis, 4.1.3.2).
    return f"__Host-{name}" if is_behind_tls(request) else name
