"""User mappings are kept per organization, the last one of each user."""

from __future__ import annotations

import pytest
from sqlalchemy.engine import Engine

from tailrace.accounts import mappings
from tailrace.accounts.mappings import (
    Mapped,
    MappedUser,
    UserMapping,
    mapped_users,
    mappings_around,
    store_mappings,
)
from tailrace.clock import SteppedClock
from tailrace.errors import BadRequest


def store(engine: Engine, clock: SteppedClock, *pairs: tuple[str, str | None], of: int = 1) -> None:
    store_mappings(engine, of, [UserMapping(*pair) for pair in pairs], clock=clock)


def test_mappings_are_found_by_either_end(engine: Engine, clock: SteppedClock) -> None:
    store(engine, clock, ("b", "x"), ("a", "x"), ("x", "y"), ("c", "z"))
    assert mappings_around(engine, 1, ["x"]) == [("a", "x"), ("b", "x"), ("x", "y")]
    assert mappings_around(engine, 1, ["a", "c"]) == [("a", "x"), ("c", "z")]
    assert mappings_around(engine, 1, []) == []


def test_organizations_do_not_see_one_another(engine: Engine, clock: SteppedClock) -> None:
    store(engine, clock, ("a", "x"))
    store(engine, clock, ("a", None), of=2)
    store(engine, clock, ("a", "y"), of=3)
    assert mappings_around(engine, 1, ["a"]) == [("a", "x")]
    assert mappings_around(engine, 2, ["a"]) == []


def test_the_last_of_a_user_replaces_the_others(engine: Engine, clock: SteppedClock) -> None:
    store(engine, clock, ("a", "x"), ("b", "x"))
    store(engine, clock, ("a", None), ("b", None), ("b", "y"), ("c", None))
    assert mappings_around(engine, 1, ["a", "b", "c"]) == [("b", "y")]


def test_more_than_an_answer_holds_is_refused(
    engine: Engine, clock: SteppedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mappings, "MAPPED_MAX", 2)
    store(engine, clock, ("a", "x"), ("b", "x"))
    assert len(mappings_around(engine, 1, ["x"])) == 2
    store(engine, clock, ("c", "x"))
    with pytest.raises(BadRequest, match="fewer"):
        mappings_around(engine, 1, ["x"])


def test_both_ends_know_the_amplitude_ids_that_there_are() -> None:
    assert mapped_users([("a", "x"), ("b", "x")], {"x": 7, "b": 8}) == {
        "a": Mapped([], [MappedUser(7, "x")]),
        "b": Mapped([], [MappedUser(7, "x")]),
        "x": Mapped([MappedUser(None, "a"), MappedUser(8, "b")], []),
    }
