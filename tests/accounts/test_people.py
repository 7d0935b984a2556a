"""People belong to organizations; each sees its own, and always has an admin."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from argon2 import extract_parameters
from argon2.profiles import CHEAPEST, PRE_21_2
from sqlalchemy.engine import Engine

from tailrace.accounts.membership import Person
from tailrace.accounts.passwords import Passwords
from tailrace.accounts.people import (
    NewPerson,
    account_with_password,
    add_person,
    change_role,
    find_person,
    organizations_of,
    people,
    remove_person,
    set_password,
)
from tailrace.accounts.projects import add_organization
from tailrace.accounts.recipients import recipients
from tailrace.accounts.roles import Role
from tailrace.clock import SteppedClock
from tailrace.errors import BadRequest
from tailrace.ids import SystemIds
from tailrace.state.audit import entries
from tailrace.state.database import open_database, reading
from tailrace.state.tables import person

LONG = "correct horse battery"


class Staff:
    """Two organizations, and short words for what is done with their people."""

    def __init__(self, engine: Engine, clock: SteppedClock, passwords: Passwords) -> None:
        self.engine, self.clock, self.passwords = engine, clock, passwords
        self.acme = add_organization(engine, "Acme", admin_email="ann@acme.example", clock=clock)
        self.rival = add_organization(engine, "Rival", clock=clock)

    def add(
        self, organization: int, email: str, role: Role = "admin", password: str | None = None
    ) -> None:
        new = NewPerson(email, role, password=password)
        add_person(
            self.engine, organization, new, passwords=self.passwords, clock=self.clock, by="bob"
        )

    def of(self, organization: int) -> list[tuple[str, str]]:
        return [(one.email, one.role) for one in people(self.engine, organization)]

    def signs_in(self, email: str, password: str) -> bool:
        found = account_with_password(self.engine, email, password, passwords=self.passwords)
        return found is not None

    def recipients(self, organization: int, created_by: str | None = None) -> tuple[str, ...]:
        with reading(self.engine) as connection:
            return recipients(connection, organization, created_by=created_by)


@pytest.fixture
def staff(engine: Engine, clock: SteppedClock, passwords: Passwords) -> Staff:
    return Staff(engine, clock, passwords)


def test_people_are_listed_by_address_with_name_and_role(
    staff: Staff, engine: Engine, clock: SteppedClock, passwords: Passwords
) -> None:
    clock.advance(7)
    new = NewPerson(" Bo@acme.example", "viewer", name=" Bo Berg ", password=LONG)
    added = add_person(engine, staff.acme, new, passwords=passwords, clock=clock)
    assert (added.email, added.name, added.role) == ("Bo@acme.example", "Bo Berg", "viewer")
    assert (added.has_password, added.created_micros) == (True, clock.now_micros())
    assert people(engine, staff.acme)[1] == added
    assert find_person(engine, staff.acme, "bo@ACME.example") == added
    assert not find_person(engine, staff.acme, "ann@acme.example").has_password
    assert LONG not in repr(new)


def test_an_organization_sees_its_own_people_alone(staff: Staff, engine: Engine) -> None:
    staff.add(staff.rival, "rita@rival.example")
    assert staff.of(staff.acme) == [("ann@acme.example", "admin")]
    assert staff.of(staff.rival) == [("rita@rival.example", "admin")]
    uses: list[Callable[[], Person]] = [
        lambda: find_person(engine, staff.rival, "ann@acme.example"),
        lambda: change_role(engine, staff.rival, "ann@acme.example", "admin", clock=staff.clock),
        lambda: remove_person(engine, staff.rival, "ann@acme.example", clock=staff.clock),
    ]
    for use in uses:
        with pytest.raises(
            BadRequest, match=r"no person 'ann@acme.example' in organization 100002"
        ):
            use()


def test_one_account_has_a_role_and_a_name_in_each_of_its_organizations(
    staff: Staff, engine: Engine, clock: SteppedClock, passwords: Passwords
) -> None:
    staff.add(staff.rival, "rita@rival.example", password=LONG)
    new = NewPerson("RITA@rival.example", "viewer", name="The guest")
    add_person(engine, staff.acme, new, passwords=passwords, clock=clock)

    account = account_with_password(engine, "rita@rival.example", LONG, passwords=passwords)
    assert account is not None
    roles = [
        (one.organization, one.role, one.name) for one in organizations_of(engine, account.person)
    ]
    assert roles == [(staff.acme, "viewer", "The guest"), (staff.rival, "admin", None)]


def test_nobody_can_give_an_account_of_another_organization_a_password(staff: Staff) -> None:
    staff.add(staff.rival, "rita@rival.example", password=LONG)
    with pytest.raises(BadRequest, match="keeps its own"):
        staff.add(staff.acme, "Rita@rival.example", password="another long password")
    assert staff.of(staff.acme) == [("ann@acme.example", "admin")]
    assert staff.signs_in("rita@rival.example", LONG)
    assert not staff.signs_in("rita@rival.example", "another long password")


@pytest.mark.parametrize(
    ("new", "rule"),
    [
        (NewPerson("nobody", "viewer"), "e-mail address 'nobody'"),
        (NewPerson("ANN@acme.example", "viewer"), "has a person of this address"),
        (NewPerson("b@acme.example", "viewer", name="\n"), "person .*printable"),
        (NewPerson("b@acme.example", "viewer", password="short"), "12 to 1024"),
    ],
)
def test_a_person_that_can_not_be_is_refused_by_field(
    staff: Staff, engine: Engine, new: NewPerson, rule: str
) -> None:
    before = entries(engine)
    with pytest.raises(BadRequest, match=rule):
        add_person(engine, staff.acme, new, passwords=staff.passwords, clock=staff.clock)
    assert entries(engine) == before
    assert staff.of(staff.acme) == [("ann@acme.example", "admin")]


def test_an_unknown_organization_has_no_people(staff: Staff, engine: Engine) -> None:
    with pytest.raises(BadRequest, match="no organization 7"):
        staff.add(7, "b@acme.example")
    with pytest.raises(BadRequest, match="no organization 7"):
        people(engine, 7)


def test_there_is_always_an_admin(staff: Staff, engine: Engine, clock: SteppedClock) -> None:
    with pytest.raises(BadRequest, match="first person of an organization is its admin"):
        staff.add(staff.rival, "rita@rival.example", "manager")
    uses: list[Callable[[], Person]] = [
        lambda: change_role(engine, staff.acme, "ann@acme.example", "manager", clock=clock),
        lambda: remove_person(engine, staff.acme, "ann@acme.example", clock=clock),
    ]
    for use in uses:
        with pytest.raises(BadRequest, match="only admin of organization 100001"):
            use()
    staff.add(staff.acme, "bo@acme.example")
    lowered = change_role(engine, staff.acme, "Ann@acme.example", "manager", clock=clock)
    assert lowered.role == "manager"
    assert staff.of(staff.acme) == [("ann@acme.example", "manager"), ("bo@acme.example", "admin")]
    with pytest.raises(BadRequest, match="only admin"):
        remove_person(engine, staff.acme, "bo@acme.example", clock=clock)


def test_who_is_removed_stays_in_other_organizations_and_else_is_forgotten(
    staff: Staff, engine: Engine, clock: SteppedClock, tmp_path: Path
) -> None:
    staff.add(staff.rival, "rita@rival.example", password=LONG)
    staff.add(staff.rival, "bo@rival.example")
    staff.add(staff.acme, "rita@rival.example", "member")

    remove_person(engine, staff.rival, "rita@rival.example", clock=clock)
    assert staff.of(staff.rival) == [("bo@rival.example", "admin")]
    assert staff.signs_in("rita@rival.example", LONG)

    remove_person(engine, staff.acme, "rita@rival.example", clock=clock)
    assert not staff.signs_in("rita@rival.example", LONG)
    with reading(engine) as connection:
        assert (
            connection.execute(
                sa.select(person.c.email).where(person.c.email_folded == "rita@rival.example")
            ).all()
            == []
        )
    staff.add(staff.acme, "rita@rival.example", "member")
    assert not find_person(engine, staff.acme, "rita@rival.example").has_password


def test_a_password_opens_its_own_account_alone(staff: Staff) -> None:
    staff.add(staff.acme, "bo@acme.example", password=LONG)
    assert staff.signs_in("BO@acme.example ", LONG)
    assert not staff.signs_in("bo@acme.example", LONG + "x")
    assert not staff.signs_in("ann@acme.example", LONG)
    assert not staff.signs_in("ann@acme.example", "")
    assert not staff.signs_in("stranger@acme.example", LONG)


def test_a_new_password_replaces_the_old_one_and_says_when(
    staff: Staff, engine: Engine, clock: SteppedClock, passwords: Passwords
) -> None:
    staff.add(staff.acme, "bo@acme.example", password=LONG)
    clock.advance(9)
    set_password(engine, "Bo@acme.example", "another long one", passwords=passwords, clock=clock)
    assert not staff.signs_in("bo@acme.example", LONG)
    account = account_with_password(
        engine, "bo@acme.example", "another long one", passwords=passwords
    )
    assert account is not None
    assert account.password_set_micros == clock.now_micros()
    with pytest.raises(BadRequest, match=r"no person 'stranger@acme.example'"):
        set_password(engine, "stranger@acme.example", LONG, passwords=passwords, clock=clock)
    with pytest.raises(BadRequest, match="12 to 1024"):
        set_password(engine, "bo@acme.example", "short", passwords=passwords, clock=clock)


def test_a_right_password_renews_an_outdated_hash_and_a_wrong_one_does_not(
    staff: Staff, engine: Engine
) -> None:
    staff.add(staff.acme, "bo@acme.example", password=LONG)
    later = Passwords(SystemIds(), PRE_21_2)

    def memory_kib() -> int:
        with reading(engine) as connection:
            stored = connection.execute(
                sa.select(person.c.password_hash).where(person.c.email == "bo@acme.example")
            ).scalar_one()
        return extract_parameters(stored).memory_cost

    assert account_with_password(engine, "bo@acme.example", "wrong", passwords=later) is None
    assert memory_kib() == CHEAPEST.memory_cost
    assert account_with_password(engine, "bo@acme.example", LONG, passwords=later) is not None
    assert memory_kib() == PRE_21_2.memory_cost
    assert account_with_password(engine, "bo@acme.example", LONG, passwords=later) is not None


def test_renewing_a_hash_does_not_bring_an_old_password_back(
    staff: Staff, engine: Engine, clock: SteppedClock, tmp_path: Path
) -> None:
    staff.add(staff.acme, "bo@acme.example", password=LONG)
    other = open_database(tmp_path / "tailrace.sqlite")

    class ChangedMeanwhile(Passwords):
        def outdated(self, stored: str) -> bool:
            set_password(
                other, "bo@acme.example", "another long one", passwords=staff.passwords, clock=clock
            )
            return True

    account_with_password(
        engine, "bo@acme.example", LONG, passwords=ChangedMeanwhile(SystemIds(), CHEAPEST)
    )
    other.dispose()
    assert staff.signs_in("bo@acme.example", "another long one")
    assert not staff.signs_in("bo@acme.example", LONG)


def test_every_change_of_people_is_in_the_audit_trail_without_passwords(
    staff: Staff, engine: Engine, clock: SteppedClock, tmp_path: Path
) -> None:
    staff.add(staff.acme, "bo@acme.example", password=LONG)
    change_role(engine, staff.acme, "bo@acme.example", "viewer", clock=clock, by="ann")
    set_password(
        engine, "bo@acme.example", LONG + "!", passwords=staff.passwords, clock=clock, by="cy"
    )
    change_role(engine, staff.acme, "bo@acme.example", "viewer", clock=clock, by="nothing changes")
    remove_person(engine, staff.acme, "bo@acme.example", clock=clock, by="dee")
    trail = entries(engine, of="person 2")
    assert [(one.who, one.what, one.detail.get("role")) for one in trail] == [
        ("dee", "removed", None),
        ("cy", "password set", None),
        ("ann", "changed", "viewer"),
        ("bob", "added", "admin"),
    ]
    assert LONG not in str(trail)
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert LONG.encode() not in stored


def test_mail_goes_to_the_admins_and_the_creator_each_once(staff: Staff) -> None:
    assert staff.recipients(staff.rival) == ()
    staff.add(staff.acme, "Zoe@acme.example", "admin")
    staff.add(staff.acme, "max@acme.example", "manager")
    staff.add(staff.acme, "vic@acme.example", "viewer")
    staff.add(staff.rival, "rita@rival.example")
    admins = ("ann@acme.example", "Zoe@acme.example")
    assert staff.recipients(staff.acme) == admins
    assert staff.recipients(staff.acme, "zoe@acme.example") == admins
    assert staff.recipients(staff.acme, "MAX@acme.example") == (
        "ann@acme.example",
        "max@acme.example",
        "Zoe@acme.example",
    )
    for nobody in ("command line", "rita@rival.example", "gone@acme.example"):
        assert staff.recipients(staff.acme, nobody) == admins
    assert staff.recipients(staff.rival, "ann@acme.example") == ("rita@rival.example",)
