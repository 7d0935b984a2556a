"""The table of roles and actions, as people read it."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tailrace.accounts.roles import (
    ACTIONS,
    ALLOWED,
    ROLES,
    Action,
    Role,
    allowed,
    checked_role,
    require_allowed,
)
from tailrace.errors import BadRequest, NotAllowed

# Who may: viewer, member, manager, admin.
TABLE: dict[Action, str] = {
    "see": "yes yes yes yes",
    "see_keys": "no yes yes yes",
    "see_events": "no yes yes yes",
    "see_mails": "no no yes yes",
    "manage_destinations": "no no yes yes",
    "export_manually": "no no yes yes",
    "manage_projects": "no no yes yes",
    "manage_keys": "no no yes yes",
    "renew_secret_keys": "no no no yes",
    "manage_people": "no no no yes",
    "manage_organization": "no no no yes",
}

CELLS = [
    (role, action, answer == "yes")
    for action, answers in TABLE.items()
    for role, answer in zip(ROLES, answers.split(), strict=True)
]


@pytest.mark.parametrize(("role", "action", "may"), CELLS)
def test_a_role_may_what_the_table_says(role: Role, action: Action, may: bool) -> None:
    assert allowed(role, action) is may
    if may:
        require_allowed(role, action)
    else:
        with pytest.raises(NotAllowed, match=f"role {role} may not {action.replace('_', ' ')}"):
            require_allowed(role, action)


def test_the_table_has_every_role_and_action() -> None:
    assert ROLES == ("viewer", "member", "manager", "admin")
    assert set(TABLE) == set(ACTIONS)
    assert set(ALLOWED) == set(ROLES)


def test_each_role_may_what_the_one_before_it_may() -> None:
    for lower, higher in pairwise(ROLES):
        assert ALLOWED[lower] < ALLOWED[higher]


def test_nobody_can_change_the_table() -> None:
    with pytest.raises(TypeError, match="does not support item assignment"):
        ALLOWED["viewer"] = ALLOWED["admin"]  # type: ignore[index]  # this is what must fail


def test_a_refusal_names_who_may() -> None:
    with pytest.raises(NotAllowed, match=r"that is for managers and admins. Ask an admin"):
        require_allowed("viewer", "manage_destinations")


def test_a_role_is_read_by_its_name_alone() -> None:
    assert checked_role("manager") == "manager"
    for text in ("", "Admin", "owner", "admin "):
        with pytest.raises(BadRequest, match="one of viewer, member, manager, admin"):
            checked_role(text)
