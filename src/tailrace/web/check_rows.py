"""View values of probes: a row for each, while they go on and when they are over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from tailrace.export.verify import PLANNED, Step, Verification

CheckState = Literal["waiting", "running", "ok", "bad", "skipped"]

_WORDS: dict[CheckState, str] = {"ok": "works", "bad": "failed", "skipped": "not tried"}


class Checks(msgspec.Struct, frozen=True):
    """The rows, as the part `checks` takes them, and the one sentence that changed.

    `running` is whether more is to come.
    """

    rows: tuple[tuple[str, str, CheckState, str, str], ...]
    said: str
    running: bool


def checks(steps: Sequence[Step], *, running: bool) -> Checks:
    """Return rows of the probes that were told so far, and of those that are still to come."""
    rows: list[tuple[str, str, CheckState, str, str]] = []
    left = list(PLANNED)
    for number, step in enumerate(steps):
        name = step.name
        if left and left[0].call == step.call:
            left.pop(0)
        elif any(step.call == earlier.call for earlier in steps[:number]):
            # What a store's conditions and sums met is told beside the planned ones.
            name = f"{name} once more"
        rows.append((f"check-{number}", name, _state(step), _result(step), step.action))
    for number, planned in enumerate(left, len(rows)):
        state: CheckState = "running" if running and number == len(steps) else "waiting"
        rows.append((f"check-{number}", planned.name, state, "", planned.action))
    return Checks(tuple(rows), _said(steps) if running else _summed_up(rows), running)


def able(verification: Verification) -> tuple[tuple[str, str], ...]:
    """Return what the store can do, as facts."""
    seen = verification.capabilities
    put_if_absent = seen.conditional_put and seen.conditional_complete
    return (
        (
            "Put only if absent",
            "yes: no object of yours is ever written over"
            if put_if_absent
            else "not at this store: each key is looked at before it is written",
        ),
        (
            "Check sums",
            "yes: the store refuses bytes that were damaged on their way"
            if seen.checksums
            else "not at this store: each object is compared by its size and SHA-256",
        ),
    )


def _state(step: Step) -> CheckState:
    if step.outcome == "ok":
        return "ok"
    return "skipped" if step.outcome == "not tried" else "bad"


def _result(step: Step) -> str:
    cause = step.cause
    if cause is None:
        return ""
    if cause.status is None:
        return cause.title or cause.code
    return f"{cause.status} {cause.code}"


def report(place: str, rows: Checks, at: str) -> str:
    """Return the rows as lines of text, to be sent to somebody."""
    lines = [f"Access of tailrace to {place}, checked {at}"]
    for _, name, state, result, action in rows.rows:
        said = f" ({result})" if result else ""
        lines.append(f"{_WORDS.get(state, state):<10} {name}, {action}{said}")
    return "\n".join(lines) + "\n"


def _summed_up(rows: Sequence[tuple[str, str, CheckState, str, str]]) -> str:
    failed = sum(row[2] == "bad" for row in rows)
    if failed:
        return f"{failed} of {len(rows)} checks failed"
    return "Every check passed" if all(row[2] == "ok" for row in rows) else ""


def _said(steps: Sequence[Step]) -> str:
    if not steps:
        return "Checking access…"
    return f"{steps[-1].name}: {_WORDS[_state(steps[-1])]}"
