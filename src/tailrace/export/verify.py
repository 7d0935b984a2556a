"""Probe a destination's access: each step needs one action, so failing steps name what is missing.

Called when a destination is added, on `tailrace verify`, and during an outage.
"""

from __future__ import annotations

import msgspec

from tailrace.export.probing import (
    PLANNED,
    ClientSource,
    Planned,
    Probes,
    Step,
    Told,
    access_check_key,
    nobody,
)
from tailrace.state.delivery import Capabilities, Cause, Destination

__all__ = [
    "PLANNED",
    "ClientSource",
    "Planned",
    "Step",
    "Told",
    "Verification",
    "access_check_key",
    "nobody",
    "verify",
]


class Verification(msgspec.Struct, frozen=True):
    """What the probes found. Only a destination that `passed` may become active.

    `region` is the bucket's own, None where the store did not say. `left_behind` names what
    could not be removed again.
    """

    destination_id: int
    passed: bool
    missing_actions: tuple[str, ...]
    steps: tuple[Step, ...]
    capabilities: Capabilities
    region: str | None
    left_behind: tuple[str, ...]

    @property
    def cause(self) -> Cause | None:
        """The first reason for not passing, the owner's before others, with all that is missing."""
        causes = [step.cause for step in self.steps if step.cause and step.outcome != "ok"]
        access = [cause for cause in causes if cause.kind == "access"]
        first = next(iter(access or causes), None)
        if first is None:
            return None
        return msgspec.structs.replace(first, missing_actions=self.missing_actions)

    def met_in(self, region: str) -> bool:
        """Say whether the bucket answered, and did not say that it lies in another region."""
        return self.steps[0].outcome in {"ok", "missing"} and self.region in {None, region}


def verify(
    destination: Destination, clients: ClientSource, told: Told = nobody, *, kept: bool = True
) -> Verification:
    """Run all probes that can be run, in order, and collect every failure.

    What is only wanted is not `kept`: no command that works on what is kept is advised for it.

    `told` hears of each step as soon as its outcome is certain. Should it raise, or the caller be
    interrupted at any moment, what the probes have put is removed first: the object, also where the
    answer to its put was not seen, and every upload whose ID was. An upload in the very beginning
    of which the interruption came may stay: it is not known by its ID then, and to list uploads is
    not among the permissions that are asked for. It holds no part.
    """
    probes = Probes(destination, clients, told, kept=kept)
    try:
        return _run(probes, destination)
    except BaseException:
        probes.clean_up()
        raise


def _run(probes: Probes, destination: Destination) -> Verification:
    probes.head_bucket()
    probes.list_prefix()
    written = probes.put()
    probes.get()
    aborted = probes.multipart()
    capabilities = Capabilities(
        conditional_put=written and probes.put_if_absent(),
        conditional_complete=written and aborted and probes.complete_if_absent(),
        checksums=written and aborted and probes.checksums(),
    )
    probes.delete()
    missing = [step.action for step in probes.steps if step.outcome == "missing"]
    return Verification(
        destination_id=destination.id,
        passed=all(step.outcome == "ok" for step in probes.steps),
        missing_actions=tuple(dict.fromkeys(missing)),
        steps=tuple(probes.steps),
        capabilities=capabilities,
        region=probes.region,
        left_behind=tuple(probes.left_behind),
    )
