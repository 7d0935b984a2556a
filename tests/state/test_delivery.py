"""The states of a run and the moves between them."""

from __future__ import annotations

from tailrace.state.delivery import (
    OWED_STATES,
    RUN_STATES,
    SETTLED_STATES,
    TRANSITIONS,
    states_before,
)


def test_the_states_are_those_that_people_read_everywhere() -> None:
    assert RUN_STATES == (
        "pending",
        "running",
        "retrying",
        "failed",
        "conflict",
        "success",
        "cancelled",
    )


def test_a_settled_run_never_changes_again() -> None:
    assert all(TRANSITIONS[state] == frozenset() for state in SETTLED_STATES)


def test_every_owed_state_leads_to_success() -> None:
    reach = {"success"}
    for _ in RUN_STATES:
        reach |= {state for state in RUN_STATES if TRANSITIONS[state] & reach}
    assert set(OWED_STATES) < reach


def test_only_a_running_run_can_succeed() -> None:
    assert states_before("success") == ("running",)
