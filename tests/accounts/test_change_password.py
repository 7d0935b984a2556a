"""Who changes their password replaces the one that they gave, and no other one."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from argon2 import extract_parameters
from argon2.profiles import CHEAPEST, PRE_21_2
from sqlalchemy.engine import Engine

from tailrace.accounts.membership import Account
from tailrace.accounts.passwords import Passwords
from tailrace.accounts.people import (
    NewPerson,
    account_with_password,
    add_person,
    change_password,
    remove_person,
    set_password,
)
from tailrace.accounts.projects import add_organization
from tailrace.accounts.sign_in_links import make_link, use_link
from tailrace.clock import SteppedClock
from tailrace.errors import BadRequest
from tailrace.ids import SystemIds
from tailrace.state.audit import entries

IDS = SystemIds()
ANN, BO = "ann@acme.example", "bo@acme.example"
OLD, NEW, OTHER = "correct horse battery", "another long one", "the password of another"


class Interrupted(Passwords):
    """Passwords whose hashing takes so long that something happens meanwhile."""

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        # Passwords hash something when they are made.
        self._meanwhile: Callable[[], object] = str
        super().__init__(IDS, CHEAPEST)
        self._meanwhile = meanwhile

    def hash(self, password: str) -> str:
        made = super().hash(password)
        self._meanwhile()
        return made


class Office:
    """Acme with Ann, its admin, and Bo, who has a password."""

    def __init__(self, engine: Engine, clock: SteppedClock, passwords: Passwords) -> None:
        self.engine, self.clock, self.passwords = engine, clock, passwords
        self.acme = add_organization(engine, "Acme", admin_email=ANN, clock=clock)
        self.add(OLD)

    def add(self, password: str | None) -> None:
        new = NewPerson(BO, "viewer", password=password)
        add_person(self.engine, self.acme, new, passwords=self.passwords, clock=self.clock)

    def remove(self) -> None:
        remove_person(self.engine, self.acme, BO, clock=self.clock)

    def set(self, password: str) -> None:
        set_password(self.engine, BO, password, passwords=self.passwords, clock=self.clock)

    def signed_in(self, password: str, passwords: Passwords | None = None) -> Account | None:
        return account_with_password(
            self.engine, BO, password, passwords=passwords or self.passwords
        )

    def use_link(self) -> None:
        made = make_link(
            self.engine, self.acme, BO, ids=IDS, clock=self.clock, machine=self.clock, by=ANN
        )
        use_link(
            self.engine,
            made.token,
            OTHER,
            passwords=self.passwords,
            clock=self.clock,
            machine=self.clock,
        )

    def change(self, meanwhile: Callable[[], object]) -> None:
        """Let Bo give the old password and choose a new one; `meanwhile` between the two."""
        account = self.signed_in(OLD)
        assert account is not None
        self.clock.advance(1)
        change_password(
            self.engine, account, NEW, passwords=Interrupted(meanwhile), clock=self.clock, by=BO
        )


@pytest.fixture
def office(engine: Engine, clock: SteppedClock, passwords: Passwords) -> Office:
    return Office(engine, clock, passwords)


def _add_again(office: Office, password: str | None) -> None:
    office.remove()
    office.add(password)


def _change_elsewhere(office: Office) -> None:
    account = office.signed_in(OLD)
    assert account is not None
    change_password(
        office.engine, account, OTHER, passwords=office.passwords, clock=office.clock, by=BO
    )


def test_whoever_gave_the_present_password_gets_a_new_one(office: Office) -> None:
    office.change(lambda: None)
    assert office.signed_in(OLD) is None
    assert office.signed_in(NEW) is not None


MEANWHILE: dict[str, Callable[[Office], object]] = {
    "the operator sets another": lambda office: office.set(OTHER),
    "a link is used": Office.use_link,
    "it is changed in another browser": _change_elsewhere,
    "the account is removed": Office.remove,
    "and added again": lambda office: _add_again(office, None),
    "and added again with a password": lambda office: _add_again(office, OTHER),
    "and added again with the same": lambda office: _add_again(office, OLD),
}


@pytest.mark.parametrize("what", MEANWHILE)
def test_a_password_is_not_overwritten_where_meanwhile(office: Office, what: str) -> None:
    after: list[object] = []

    def happen() -> None:
        MEANWHILE[what](office)
        after.append(entries(office.engine))

    with pytest.raises(BadRequest, match="changed meanwhile; sign in again"):
        office.change(happen)
    assert office.signed_in(NEW) is None
    assert [entries(office.engine)] == after


def test_an_account_that_is_added_again_at_the_same_moment_is_another_one(office: Office) -> None:
    account = office.signed_in(OLD)
    assert account is not None
    _add_again(office, OLD)
    again = office.signed_in(OLD)
    assert again is not None
    assert msgspec.structs.replace(account, person=0, password_hash="") == msgspec.structs.replace(
        again, person=0, password_hash=""
    )
    with pytest.raises(BadRequest, match="changed meanwhile"):
        change_password(
            office.engine, account, NEW, passwords=office.passwords, clock=office.clock, by=BO
        )
    assert office.signed_in(OLD) is not None


def test_a_hash_that_is_made_anew_meanwhile_is_of_the_same_password(office: Office) -> None:
    renewed: list[int] = []

    def sign_in_elsewhere() -> None:
        assert office.signed_in(OLD, Passwords(IDS, PRE_21_2)) is not None
        found = office.signed_in(OLD)
        assert found is not None
        assert found.password_hash is not None
        renewed.append(extract_parameters(found.password_hash).memory_cost)

    office.change(sign_in_elsewhere)
    assert renewed == [PRE_21_2.memory_cost]
    assert office.signed_in(NEW) is not None
