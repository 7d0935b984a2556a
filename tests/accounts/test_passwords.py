"""Passwords are kept as argon2id hashes that tell nothing, and checked at the same cost."""

from __future__ import annotations

import pytest
from argon2 import Parameters, PasswordHasher, Type, extract_parameters
from argon2.profiles import CHEAPEST, RFC_9106_LOW_MEMORY

from tailrace.accounts.passwords import (
    PASSWORD_CHARACTERS_MAX,
    PASSWORD_CHARACTERS_MIN,
    Passwords,
    checked_password,
)
from tailrace.errors import BadRequest, Corrupt
from tailrace.ids import SystemIds

LONG = "correct horse battery"


def test_a_password_matches_its_own_hash_alone(passwords: Passwords) -> None:
    stored = passwords.hash(LONG)
    assert LONG not in stored
    assert passwords.matches(stored, LONG)
    for other in ("", LONG.upper(), LONG + " ", LONG[:-1], "x" * 2000):
        assert not passwords.matches(stored, other)
    assert passwords.hash(LONG) != stored


def test_nobody_has_a_password(passwords: Passwords) -> None:
    for text in (LONG, "", "\udc80"):
        assert not passwords.matches(None, text)


def test_what_is_checked_in_the_place_of_a_hash_opens_nothing() -> None:
    class Known:
        def random_bytes(self, count: int) -> bytes:
            return bytes(count)

    assert not Passwords(Known(), CHEAPEST).matches(None, bytes(CHEAPEST.salt_len).hex())


def test_an_unknown_person_costs_as_many_hashes_as_a_known_one(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = passwords.hash(LONG)
    checked: list[Parameters] = []
    verify = PasswordHasher.verify

    def count(hasher: PasswordHasher, known: str, password: bytes) -> bool:
        checked.append(extract_parameters(known))
        return verify(hasher, known, password)

    monkeypatch.setattr(PasswordHasher, "verify", count)
    for known in (stored, None):
        assert not passwords.matches(known, "another one, quite long")
    assert len(checked) == 2
    assert checked[0] == checked[1]


def test_no_two_passwords_take_their_memory_at_a_time(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone: list[bool] = []
    hash_anew, verify = PasswordHasher.hash, PasswordHasher.verify

    def watched_hash(hasher: PasswordHasher, password: bytes, *, salt: bytes) -> str:
        alone.append(passwords._one_at_a_time.locked())
        return hash_anew(hasher, password, salt=salt)

    def watched_verify(hasher: PasswordHasher, known: str, password: bytes) -> bool:
        alone.append(passwords._one_at_a_time.locked())
        return verify(hasher, known, password)

    monkeypatch.setattr(PasswordHasher, "hash", watched_hash)
    monkeypatch.setattr(PasswordHasher, "verify", watched_verify)
    assert passwords.matches(passwords.hash(LONG), LONG)
    assert not passwords.matches(None, LONG)
    assert alone == [True, True, True]
    assert not passwords._one_at_a_time.locked()


def test_the_cost_is_that_of_the_rfc_unless_told() -> None:
    stored = Passwords(SystemIds()).hash(LONG)
    assert extract_parameters(stored) == RFC_9106_LOW_MEMORY
    assert not Passwords(SystemIds()).outdated(stored)
    assert RFC_9106_LOW_MEMORY.type is Type.ID


def test_a_hash_of_other_parameters_still_matches_and_is_outdated(passwords: Passwords) -> None:
    stored = passwords.hash(LONG)
    later = Passwords(SystemIds(), RFC_9106_LOW_MEMORY)
    assert later.matches(stored, LONG)
    assert later.outdated(stored)
    assert not passwords.outdated(stored)
    assert extract_parameters(stored).memory_cost == CHEAPEST.memory_cost


def test_accents_may_be_typed_either_way(passwords: Passwords) -> None:
    assert passwords.matches(
        passwords.hash("caf\u00e9 au lait, grand"), "cafe\u0301 au lait, grand"
    )


def test_what_is_no_hash_is_no_wrong_password(passwords: Passwords) -> None:
    with pytest.raises(Corrupt, match="person password"):
        passwords.matches("plain text", LONG)


@pytest.mark.parametrize(
    ("password", "rule"),
    [
        ("", "12 to 1024 characters"),
        ("x" + "y" * (PASSWORD_CHARACTERS_MIN - 2), "12 to 1024 characters"),
        ("xy" + "z" * (PASSWORD_CHARACTERS_MAX - 1), "12 to 1024 characters"),
        ("secret\nand more", "control character"),
        ("Ann.Long@Example.com", "e-mail address"),
        ("aaaaaaaaaaaaaaaa", "one character"),
    ],
)
def test_a_password_that_breaks_a_rule_is_refused_and_not_repeated(
    password: str, rule: str
) -> None:
    with pytest.raises(BadRequest, match=rule) as raised:
        checked_password(password, "ann.long@example.com")
    assert not password or password not in str(raised.value)


@pytest.mark.parametrize(
    "password", [LONG, "十二個の文字でも大丈夫です", "xy" * (PASSWORD_CHARACTERS_MAX // 2)]
)
def test_any_other_password_is_taken_as_it_is(password: str) -> None:
    assert checked_password(password, "ann@example.com") == password
