"""Signing in and out.

An address without an account, one without a password and a wrong password get the same answer in
the same time, and count alike.
"""

from __future__ import annotations

import threading

from starlette.responses import RedirectResponse, Response

from tailrace.accounts.addresses import folded
from tailrace.accounts.first_run import is_pending
from tailrace.accounts.membership import Account
from tailrace.accounts.people import account_with_password
from tailrace.accounts.sessions import sign_in, sign_out, sign_out_everywhere
from tailrace.web.cookies import SESSION, address_of, end_session, read_cookie, set_session
from tailrace.web.page import Page, Visit
from tailrace.web.paths import own_path
from tailrace.web.rendering import page

# Passwords are checked one at a time, a tenth of a second each; more that wait would keep threads
# from pages of people who are signed in.
WAITING_MAX = 8

_WRONG = "This address and this password do not go together. Check both, then try again."
_BUSY = "Too many people sign in at this moment. Try again in a few seconds."

_waiting = threading.BoundedSemaphore(WAITING_MAX)


def _form(visit: Visit) -> Response:
    target = own_path(visit.request.query_params.get("next", "/"))
    if visit.visitor is not None:
        return RedirectResponse(target, 303)
    return _show(visit, target)


def _sign_in(visit: Visit) -> Response:
    email, target = visit.field("email").strip(), own_path(visit.field("next"))
    if not _waiting.acquire(blocking=False):
        return _show(visit, target, status=503, email=email, error=_BUSY)
    try:
        return _try(visit, email, target)
    finally:
        _waiting.release()


def _try(visit: Visit, email: str, target: str) -> Response:
    site = visit.site
    account_name = folded(email)
    seconds = site.attempts.wait_seconds(address_of(visit.request), account_name)
    if seconds:
        said = too_often(seconds)
        refused = _show(visit, target, status=429, email=email, error=said)
        refused.headers["Retry-After"] = str(seconds)
        return refused
    account = account_with_password(
        site.engine, email, visit.field("password"), passwords=site.passwords
    )
    if account is None:
        return _show(visit, target, status=422, email=email, error=_WRONG)
    site.attempts.succeeded(account_name)
    return signed_in(visit, account, target)


def signed_in(visit: Visit, account: Account, target: str) -> Response:
    """Begin a session in the place of the browser's earlier one, and lead to a page."""
    site, earlier = visit.site, read_cookie(visit.request, SESSION)
    if earlier:
        sign_out(site.engine, earlier)
    token = sign_in(site.engine, account, ids=site.ids, clock=site.machine_clock)
    response = RedirectResponse(target, 303)
    set_session(response, visit.request, token)
    return response


def _sign_out(visit: Visit) -> Response:
    site, by = visit.site, visit.by
    if visit.field("everywhere"):
        sign_out_everywhere(site.engine, by.session.person, clock=site.clock, by=by.name)
    else:
        sign_out(site.engine, read_cookie(visit.request, SESSION))
    response = RedirectResponse("/signin", 303)
    end_session(response, visit.request)
    return response


def _show(
    visit: Visit, target: str, *, status: int = 200, email: str = "", error: str = ""
) -> Response:
    return page(
        visit,
        "signin.html",
        title="Sign in",
        status=status,
        target=target,
        email=email,
        error=error,
        first_run=is_pending(visit.site.engine),
    )


def too_often(seconds: int) -> str:
    """Return what is said to whoever has to wait."""
    minutes = -(-seconds // 60)
    words = f"{seconds} seconds" if seconds < 60 else f"{minutes} minute{'s'[: minutes > 1]}"
    return f"That was tried too often. Wait {words}, then try again."


PAGES = (
    Page("/signin", _form, "anybody"),
    Page("/signin", _sign_in, "anybody", "POST"),
    Page("/signout", _sign_out, "signed in", "POST"),
)
