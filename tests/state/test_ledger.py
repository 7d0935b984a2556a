"""Whatever happens in whatever order: nothing owed is lost, and no run has two holders."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy.engine.interfaces import DBAPIConnection

from tailrace.accounts.projects import add_organization, add_project
from tailrace.clock import SteppedClock
from tailrace.errors import BadRequest, Corrupt, Halted, LeaseLost
from tailrace.hours import Hour
from tailrace.ids import SystemIds
from tailrace.state.database import open_database
from tailrace.state.delivery import TRANSITIONS, Capabilities, Cause, Delivery, RunState
from tailrace.state.destinations import Destinations, NewDestination
from tailrace.state.ledger import Ledger
from tailrace.state.manual_exports import ManualExports, NewManualExport
from tailrace.state.reports import Run
from tailrace.state.sealed import SealedFile, SealedHour

TODAY = Hour.parse("2026-11-23T00")
LEASE_MICROS = 100
# Few, so that much happens to the same run; one of them lies before today.
HOURS = st.integers(min_value=-1, max_value=1).map(TODAY.plus)
REFUSED = Cause(kind="access", code="AccessDenied", sentence="403.", fix="Allow it.")
_Key = tuple[int, str, Hour, int]


class LedgerMachine(RuleBasedStateMachine):
    """Sealing, workers that die or lag, outages and people, over one real ledger."""

    empty: Path

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name) / "tailrace.sqlite"
        shutil.copy(self.empty, path)
        self.engine = open_database(path)
        # What a power cut leaves is not asked here, and the disk would take most of the time.
        self.engine.dispose()
        sa.event.listen(self.engine, "connect", _write_without_waiting)
        self.clock = SteppedClock(TODAY.plus(3).start_micros)
        self.ledger = Ledger(self.engine, self.clock)
        self.destinations = Destinations(self.engine, self.clock, by="test")
        self.exports = ManualExports(self.engine, self.clock, by="test")
        self.now = 0
        self.early: dict[tuple[int, Hour], int] = {}
        self.sealed: set[tuple[int, Hour]] = set()
        self.holders: list[Delivery] = []
        self.newest_lease: dict[_Key, int] = {}
        self.expires: dict[_Key, int] = {}
        self.states: dict[_Key, RunState] = {}

    @initialize()
    def make_accounts(self) -> None:
        self.organization = add_organization(self.engine, "Acme", clock=self.clock)
        self.project = add_project(
            self.engine, self.organization, "Shop", ids=SystemIds(), clock=self.clock
        ).project_id
        self.add_destination(merged=False, active=True)

    def teardown(self) -> None:
        self.engine.dispose()
        self.folder.cleanup()

    # What sealing does.

    def _files(self, scope: int, hour: Hour, count: int) -> tuple[SealedFile, ...]:
        return tuple(
            SealedFile(scope, hour, n, f"{scope}_{hour}#{n}", n, f"{n:064x}", n, n, n)
            for n in range(1, count + 1)
        )

    def _scope(self, merged: bool) -> int:
        return -self.organization if merged else self.project

    @rule(hour=HOURS, merged=st.booleans())
    def hand_over_an_early_file(self, hour: Hour, merged: bool) -> None:
        scope = self._scope(merged)
        if (scope, hour) not in self.sealed:
            count = self.early.get((scope, hour), 0) + 1
            self.early[scope, hour] = count
            self.ledger.add_files(self._files(scope, hour, count)[-1:], self.organization)

    @rule(hour=HOURS, merged=st.booleans(), last=st.integers(min_value=0, max_value=1))
    def seal(self, hour: Hour, merged: bool, last: int) -> None:
        scope = self._scope(merged)
        if (scope, hour) in self.sealed:
            last = 0
        count = self.early.get((scope, hour), 0) + last
        files = self._files(scope, hour, count)
        digest = f"{scope} {hour} {count}"
        sealed = SealedHour(scope, self.organization, hour, digest.encode(), digest, files)
        self.ledger.add_hours([sealed])
        self.early[scope, hour] = count
        self.sealed.add((scope, hour))

    # What people do.

    @precondition(lambda self: len(self.destinations.list()) < 2)
    @rule(merged=st.booleans(), active=st.booleans())
    def add_another_destination(self, merged: bool, active: bool) -> None:
        self.add_destination(merged=merged, active=active)

    def add_destination(self, *, merged: bool, active: bool) -> None:
        added = self.destinations.add(
            NewDestination(project=self.project, bucket="acme", include_merged_ids=merged)
        )
        if active:
            self._activate(added.id)

    def _activate(self, destination_id: int) -> None:
        seen = Capabilities(conditional_put=True, conditional_complete=True, checksums=True)
        self.destinations.activate(destination_id, seen)

    @rule(data=st.data())
    def change_a_destination(self, data: st.DataObject) -> None:
        known = self.destinations.list()
        if not known:
            return
        chosen = data.draw(st.sampled_from(known))
        if chosen.state != "active":
            self._activate(chosen.id)
        elif data.draw(st.booleans()):
            self.destinations.pause(chosen.id)
        else:
            self.destinations.set_interval(chosen.id, data.draw(HOURS), None)

    @rule(data=st.data())
    def send_again(self, data: st.DataObject) -> None:
        stuck = self.ledger.runs(states=("failed", "conflict"))
        if stuck:
            run = data.draw(st.sampled_from(stuck))
            assert self.ledger.send_again(
                run.destination_id, run.data_type, run.hour, manual_export=run.manual_export
            )

    @precondition(lambda self: len(self.exports.list()) < 3)
    @rule(data=st.data(), first=HOURS, merged=st.booleans(), overwrite=st.booleans())
    def export_by_hand(
        self, data: st.DataObject, first: Hour, merged: bool, overwrite: bool
    ) -> None:
        known = [found for found in self.destinations.list() if found.state != "setting_up"]
        if known:
            self.exports.start(
                NewManualExport(
                    destination_id=data.draw(st.sampled_from(known)).id,
                    from_hour=first,
                    until_hour=TODAY.plus(2),
                    include_events=True,
                    include_merged_ids=merged,
                    overwrite=overwrite,
                )
            )

    @precondition(lambda self: self.exports.list())
    @rule(data=st.data(), verb=st.sampled_from(["pause", "resume", "cancel"]))
    def change_an_export(self, data: st.DataObject, verb: str) -> None:
        chosen = data.draw(st.sampled_from(self.exports.list()))
        try:
            getattr(self.exports, verb)(chosen.id)
        except BadRequest:
            assert chosen.state not in {"running", "paused"} or verb == "pause"

    @rule(data=st.data())
    def try_at_once(self, data: st.DataObject) -> None:
        chosen = data.draw(st.sampled_from(self.destinations.list()))
        counts = {_key_of(run): run.attempts for run in self.ledger.runs()}
        try:
            self.destinations.try_now(chosen.id, lambda _: True, title="a cause")
        except BadRequest:
            assert chosen.outage_since_micros is not None
        assert counts == {_key_of(run): run.attempts for run in self.ledger.runs()}

    # What workers do.

    @rule(limit=st.integers(min_value=1, max_value=3))
    def claim(self, limit: int) -> None:
        held = self.ledger.claim(
            now_micros=self.now, lease_micros=LEASE_MICROS, destination_limit=limit
        )
        if held is not None:
            found = self.destinations.get(held.destination_id)
            assert (held.manual_export, found.state) == (0, "active")
            self._taken(held)

    @rule(limit=st.integers(min_value=1, max_value=3))
    def claim_by_hand(self, limit: int) -> None:
        held = self.ledger.claim_manual(
            now_micros=self.now,
            lease_micros=LEASE_MICROS,
            destination_limit=limit,
            manual_limit=limit,
        )
        if held is not None:
            export = self.exports.get(held.manual_export)
            assert export.state == ("cancelled" if held.cancelled else "running")
            assert export.overwrite == held.overwrite
            self._taken(held)

    def _taken(self, held: Delivery) -> None:
        key = _key(held)
        assert held.lease == self.newest_lease.get(key, 0) + 1
        assert self.expires.get(key, 0) <= self.now, "taken from a holder whose lease lasts"
        assert self.destinations.get(held.destination_id).outage_since_micros is None
        for other in self.holders:
            if (other.scope, other.hour) == (held.scope, held.hour) and _key(other) != key:
                apart = not (other.overwrite or held.overwrite)
                # All destinations share their keys here.
                assert apart or self.expires.get(_key(other), 0) <= self.now
        self.newest_lease[key] = held.lease
        self.expires[key] = self.now + LEASE_MICROS
        self.holders.append(held)

    @rule()
    def let_some_time_pass(self) -> None:
        self.now += LEASE_MICROS // 2

    @precondition(lambda self: self.holders)
    @rule()
    def let_a_lease_run_out_and_claim(self) -> None:
        self.now += LEASE_MICROS
        self.claim(limit=3)

    @precondition(lambda self: self.holders)
    @rule(data=st.data())
    def bring_what_is_there_and_let_go(self, data: st.DataObject) -> None:
        held = data.draw(st.sampled_from(self.holders))
        if self._put_all(held) and self._try(held, "end") and data.draw(st.booleans()):
            self.hand_over_an_early_file(held.hour, held.scope < 0)

    @precondition(lambda self: self.holders)
    @rule(data=st.data(), sealed=st.booleans())
    def hand_over_while_it_is_held(self, data: st.DataObject, sealed: bool) -> None:
        held = self.holders[-1]
        if data.draw(st.booleans()) and not self._put_all(held):
            return
        if sealed:
            self.seal(held.hour, held.scope < 0, 1)
        else:
            self.hand_over_an_early_file(held.hour, held.scope < 0)
        self._try(held, "end")

    @precondition(lambda self: self.holders)
    @rule(
        data=st.data(),
        act=st.sampled_from(
            ["put", "end", "renew", "upload", "retry", "failed", "conflict", "let go"]
        ),
    )
    def work(self, data: st.DataObject, act: str) -> None:
        self._try(data.draw(st.sampled_from(self.holders)), act)

    @precondition(lambda self: self.holders and len(self.exports.list()) < 3)
    @rule()
    def meet_other_content_and_overwrite_it(self) -> None:
        held = self.holders[-1]
        if not self._try(held, "conflict"):
            return
        new = NewManualExport(
            destination_id=held.destination_id,
            from_hour=held.hour,
            until_hour=held.hour.next(),
            include_events=held.scope > 0,
            include_merged_ids=held.scope < 0,
            overwrite=True,
        )
        self.exports.start(new)
        self.claim_by_hand(limit=3)
        taken = self.holders[-1]
        self.states[_key(taken)] = self._state(_key(taken))
        if self._put_all(taken):
            self._try(taken, "end")

    def _put_all(self, held: Delivery) -> bool:
        while any(not done for _, done in self.ledger.files(held)):
            if not self._try(held, "put"):
                return False
        return True

    def _try(self, held: Delivery, act: str) -> bool:
        """Do it; return False if the lease was lost, which must be so if it is not the newest."""
        key = _key(held)
        mine = self.newest_lease[key] == held.lease and self.states.get(key) == "running"
        try:
            self._act(held, act)
        except LeaseLost:
            assert not mine, "the newest holder of a running run was refused"
            self.holders.remove(held)
            return False
        assert mine, "a holder wrote that had lost its lease"
        if act not in {"put", "renew", "upload"}:
            self.states[key] = self._state(key)
        return True

    def _state(self, key: _Key) -> RunState:
        (run,) = self.ledger.runs(
            destination_id=key[0], hour=key[2], scope=self._scope_of(key), manual_export=key[3]
        )
        return run.state

    def _scope_of(self, key: _Key) -> int:
        return self.project if key[1] == "events" else -self.organization

    def _act(self, held: Delivery, act: str) -> None:
        key = _key(held)
        if act == "put":
            left = [file.number for file, done in self.ledger.files(held) if not done]
            for number in left[:1] or [1]:
                # Without a file left the write proves only whose the lease is.
                if left:
                    self.ledger.file_delivered(held, number, f"k{number}", "put", self.now)
                else:
                    self.ledger.upload_ended(held)
            return
        if act == "upload":
            self.ledger.upload_started(held, "k1", "u")
            return
        if act == "renew":
            try:
                self.ledger.renew(held, self.now + LEASE_MICROS, now_micros=self.now)
            except Halted:
                assert self.exports.get(held.manual_export).state != "running"
            self.expires[key] = self.now + LEASE_MICROS
            return
        if act == "retry":
            self.ledger.retry(held, REFUSED, self.now + 10)
        elif act == "failed":
            self.ledger.failed(held, REFUSED, next_probe_micros=self.now + 10)
        elif act == "conflict":
            self.ledger.conflict(held, REFUSED, "k")
        elif act == "let go":
            self.ledger.let_go(held)
        else:
            self._end(held)
        self.expires.pop(key, None)

    def _end(self, held: Delivery) -> None:
        complete = all(done for _, done in self.ledger.files(held))
        if complete and (held.scope, held.hour) in self.sealed:
            self.ledger.succeeded(held, self.now)
            if held.overwrite:
                # All destinations share their keys here.
                same = self.ledger.runs(hour=held.hour, scope=held.scope)
                assert "conflict" not in {run.state for run in same}, "its object is ours now"
            return
        if held.manual_export and self.exports.get(held.manual_export).state == "cancelled":
            self.ledger.upload_ended(held)
            self.ledger.cancelled(held)
            return
        if self.newest_lease[_key(held)] == held.lease:
            with pytest.raises((Corrupt, LeaseLost)):
                self.ledger.succeeded(held, self.now)
        self.ledger.waiting(held)

    @rule()
    def probe(self) -> None:
        for destination_id in self.ledger.probe_due(self.now):
            self.ledger.end_outage(destination_id)

    # What must hold at every moment.

    @invariant()
    def every_owed_run_has_a_row(self) -> None:
        assert self.ledger.check_derived() == 0
        owed = {(scope, hour) for scope, hour in self.early if self.early[scope, hour]}
        owed |= self.sealed
        runs = self.ledger.runs(manual_export=0)
        rows = {(run.destination_id, run.scope, run.hour) for run in runs}
        for found in self.destinations.list():
            if found.state != "active" or found.from_hour is None:
                continue
            scopes = [self.project] + [-self.organization] * found.include_merged_ids
            for scope, hour in owed:
                if scope in scopes and hour >= found.from_hour:
                    assert (found.id, scope, hour) in rows

    @invariant()
    def runs_move_only_as_the_table_says(self) -> None:
        runs = {
            (r.destination_id, r.data_type, r.hour, r.manual_export): r for r in self.ledger.runs()
        }
        assert self.states.keys() <= runs.keys(), "a run was lost"
        for key, run in runs.items():
            before = self.states.get(key, "pending")
            assert run.state == before or run.state in TRANSITIONS[before]
            if run.state == "success":
                assert run.sealed
                assert run.files_delivered == run.files
            self.states[key] = run.state

    @invariant()
    def an_export_is_finished_when_it_owes_nothing(self) -> None:
        for export in self.exports.list():
            runs = {run.state for run in self.ledger.runs(manual_export=export.id)}
            if export.state == "finished":
                assert runs <= {"success"}
            elif export.state != "cancelled":
                assert runs - {"success"}
                assert "cancelled" not in runs

    @invariant()
    def a_waiting_run_has_nothing_left_to_bring(self) -> None:
        for run in self.ledger.runs(states=("pending", "running", "retrying")):
            if run.due_micros is None:
                assert run.state == "pending"
                assert not run.sealed
                assert run.files_delivered == run.files

    def finish(self) -> None:
        """Let every worker die and every person agree, and deliver all that is owed."""
        self.now += 10 * LEASE_MICROS
        for found in self.destinations.list():
            self._activate(found.id)
        for scope, hour in self.early:
            if (scope, hour) not in self.sealed:
                self.seal(hour, scope < 0, 0)
        for export in self.exports.list():
            if export.state == "paused":
                self.exports.resume(export.id)
        for run in self.ledger.runs(states=("failed", "conflict")):
            self.ledger.send_again(
                run.destination_id, run.data_type, run.hour, manual_export=run.manual_export
            )
        while (held := self._claim_any()) is not None:
            if held.cancelled:
                self.ledger.cancelled(held)
                continue
            for file, done in self.ledger.files(held):
                if not done:
                    self.ledger.file_delivered(held, file.number, file.name, "put", self.now)
            self.ledger.succeeded(held, self.now)
        cancelled = {export.id for export in self.exports.list() if export.state == "cancelled"}
        for run in self.ledger.runs():
            over = {"success", "cancelled"} if run.manual_export in cancelled else {"success"}
            assert run.state in over

    def _claim_any(self) -> Delivery | None:
        return self.ledger.claim(
            now_micros=self.now, lease_micros=LEASE_MICROS, destination_limit=100
        ) or self.ledger.claim_manual(
            now_micros=self.now,
            lease_micros=LEASE_MICROS,
            destination_limit=100,
            manual_limit=100,
        )


def _key(held: Delivery) -> _Key:
    return held.destination_id, held.data_type, held.hour, held.manual_export


def _key_of(run: Run) -> _Key:
    return run.destination_id, run.data_type, run.hour, run.manual_export


def _write_without_waiting(connection: DBAPIConnection, _entry: object) -> None:
    connection.cursor().execute("PRAGMA synchronous = OFF")


class FinishedMachine(LedgerMachine):
    """The same, and at the end all that is owed can be delivered."""

    def teardown(self) -> None:
        if hasattr(self, "project"):
            self.finish()
        super().teardown()


@pytest.mark.timeout(400)
@pytest.mark.slow  # some thousand calls on dozens of small databases
def test_nothing_owed_is_lost_and_no_run_has_two_holders(tmp_path: Path) -> None:
    LedgerMachine.empty = tmp_path / "empty.sqlite"
    open_database(LedgerMachine.empty).dispose()
    run_state_machine_as_test(
        FinishedMachine, settings=settings(max_examples=40, stateful_step_count=40, deadline=None)
    )
