"""A sign-in link holds once, for a while, and never where another organization has a say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy.engine import Engine

from tailrace.accounts.membership import require_account
from tailrace.accounts.passwords import Passwords
from tailrace.accounts.people import (
    NewPerson,
    account_with_password,
    add_person,
    change_password,
    change_role,
    people,
    remove_person,
    set_password,
)
from tailrace.accounts.projects import add_organization
from tailrace.accounts.roles import Role
from tailrace.accounts.sessions import end_sessions, find_session, sign_in
from tailrace.accounts.sign_in_links import (
    LIFETIME_MICROS,
    find_link,
    make_link,
    make_operators_link,
    use_link,
)
from tailrace.clock import SteppedClock
from tailrace.errors import BadRequest, NotAllowed
from tailrace.ids import SystemIds
from tailrace.state.audit import entries
from tailrace.state.database import reading, writing
from tailrace.state.tables import membership

IDS = SystemIds()
OLD, NEW = "correct horse battery", "another long one"
ANN, BO, RITA = "ann@acme.example", "bo@acme.example", "rita@rival.example"


class Staff:
    """Acme with Ann, its admin, and Bo; Rival with Rita. `machine` runs apart from `clock`."""

    def __init__(self, engine: Engine, clock: SteppedClock, passwords: Passwords) -> None:
        self.engine, self.clock, self.passwords = engine, clock, passwords
        self.machine = SteppedClock(1_900_000_000_000_000)
        self.acme = add_organization(engine, "Acme", admin_email=ANN, clock=clock)
        self.rival = add_organization(engine, "Rival", admin_email=RITA, clock=clock)
        self.add(self.acme, BO)

    def add(self, organization: int, email: str, role: Role = "viewer") -> None:
        new = NewPerson(email, role)
        add_person(
            self.engine, organization, new, passwords=self.passwords, clock=self.clock, by="bob"
        )

    def set(self, email: str, password: str) -> None:
        set_password(
            self.engine, email, password, passwords=self.passwords, clock=self.clock, by="operator"
        )

    def link(self, organization: int, email: str, by: str = ANN) -> str:
        made = make_link(
            self.engine,
            organization,
            email,
            ids=IDS,
            clock=self.clock,
            machine=self.machine,
            by=by,
        )
        assert made.ends_micros == self.machine.now_micros() + LIFETIME_MICROS
        return made.token

    def operators_link(self, email: str) -> str:
        made = make_operators_link(
            self.engine, email, ids=IDS, clock=self.clock, machine=self.machine
        )
        return made.token

    def use(self, token: str, password: str = NEW) -> None:
        use_link(
            self.engine,
            token,
            password,
            passwords=self.passwords,
            clock=self.clock,
            machine=self.machine,
        )

    def holds(self, token: str) -> bool:
        try:
            find_link(self.engine, token, machine=self.machine)
        except NotAllowed:
            with pytest.raises(NotAllowed):
                self.use(token)
            return False
        return True

    def signs_in(self, email: str, password: str) -> bool:
        found = account_with_password(self.engine, email, password, passwords=self.passwords)
        return found is not None

    def session(self, email: str) -> str:
        with reading(self.engine) as connection:
            account = require_account(connection, email)
        return sign_in(self.engine, account, ids=IDS, clock=self.machine)

    def is_signed_in(self, token: str) -> bool:
        return find_session(self.engine, token, clock=self.machine) is not None


@pytest.fixture
def staff(engine: Engine, clock: SteppedClock, passwords: Passwords) -> Staff:
    return Staff(engine, clock, passwords)


def test_a_link_lets_a_person_choose_a_password_once(staff: Staff, tmp_path: Path) -> None:
    token = staff.link(staff.acme, "BO@acme.example")
    assert len(token) == 64
    found = find_link(staff.engine, token, machine=staff.machine)
    assert (found.email, found.organizations) == (BO, ("Acme",))
    staff.use(token)
    assert staff.signs_in(BO, NEW)
    assert not staff.holds(token)
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert token.encode() not in stored
    assert bytes.fromhex(token) not in stored


def test_a_password_that_breaks_a_rule_leaves_the_link(staff: Staff) -> None:
    token = staff.link(staff.acme, BO)
    for bad in ("short", BO):
        with pytest.raises(BadRequest, match="Cannot take this password"):
            staff.use(token, bad)
    assert staff.holds(token)


def test_a_link_holds_for_seven_days_of_the_machine(staff: Staff) -> None:
    token = staff.link(staff.acme, BO)
    staff.clock.advance(2 * LIFETIME_MICROS)
    staff.machine.advance(LIFETIME_MICROS - 1)
    assert staff.holds(token)
    staff.machine.advance(1)
    assert not staff.holds(token)


def _remove(staff: Staff, organization: int, email: str) -> None:
    remove_person(staff.engine, organization, email, clock=staff.clock)


def _remove_and_add(staff: Staff) -> None:
    _remove(staff, staff.acme, BO)
    staff.add(staff.acme, BO)


def _join_and_leave(staff: Staff) -> None:
    staff.add(staff.rival, BO)
    _remove(staff, staff.rival, BO)


def _make_less_of_ann(staff: Staff) -> None:
    staff.add(staff.acme, "cy@acme.example", "admin")
    change_role(staff.engine, staff.acme, ANN, "manager", clock=staff.clock)


def _remove_ann(staff: Staff) -> None:
    staff.add(staff.acme, "cy@acme.example", "admin")
    _remove(staff, staff.acme, ANN)


VOID: dict[str, Callable[[Staff], object]] = {
    "a newer one": lambda staff: staff.link(staff.acme, BO),
    "one of the operator's": lambda staff: staff.operators_link(BO),
    "a password otherwise": lambda staff: staff.set(BO, OLD),
    "the person is removed": lambda staff: _remove(staff, staff.acme, BO),
    "the person is removed and added again": _remove_and_add,
    "the person joins another organization": lambda staff: staff.add(staff.rival, BO),
    "and leaves it again": _join_and_leave,
    "another organization is made for them": lambda staff: add_organization(
        staff.engine, "Third", admin_email=BO, clock=staff.clock
    ),
    "its maker is no admin any more": _make_less_of_ann,
    "its maker is removed": _remove_ann,
}


@pytest.mark.parametrize("what", VOID)
def test_a_link_is_void_after(staff: Staff, what: str) -> None:
    token = staff.link(staff.acme, BO)
    assert staff.holds(token)
    VOID[what](staff)
    assert not staff.holds(token)


def test_where_a_person_is_counts_at_the_moment_of_use(staff: Staff) -> None:
    token = staff.link(staff.acme, BO)
    with writing(staff.engine) as connection:
        # As if it had been missed that the link has to go.
        connection.execute(
            membership.insert().values(
                organization=staff.rival,
                person=require_account(connection, BO).person,
                role="viewer",
                created_micros=0,
            )
        )
    assert not staff.holds(token)


def test_what_changes_for_others_voids_no_link(staff: Staff) -> None:
    token = staff.link(staff.acme, BO)
    staff.add(staff.acme, "cy@acme.example", "admin")
    staff.link(staff.acme, "cy@acme.example")
    change_role(staff.engine, staff.acme, BO, "manager", clock=staff.clock)
    remove_person(staff.engine, staff.acme, "cy@acme.example", clock=staff.clock)
    assert staff.holds(token)


def test_a_token_that_nobody_made_does_not_hold(staff: Staff) -> None:
    for token in ("", "0" * 64, "\udcff", staff.link(staff.acme, BO).upper()):
        assert not staff.holds(token)


def test_until_a_link_is_used_password_and_sessions_stay(staff: Staff) -> None:
    staff.set(BO, OLD)
    session = staff.session(BO)
    token = staff.link(staff.acme, BO)
    assert staff.signs_in(BO, OLD)
    assert staff.is_signed_in(session)
    # No time passes: sessions end because they are ended.
    staff.use(token)
    assert not staff.signs_in(BO, OLD)
    assert not staff.is_signed_in(session)
    assert staff.signs_in(BO, NEW)


def test_nobody_has_power_over_an_account_that_is_not_their_organizations_alone(
    staff: Staff,
) -> None:
    staff.set(BO, OLD)
    staff.add(staff.rival, BO)
    session, before = staff.session(BO), entries(staff.engine)
    for organization, by in ((staff.acme, ANN), (staff.rival, RITA)):
        with pytest.raises(BadRequest, match=r"not this organization's alone.*person invite"):
            staff.link(organization, BO, by)
        with pytest.raises(BadRequest, match="not this organization's alone"):
            end_sessions(staff.engine, organization, BO, clock=staff.clock, by=by)
    assert entries(staff.engine) == before
    assert staff.is_signed_in(session)
    remove_person(staff.engine, staff.rival, BO, clock=staff.clock)
    end_sessions(staff.engine, staff.acme, BO, clock=staff.clock, by=ANN)
    assert not staff.is_signed_in(session)


def test_a_session_that_was_left_open_is_not_enough_for_ones_own_password(staff: Staff) -> None:
    with pytest.raises(BadRequest, match="for other people"):
        staff.link(staff.acme, ANN)
    with pytest.raises(BadRequest, match="for other people"):
        end_sessions(staff.engine, staff.acme, ANN, clock=staff.clock, by=ANN)


def test_a_password_that_another_organizations_admin_may_know_opens_no_other_one(
    staff: Staff,
) -> None:
    victim = "vic@rival.example"
    staff.add(staff.acme, victim)
    staff.use(staff.link(staff.acme, victim))
    # Changing it by oneself makes nobody trusted: Ann may have done that too.
    account = account_with_password(staff.engine, victim, NEW, passwords=staff.passwords)
    assert account is not None
    change_password(
        staff.engine, account, OLD, passwords=staff.passwords, clock=staff.clock, by=victim
    )
    before = entries(staff.engine)
    with pytest.raises(BadRequest, match=r"may know.*tailrace person invite vic@rival\.example"):
        staff.add(staff.rival, victim)
    with pytest.raises(BadRequest, match="may know"):
        add_organization(staff.engine, "Third", admin_email=victim, clock=staff.clock)
    assert entries(staff.engine) == before
    assert [one.email for one in people(staff.engine, staff.rival)] == [RITA]

    staff.use(staff.operators_link(victim))
    staff.add(staff.rival, victim)
    assert len(people(staff.engine, staff.rival)) == 2


def test_a_password_that_the_operator_sets_lets_an_account_join_others(staff: Staff) -> None:
    staff.use(staff.link(staff.acme, BO))
    staff.set(BO, OLD)
    staff.add(staff.rival, BO)
    assert staff.signs_in(BO, OLD)


def test_the_operators_link_is_for_anybody_and_names_all_of_their_organizations(
    staff: Staff,
) -> None:
    staff.add(staff.rival, BO)
    token = staff.operators_link(BO)
    found = find_link(staff.engine, token, machine=staff.machine)
    assert found.organizations == ("Acme", "Rival")
    remove_person(staff.engine, staff.acme, BO, clock=staff.clock)
    assert staff.holds(token)
    staff.use(token)
    assert staff.signs_in(BO, NEW)
    with pytest.raises(BadRequest, match="no person 'nobody@"):
        staff.operators_link("nobody@acme.example")


def _use(staff: Staff, token: str) -> None:
    staff.use(token)


def _let_run_out(staff: Staff, token: str) -> None:
    staff.machine.advance(LIFETIME_MICROS)


@pytest.mark.parametrize("end", [_use, _let_run_out])
def test_an_admin_can_not_void_a_link_of_the_operators_while_it_holds(
    staff: Staff, end: Callable[[Staff, str], None]
) -> None:
    token = staff.operators_link(BO)
    staff.machine.advance(LIFETIME_MICROS - 1)
    before = entries(staff.engine)
    with pytest.raises(BadRequest, match=r"whoever runs tailrace .*person invite bo@acme"):
        staff.link(staff.acme, BO)
    assert entries(staff.engine) == before
    assert staff.holds(token)
    # Others are not concerned.
    staff.add(staff.acme, "cy@acme.example")
    assert staff.holds(staff.link(staff.acme, "cy@acme.example"))

    end(staff, token)
    assert not staff.holds(token)
    assert staff.holds(staff.link(staff.acme, BO))


def test_the_operator_replaces_any_link(staff: Staff) -> None:
    of_admin = staff.link(staff.acme, BO)
    first = staff.operators_link(BO)
    assert not staff.holds(of_admin)
    second = staff.operators_link(BO)
    assert not staff.holds(first)
    assert staff.holds(second)


def test_the_trail_says_who_made_and_who_used_a_link_and_never_the_token(staff: Staff) -> None:
    token = staff.link(staff.acme, BO)
    staff.use(token)
    end_sessions(staff.engine, staff.acme, BO, clock=staff.clock, by=ANN)
    operators = staff.operators_link(BO)
    trail = entries(staff.engine)[:5]
    assert [(one.who, one.what) for one in reversed(trail)] == [
        (ANN, "sign-in link made"),
        (BO, "sign-in link used"),
        (BO, "password set"),
        (ANN, "sessions ended"),
        ("tailrace", "sign-in link made"),
    ]
    assert {one.detail["email"] for one in trail} == {BO}
    for secret in (token, operators, NEW):
        assert secret not in str(trail)
