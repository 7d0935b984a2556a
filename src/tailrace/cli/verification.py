"""How probes are shown: each step as it happens, then the outcome."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING

from tailrace.cli.output import print_lines
from tailrace.cli.times import hour_text

if TYPE_CHECKING:
    from tailrace.export.verify import Step, Verification
    from tailrace.settings import Settings
    from tailrace.state.delivery import Destination


def follow(json: bool) -> Callable[[Step], None]:
    """Return what is told of each step: it prints it, or waits for the one document of JSON."""
    return _wait if json else _print_step


def print_outcome(destination: Destination, verification: Verification, settings: Settings) -> None:
    """Print what follows from the steps of `verify` or `destination add`."""
    number, state = destination.id, destination.state
    if not verification.passed:
        print_trouble(verification, stored_policy(destination, settings))
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


def print_trouble(verification: Verification, policy: str) -> None:
    """Print which actions are missing, and what the probes could not remove.

    `policy` is the command that prints the policy of what was probed.
    """
    _print_left_behind(verification)
    if verification.missing_actions:
        print_lines(
            [
                f"Missing: {', '.join(verification.missing_actions)}",
                f"The whole policy: {policy}",
            ]
        )


def stored_policy(destination: Destination, settings: Settings) -> str:
    """Return the command that prints the policy of a destination as it is kept."""
    words = ["tailrace", "policy", str(destination.id)]
    # Its role is kept with it.
    whose = [] if destination.role_arn is not None else _principal(destination, settings)
    return shlex.join([*words, *whose])


def wanted_policy(wanted: Destination, settings: Settings) -> str:
    """Return the command that prints the policy of a place that no destination is kept with."""
    from tailrace.export.client import DEFAULT_REGION

    options = {
        "--bucket": wanted.bucket,
        "--region": wanted.region or DEFAULT_REGION,
        "--prefix": wanted.prefix,
        "--endpoint-url": wanted.endpoint_url,
        "--kms-key": wanted.kms_key_arn,
    }
    given = [word for name, value in options.items() if value for word in (name, value)]
    return shlex.join(["tailrace", "policy", *given, *_principal(wanted, settings)])


def _principal(destination: Destination, settings: Settings) -> list[str]:
    if destination.role_arn is not None:
        return ["--principal", destination.role_arn]
    if destination.access_key_id is None and settings.aws.principal_arn:
        return []
    # Whose an access key is, nobody can tell by it.
    return ["--principal", "ARN"]


def _print_left_behind(verification: Verification) -> None:
    for left in verification.left_behind:
        print_lines([f"left behind: {left}"])


def _print_step(step: Step) -> None:
    print_lines([f"{step.outcome:<10} {step.name} ({step.call}, {step.action})"])
    if step.cause is not None:
        print_lines([f"           {step.cause.sentence} {step.cause.fix}"])


def _wait(step: Step) -> None:
    """Say nothing yet."""
