"""The exporter: workers that take runs from the ledger and deliver them until told to stop.

Started by the service's export process. What to do about a failure is decided here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import msgspec
import structlog

from tailrace.clock import MICROS, Clock
from tailrace.errors import Halted, LeaseLost
from tailrace.export import schedule
from tailrace.export.at_work import AtWork
from tailrace.export.deliver import (
    LEASE_SECONDS,
    Dropped,
    Ending,
    Layout,
    LeaseHold,
    OpenFile,
    Run,
    Stopped,
)
from tailrace.export.diagnose import diagnose, unwrapped
from tailrace.export.objects import store_of
from tailrace.export.verify import ClientSource
from tailrace.export.watch import Watch
from tailrace.hours import Hour
from tailrace.ids import Ids
from tailrace.state.delivery import AUTOMATIC, Cause, Delivery, Destination
from tailrace.state.destinations import Destinations
from tailrace.state.ledger import Ledger

log = structlog.get_logger(__name__)

# Idle workers ask the ledger this often, one for all; a marker follows its hour's end in seconds.
IDLE_SECONDS = 0.5
# After trouble with the ledger itself a worker waits before it asks again.
TROUBLE_SECONDS = 5.0
# How often outages are looked at, and how often derived rows are checked.
LOOK_SECONDS = 5.0
CHECK_SECONDS = 60
# A check of all hours takes as long as the ledger is; in between the latest are looked at.
WHOLE_CHECK_SECONDS = 3600
LATEST_HOURS = 8 * 24
# Requests under way may end within this time; the service has ten seconds for all its parts.
STOP_SECONDS = 7.0


class Ports(msgspec.Struct, frozen=True):
    """What the exporter works with. `clock` is the service's, `machine` the machine's own."""

    ledger: Ledger
    destinations: Destinations
    clients: ClientSource
    layout: Layout
    open_file: OpenFile
    clock: Clock
    machine: Clock
    ids: Ids


class Exporter:
    """Deliver what is owed, newest hour first, and then what manual exports ask for.

    Every method may be called from any thread.
    """

    def __init__(self, ports: Ports, *, workers: int, per_destination: int) -> None:
        self._ports = ports
        self._workers = workers
        self._per_destination = per_destination
        self._stopping = threading.Event()
        self._turn = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._at_work = AtWork(workers=workers, per_destination=per_destination)
        self._watch = Watch(ports.ledger, ports.destinations, ports.clients, ports.machine)
        self._check_at_micros = 0
        self._whole_check_at_micros = 0

    def start(self) -> None:
        """Start the workers and the watch over outages."""
        names: list[tuple[str, Callable[[], bool], float]] = [
            (f"export-{number}", self._deliver_all, 0.0) for number in range(self._workers)
        ]
        names.append(("export-watch", self.look_after, LOOK_SECONDS))
        for name, step, idle_seconds in names:
            # Daemons: a request that hangs in the network must not hold the process; its run's
            # lease runs out instead.
            thread = threading.Thread(
                target=self._repeat, args=(step, idle_seconds), name=name, daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def stop(self, timeout_seconds: float = STOP_SECONDS) -> bool:
        """Let every worker finish or let go of its run; return whether all have within the time."""
        self._stopping.set()
        left = timeout_seconds * MICROS + self._ports.machine.steady_micros()
        for thread in self._threads:
            thread.join(max(0.0, (left - self._ports.machine.steady_micros()) / MICROS))
        return not any(thread.is_alive() for thread in self._threads)

    def deliver_next(self) -> bool:
        """Take one run and see it through to its end or its next try; False if none was due."""
        held = self._claim()
        if held is None:
            return False
        self._see_through(held)
        return True

    def look_after(self) -> bool:
        """Probe the destinations whose turn it is; once a minute check the derived rows.

        What waits for a moment that a clock named before it was set back is made due.
        """
        ports = self._ports
        latest = ports.machine.now_micros() + schedule.WAIT_SECONDS_MAX * MICROS
        woken = ports.ledger.wake_beyond(latest)
        if woken:
            log.warning("export_clock_went_back", woken=woken)
        self._watch.probe_due()
        # A clock that is set back must not put the check off, so this follows steady time.
        now = ports.machine.steady_micros()
        if now >= self._check_at_micros:
            self._check_at_micros = now + CHECK_SECONDS * MICROS
            missing = ports.ledger.check_derived(self._check_since(now))
            if missing:
                log.error("export_runs_missing", runs=missing)
        return False

    def _check_since(self, now: int) -> Hour | None:
        if now >= self._whole_check_at_micros:
            self._whole_check_at_micros = now + WHOLE_CHECK_SECONDS * MICROS
            return None
        return Hour.of_micros(self._ports.clock.now_micros()).plus(-LATEST_HOURS)

    def _deliver_all(self) -> bool:
        """Deliver while there are runs to take, then wait for one. False: it may be asked again.

        Of idle workers one looks while the others wait for their turn, so that many cost no more
        than one. A worker that was busy looks for itself first: it never waits behind an idle one.
        """
        while not self._stopping.is_set() and self.deliver_next():
            continue
        with self._turn:
            held = None
            while held is None and not self._stopping.wait(IDLE_SECONDS):
                held = self._claim()
        if held is not None:
            self._see_through(held)
        return False

    def _claim(self) -> Delivery | None:
        ledger = self._ports.ledger
        limits = {
            "now_micros": self._ports.machine.now_micros(),
            "lease_micros": LEASE_SECONDS * MICROS,
            "destination_limit": self._per_destination,
        }
        held = self._at_work.claim(
            lambda passing_over: ledger.claim(passing_over=passing_over, **limits)
        )
        if held is not None:
            return held
        return self._at_work.claim_manual(
            lambda passing_over, manual_limit: ledger.claim_manual(
                passing_over=passing_over, manual_limit=manual_limit, **limits
            )
        )

    def _see_through(self, held: Delivery) -> None:
        try:
            with self._at_work.leaving(held):
                self._deliver(held)
        except LeaseLost:
            log.warning("export_lease_lost", **_names(held))

    def _repeat(self, step: Callable[[], bool], idle_seconds: float) -> None:
        while not self._stopping.is_set():
            try:
                wait_seconds = 0.0 if step() else idle_seconds
            except Exception:
                # The ledger can't be read or written; what was under way is taken up again when
                # its lease has run out.
                log.exception("export_trouble")
                wait_seconds = TROUBLE_SECONDS
            if wait_seconds:
                self._stopping.wait(wait_seconds)

    def _deliver(self, held: Delivery) -> None:
        ports = self._ports
        destination = ports.destinations.get(held.destination_id)
        hold = LeaseHold(ports.ledger, held, ports.machine, self._stopping.is_set)
        run: Run | None = None
        try:
            store = store_of(ports.clients.of(destination), destination)
            run = Run(
                held,
                destination,
                store,
                ports.ledger,
                ports.layout,
                ports.open_file,
                ports.clock,
                hold,
            )
            ending = self._run(run, held)
        except LeaseLost:
            raise
        except Exception as error:
            if isinstance(error, Stopped) or self._stopping.is_set():
                # Nothing is known against the run: it is due at once for whoever starts next.
                ports.ledger.let_go(held)
                return
            key = None if run is None else run.key
            self._settle(held, destination, diagnose(error, destination, key), error)
            return
        self._at_work.ended_well(held)
        log.info("export_" + ending, **_names(held))

    def _run(self, run: Run, held: Delivery) -> Ending:
        """Deliver; where a person halts the manual export meanwhile, let its run go."""
        try:
            if not held.cancelled:
                return run.deliver()
        except Exception as error:
            if not isinstance(unwrapped(error), Halted):
                raise
            if not self._ports.ledger.is_cancelled(held):
                self._ports.ledger.let_go(held)
                return "halted"
        run.withdraw()
        return "cancelled"

    def _settle(
        self, held: Delivery, destination: Destination, cause: Cause, error: Exception
    ) -> None:
        """Decide what a failure means: another try, an outage, or a person's turn."""
        ledger, now = self._ports.ledger, self._ports.machine.now_micros()
        self._at_work.failed(held, cause)
        facts = {"kind": cause.kind, "code": cause.code, "why": cause.sentence, **_names(held)}
        if isinstance(error, Dropped):
            # No other try would find the file. A person who puts it back says so.
            ledger.failed(held, cause)
            log.error("export_file_dropped", **facts)
        elif cause.kind == "conflict":
            ledger.conflict(held, cause, cause.key or "")
            log.error("export_conflict", **facts)
        elif cause.kind == "access":
            next_try = schedule.after_refusal(held.refusals + 1, now)
            if next_try is not None:
                ledger.retry(held, cause, next_try)
                log.warning("export_refused", **facts)
                return
            begun = ledger.failed(held, cause, next_probe_micros=schedule.next_probe(now))
            log.error("export_failed", outage_began=begun, **facts)
        else:
            ledger.retry(held, cause, schedule.after_trouble(held.attempts, now, self._ports.ids))
            trace = error if cause.kind == "unknown" else None
            log.warning("export_trouble", exc_info=trace, **facts)


def _names(held: Delivery) -> dict[str, object]:
    names: dict[str, object] = {
        "destination": held.destination_id,
        "data_type": held.data_type,
        "hour": str(held.hour),
        "attempt": held.attempts,
    }
    if held.manual_export != AUTOMATIC:
        names["manual_export"] = held.manual_export
    return names
