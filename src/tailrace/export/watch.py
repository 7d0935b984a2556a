"""The watch over destinations whose access is refused: one probe decides for all their hours.

Called by the exporter every few seconds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from tailrace.clock import Clock
from tailrace.export import schedule
from tailrace.export.diagnose import diagnose
from tailrace.export.verify import ClientSource, verify
from tailrace.state.destinations import Destinations
from tailrace.state.ledger import Ledger

log = structlog.get_logger(__name__)

# A store that answers takes a second or two for all probes. One that never ends an answer is left
# behind after this time, so that the next destination is probed.
PATIENCE_SECONDS = 30.0
# Threads that hang at such stores; above this many no probe is begun until one of them ends.
LEFT_BEHIND_MAX = 64


class Watch:
    """Probe one destination after the other; `machine` is the machine's clock. For one thread."""

    def __init__(
        self, ledger: Ledger, destinations: Destinations, clients: ClientSource, machine: Clock
    ) -> None:
        self._ledger = ledger
        self._destinations = destinations
        self._clients = clients
        self._machine = machine
        self._left_behind: dict[int, threading.Thread] = {}

    def probe_due(self) -> None:
        """Probe the destinations whose turn it is, but none where a probe is still under way.

        A new outage is looked into at once, so that its mail names everything that is missing;
        whether it is over is decided by the probes that follow.
        """
        for destination_id in self._ledger.probe_due(self._machine.now_micros()):
            self._begin(self._probe, destination_id)
        for destination_id in self._ledger.to_look_into():
            self._begin(self._look_into, destination_id)

    def _begin(self, probe: Callable[[int], None], destination_id: int) -> None:
        self._left_behind = {
            of: thread for of, thread in self._left_behind.items() if thread.is_alive()
        }
        if destination_id in self._left_behind or len(self._left_behind) >= LEFT_BEHIND_MAX:
            return
        thread = threading.Thread(
            target=probe, args=(destination_id,), name="export-probe", daemon=True
        )
        thread.start()
        thread.join(PATIENCE_SECONDS)
        if thread.is_alive():
            self._left_behind[destination_id] = thread
            log.warning("export_probe_hangs", destination=destination_id)

    def _look_into(self, destination_id: int) -> None:
        try:
            destination = self._destinations.get(destination_id)
            known = destination.outage_cause
            if known is None:
                return
            try:
                # Probes that all pass know nothing better than the run that was refused.
                cause = verify(destination, self._clients).cause or known
            except Exception:
                log.exception("export_probe_trouble", destination=destination_id)
                cause = known
            self._ledger.looked_into(destination_id, cause)
        except Exception:
            # The ledger can't be read or written; it is still to be looked into.
            log.exception("export_trouble", destination=destination_id)

    def _probe(self, destination_id: int) -> None:
        try:
            destination = self._destinations.get(destination_id)
            try:
                found = verify(destination, self._clients)
            except Exception as error:
                # One destination's oddity must not be tried without a pause.
                log.exception("export_probe_trouble", destination=destination_id)
                cause = diagnose(error, destination)
                self._ledger.probe_failed(destination_id, cause, self._next_probe())
                return
            if found.passed:
                if found.capabilities != destination.capabilities:
                    self._destinations.set_capabilities(destination_id, found.capabilities)
                self._ledger.end_outage(destination_id)
                log.info("export_access_returned", destination=destination_id)
                return
            why = found.cause or destination.outage_cause
            assert why is not None
            self._ledger.probe_failed(destination_id, why, self._next_probe())
            log.warning("export_probe_failed", destination=destination_id, why=why.sentence)
        except Exception:
            # The ledger can't be read or written; the probe stays due.
            log.exception("export_trouble", destination=destination_id)

    def _next_probe(self) -> int:
        return schedule.next_probe(self._machine.now_micros())
