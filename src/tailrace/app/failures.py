"""What keeps a destination's hours from going out: one failure for each cause, not for each run.

An outage is one, under its number; what runs meet besides is one for each cause, under its words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec
from sqlalchemy.engine import Engine

from tailrace.clock import Clock
from tailrace.errors import BadRequest
from tailrace.state.delivery import AUTOMATIC, Cause, Destination, RunState
from tailrace.state.destinations import Destinations
from tailrace.state.ledger_view import LedgerView
from tailrace.state.manual_exports import ManualExports
from tailrace.state.outage_history import Outage
from tailrace.state.owed import Owed
from tailrace.state.reports import Run
from tailrace.state.troubles import troubles

# Who can end it: the owner of the bucket, whoever runs tailrace, or nobody has to.
Needs = Literal["you", "operator", "nothing"]

_NEEDS: dict[str, Needs] = {"access": "you", "conflict": "you", "operator": "operator"}
# Runs in work are among them: until its try has ended, a run is not out of its trouble.
_MET: tuple[RunState, ...] = ("running", "retrying", "failed", "conflict")
# The order in which failures are looked at: an outage first, what passes by itself last.
_PRESSING = ("access", "conflict", "operator", "unknown", "temporary")


class Failure(msgspec.Struct, frozen=True):
    """One cause and what it keeps back. `name` stands for it in addresses.

    Times are the service's, but `next_try_micros`, which is the machine's. `runs` are those that
    met it, the newest hour first; `outage` is None where access was not given up yet.
    `next_try_micros` is None where nothing waits for a time, or would not be taken then: what is
    paused, and everything else while access is refused. `under_way` is true while one of them
    is being tried, or is the next to be taken. `hours_to_try` is how many hours `try_now` would
    bring forward.
    """

    name: str
    cause: Cause
    needs: Needs
    began_micros: int
    ended_micros: int | None
    outage: Outage | None
    runs: tuple[Run, ...]
    next_try_micros: int | None
    under_way: bool = False
    hours_to_try: int = 0

    @property
    def attempts(self) -> int:
        """How often its runs were tried."""
        return sum(one.attempts for one in self.runs)


class Failures(msgspec.Struct, frozen=True):
    """Everything that is in the way, the most pressing first; `past` are outages that are over."""

    current: tuple[Failure, ...]
    past: tuple[Failure, ...]
    last_success_micros: int | None
    owed: Owed

    def find(self, name: str) -> Failure | None:
        """Return a failure by its name, or None if it is over and was no outage."""
        return next((one for one in (*self.current, *self.past) if one.name == name), None)


def failures(
    engine: Engine, clock: Clock, destination_id: int, *, within: int | None = None
) -> Failures:
    """Return what keeps a destination's hours from going out; raise `BadRequest` if there is none.

    `within` is the organization whose person asks; None is the operator.
    """
    destination = Destinations(engine, clock, within=within).get(destination_id)
    ledger = LedgerView(engine, clock, within=within)
    known = troubles(engine, destination.id)
    met = [run for run in ledger.runs(destination_id=destination.id, states=_MET) if _has_met(run)]
    lasting = next((one for one in known.outages if one.ended_micros is None), None)
    is_refused = lasting is not None or destination.outage_since_micros is not None
    halted = set() if is_refused else _halted(engine, clock, destination, met)

    def may_be_taken(run: Run) -> bool:
        # While access is refused one probe decides for all, whatever they met.
        return not is_refused and run.manual_export not in halted

    groups = _by_cause(met, without_access=lasting is not None)
    current = [_of_runs(name, runs, may_be_taken) for name, runs in groups.items()]
    if lasting is not None and destination.outage_since_micros is not None:
        refused = [run for run in met if run.cause is not None and run.cause.kind == "access"]
        cause = destination.outage_cause or lasting.cause
        found = _of_outage(lasting, cause, refused, destination.next_probe_micros)
        current.append(found)
    current.sort(key=lambda one: (one.outage is None, _PRESSING.index(one.cause.kind)))
    past = [_of_outage(one, one.cause, (), None) for one in known.outages if one is not lasting]
    return Failures(tuple(current), tuple(past), known.last_success_micros, known.owed)


def try_now(destinations: Destinations, destination_id: int, failure: Failure) -> int:
    """Try at once what waits because of a failure's cause; return how many runs that are.

    Raise `BadRequest` for refused access, which is checked instead, and as `Trying.try_now` does.
    """
    if failure.cause.kind == "access":
        raise BadRequest(
            "Refused access is not tried by hand: check it again, and once it is back all that "
            "waits goes out."
        )

    def meets(cause: Cause) -> bool:
        return failure_name(cause) == failure.name

    title = failure.cause.title or failure.cause.code
    return destinations.try_now(destination_id, meets, title=title)


def was_met(
    engine: Engine, clock: Clock, destination_id: int, name: str, *, within: int | None = None
) -> bool:
    """Tell whether one of a destination's newest runs ever met the cause of this name.

    Raise `BadRequest` if there is no such destination within the organization whose person asks.
    """
    Destinations(engine, clock, within=within).get(destination_id)
    runs = LedgerView(engine, clock, within=within).runs(destination_id=destination_id)
    causes = (one.cause for run in runs for one in run.tries)
    return any(cause is not None and failure_name(cause) == name for cause in causes)


def failure_name(cause: Cause) -> str:
    """Return what stands for a cause in addresses, such as `access-AccessDenied-s3-PutObject`."""
    words = (cause.kind, cause.code, cause.permission or "")
    return re.sub(r"[^A-Za-z0-9]+", "-", " ".join(words)).strip("-")


def _halted(
    engine: Engine, clock: Clock, destination: Destination, runs: Sequence[Run]
) -> set[int]:
    """Return what is not gone on with: manual exports, or the automatic ones."""
    halted = set() if destination.state == "active" else {AUTOMATIC}
    if any(run.manual_export != AUTOMATIC for run in runs):
        exports = ManualExports(engine, clock, within=destination.organization)
        paused = exports.list(destination_id=destination.id, states=("paused",))
        halted |= {one.id for one in paused}
    return halted


def _has_met(run: Run) -> bool:
    """Tell whether a run met its cause since it was last sent out from the beginning."""
    tried = run.attempts - 1 if run.state == "running" else run.attempts
    return run.cause is not None and tried > 0


def _by_cause(runs: Sequence[Run], *, without_access: bool) -> dict[str, list[Run]]:
    """Return the runs that met each cause, by the name of its failure."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        assert run.cause is not None
        if not (without_access and run.cause.kind == "access"):
            groups.setdefault(failure_name(run.cause), []).append(run)
    return groups


def _of_runs(name: str, runs: list[Run], may_be_taken: Callable[[Run], bool]) -> Failure:
    cause = runs[0].cause
    assert cause is not None
    tries = [one for run in runs for one in run.tries if one.cause is not None]
    is_tried = any(run.state in ("retrying", "running") for run in runs)
    own = [run for run in runs if may_be_taken(run)]
    hours = {run.hour for run in own if run.state != "running" and run.due_micros != 0}
    in_work = any(run.state == "running" and run.due_micros != 0 for run in runs)
    # A run in work is due when its holder's lease has run out, which is no try.
    due = (run.due_micros for run in own if run.state == "retrying")
    return Failure(
        name=name,
        cause=cause,
        needs=_while_tried(cause) if is_tried else _NEEDS.get(cause.kind, "nothing"),
        began_micros=min((one.began_micros for one in tries), default=runs[-1].created_micros),
        ended_micros=None,
        outage=None,
        runs=tuple(runs),
        # What is due at once waits for no time.
        next_try_micros=min(filter(None, due), default=None),
        # A run in work ends, whatever is switched off meanwhile; one that is due has to be taken.
        under_way=in_work or any(run.due_micros == 0 for run in own),
        hours_to_try=0 if cause.kind == "access" else len(hours),
    )


def _while_tried(cause: Cause) -> Needs:
    # Refused access is tried six times before anybody is asked for help.
    return "operator" if cause.kind == "operator" else "nothing"


def _of_outage(
    outage: Outage, cause: Cause, runs: Sequence[Run], next_probe_micros: int | None
) -> Failure:
    return Failure(
        name=str(outage.id),
        cause=cause,
        needs=_NEEDS.get(cause.kind, "nothing"),
        began_micros=outage.began_micros,
        ended_micros=outage.ended_micros,
        outage=outage,
        runs=tuple(runs),
        next_try_micros=next_probe_micros,
    )
