"""The service's notices: mails are made as things happen, and sent as a mail server takes them.

One thread of the export process, whose lock sees to it that nobody else makes or sends any.
"""

from __future__ import annotations

import threading

import structlog

from tailrace.clock import MICROS, Clock
from tailrace.notify.outage_mails import Mailing, make_outage_mails
from tailrace.notify.sending import send_due
from tailrace.notify.warnings import make_warnings
from tailrace.state.mails import Mails

log = structlog.get_logger(__name__)

# A mail takes longer than this to be read.
LOOK_SECONDS = 10.0
# After trouble with the database or the disk.
TROUBLE_SECONDS = 60.0
# Room changes slowly, and old mails go once a day or so.
ROOM_SECONDS = 60


class Notices:
    """Make and send mails until told to stop. `machine` is the machine's clock."""

    def __init__(self, mailing: Mailing, machine: Clock) -> None:
        self._mailing = mailing
        self._machine = machine
        self._mails = Mails(mailing.engine, mailing.clock)
        self._stopping = threading.Event()
        self._room_at_micros = 0

    def start(self) -> None:
        """Start the thread: a daemon, since a mail server that hangs must not hold the process."""
        threading.Thread(target=self._repeat, name="notices", daemon=True).start()

    def stop(self) -> None:
        """Begin nothing more. A mail that is being sent is sent again later, if it was not."""
        self._stopping.set()

    def step(self) -> None:
        """Make what is owed now, then send what is due."""
        make_outage_mails(self._mailing)
        steady = self._machine.steady_micros()
        if steady >= self._room_at_micros:
            self._room_at_micros = steady + ROOM_SECONDS * MICROS
            self._mailing.gauge.sample()
            make_warnings(self._mailing)
            self._mails.forget_old()
        settings = self._mailing.settings.smtp
        send_due(self._mails, settings, clock=self._mailing.clock, machine=self._machine)

    def _repeat(self) -> None:
        wait_seconds = 0.0
        while not self._stopping.wait(wait_seconds):
            try:
                self.step()
                wait_seconds = LOOK_SECONDS
            except Exception:
                # The database or the disk can't be used; nothing is forgotten meanwhile.
                log.exception("notices_trouble")
                wait_seconds = TROUBLE_SECONDS
