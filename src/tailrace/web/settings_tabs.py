"""The tabs between pages of settings."""

from __future__ import annotations

from tailrace.accounts.roles import Action, allowed
from tailrace.web.page import Visit

# A name, its address, and what somebody needs to see it.
TABS: tuple[tuple[str, str, Action], ...] = (
    ("Organization", "/settings/organization", "see"),
    ("Projects", "/settings/projects", "see"),
    ("People", "/settings/people", "see"),
    ("API keys", "/settings/keys", "see_keys"),
    ("Mail", "/settings/mail", "see_mails"),
    ("About", "/settings/about", "see"),
)


def settings_tabs(visit: Visit) -> list[tuple[str, str, bool]]:
    """Return the tabs that there are for this visitor: name, address, whether it is this one."""
    there = {getattr(route, "path", "") for route in visit.request.app.routes}
    role, path = visit.by.member.role, visit.request.url.path
    return [
        (name, href, path == href or path.startswith(f"{href}/"))
        for name, href, action in TABS
        if href in there and allowed(role, action)
    ]
