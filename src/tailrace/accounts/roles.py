"""Which role may do what in its organization. Pages and the management API ask here.

The command line acts for the operator of the machine, who may do everything.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, get_args

from tailrace.errors import BadRequest, NotAllowed

Role = Literal["viewer", "member", "manager", "admin"]

# The lowest first: each may do what those before it may.
ROLES: tuple[Role, ...] = get_args(Role)

Action = Literal[
    # Projects, destinations, exports with their causes, and who belongs to the organization.
    "see",
    # API keys, which SDKs are configured with.
    "see_keys",
    # What was sent: events as they came, and requests that were refused.
    "see_events",
    # Mails that were sent, with the addresses they went to.
    "see_mails",
    # Add, edit, verify and delete them; automatic exports on and off.
    "manage_destinations",
    "export_manually",
    # Add projects and portfolio projects, rename them, choose their options.
    "manage_projects",
    # Add and revoke API keys.
    "manage_keys",
    # A secret key reads all of a project's events.
    "renew_secret_keys",
    "manage_people",
    "manage_organization",
]

ACTIONS: tuple[Action, ...] = get_args(Action)

_VIEWER: frozenset[Action] = frozenset({"see"})
_MEMBER: frozenset[Action] = _VIEWER | {"see_keys", "see_events"}
_MANAGER: frozenset[Action] = _MEMBER | {
    "see_mails",
    "manage_destinations",
    "export_manually",
    "manage_projects",
    "manage_keys",
}
_ADMIN: frozenset[Action] = _MANAGER | {
    "renew_secret_keys",
    "manage_people",
    "manage_organization",
}

ALLOWED: Mapping[Role, frozenset[Action]] = MappingProxyType(
    {"viewer": _VIEWER, "member": _MEMBER, "manager": _MANAGER, "admin": _ADMIN}
)


def allowed(role: Role, action: Action) -> bool:
    """Tell whether people of this role may do this in their organization."""
    return action in ALLOWED[role]


def require_allowed(role: Role, action: Action) -> None:
    """Raise `NotAllowed`, which names the roles that may, unless this one may."""
    if not allowed(role, action):
        may = [f"{one}s" for one in ROLES if allowed(one, action)]
        raise NotAllowed(
            f"The role {role} may not {action.replace('_', ' ')}: that is for "
            f"{' and '.join(may)}. Ask an admin of the organization."
        )


def checked_role(text: str) -> Role:
    """Return a role by its name; raise `BadRequest` for any other text."""
    for role in ROLES:
        if text == role:
            return role
    raise BadRequest(f"Cannot use the role {text[:40]!r}: a role is one of {', '.join(ROLES)}.")
