"""One turn of the service's notices in a process of its own, so that it can be killed.

Arguments: the database, the port of a mail server on loopback, the time in microseconds.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tailrace import killpoints
from tailrace.clock import SteppedClock
from tailrace.files import Files
from tailrace.ids import SystemIds
from tailrace.notify.notices import Notices
from tailrace.notify.outage_mails import Mailing
from tailrace.notify.room import RoomGauge
from tailrace.settings import Settings, SmtpSettings
from tailrace.state.database import open_database


class Disk(Files):
    """A file system whose free space is what a test says."""

    def __init__(self) -> None:
        self.free = 500 * 10**9
        self.total = 1000 * 10**9

    def free_bytes(self, path: Path) -> int:
        return self.free

    def total_bytes(self, path: Path) -> int:
        return self.total


def main() -> None:
    """Make what is owed and send what is due."""
    database, port, now = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    killpoints.arm(os.environ.get("TAILRACE_KILL_AT"))
    engine = open_database(database)
    clock = SteppedClock(now)
    smtp = SmtpSettings(host="127.0.0.1", port=port, security="none", timeout_seconds=10)
    settings = Settings(smtp=smtp)
    gauge = RoomGauge(engine, Disk(), database.parent, settings.disk, clock)
    Notices(Mailing(engine, clock, SystemIds(), settings, gauge), clock).step()
    engine.dispose()


if __name__ == "__main__":
    main()
