"""How probes are shown: each step as it happens, then the outcome."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tailrace.cli.output import print_lines
from tailrace.cli.times import hour_text

if TYPE_CHECKING:
    from tailrace.export.verify import Step, Verification
    from tailrace.state.delivery import Destination


def follow(json: bool) -> Callable[[Step], None]:
    """Return what is told of each step: it prints it, or waits for the one document of JSON."""
    return _wait if json else _print_step


def print_outcome(destination: Destination, verification: Verification) -> None:
    """Print what follows from the steps of `verify` or `destination add`."""
    number, state = destination.id, destination.state
    if not verification.passed:
        print_trouble(destination, verification)
        again = f"Mend this, then: tailrace verify {number}"
        print_lines([f"Destination {number} stays {state.replace('_', ' ')}. {again}"])
        return
    print_able(verification)
    if state == "paused":
        print_lines([f"Destination {number} is paused. Go on with: tailrace resume {number}"])
        return
    exports = {
        "events": f"hours from {hour_text(destination.from_hour)} on",
        "merged-ids": "all merged IDs",
    }
    exported = " and ".join(exports[name] for name in destination.data_types)
    print_lines([f"Destination {number} is {state}: {exported} are exported."])


def print_able(verification: Verification) -> None:
    """Print what the store can do, and what the probes could not remove."""
    _print_left_behind(verification)
    seen = verification.capabilities
    able = {
        "put only if absent": seen.conditional_put,
        "end an upload only if absent": seen.conditional_complete,
        "check sums": seen.checksums,
    }
    print_lines([f"{'can' if can else 'can not':<10} {what}" for what, can in able.items()])


def print_trouble(destination: Destination, verification: Verification) -> None:
    """Print which actions are missing, and what the probes could not remove."""
    _print_left_behind(verification)
    if verification.missing_actions:
        # Whose an access key is, nobody can tell by it.
        whose = "" if destination.access_key_id is None else " --principal ARN"
        print_lines(
            [
                f"Missing: {', '.join(verification.missing_actions)}",
                f"The whole policy: tailrace policy {destination.id}{whose}",
            ]
        )


def _print_left_behind(verification: Verification) -> None:
    for left in verification.left_behind:
        print_lines([f"left behind: {left}"])


def _print_step(step: Step) -> None:
    print_lines([f"{step.outcome:<10} {step.name} ({step.call}, {step.action})"])
    if step.cause is not None:
        print_lines([f"           {step.cause.sentence} {step.cause.fix}"])


def _wait(step: Step) -> None:
    """Say nothing yet."""
