"""The exporter part: delivers what the ledger owes, and mails, until it is stopped."""

from __future__ import annotations

from tailrace.app.destinations import open_clients
from tailrace.app.layout import LAYOUT
from tailrace.app.part import PartContext
from tailrace.archive.folder import FolderArchive
from tailrace.clock import SystemClock
from tailrace.export.exporter import Exporter, Ports
from tailrace.notify.notices import Notices
from tailrace.notify.outage_mails import Mailing
from tailrace.notify.room import RoomGauge
from tailrace.state.database import open_database
from tailrace.state.destinations import Destinations
from tailrace.state.ledger import Ledger

STOP_SECONDS = 4.5


def run(context: PartContext) -> None:
    """Deliver and mail until the part is stopped."""
    folder, settings = context.folder, context.settings
    held = context.files.lock(folder.path / "exporter.lock", "the exporter")
    engine = open_database(folder.database)
    ledger = Ledger(engine, context.clock)
    # Whoever held a lease on this machine is gone: the lock above says so.
    ledger.release_leases()
    archive = FolderArchive(folder.packs, folder.archive, context.files)
    exporter = Exporter(
        Ports(
            ledger=ledger,
            destinations=Destinations(engine, context.clock),
            clients=open_clients(folder, settings),
            layout=LAYOUT,
            open_file=archive.open_file,
            clock=context.clock,
            machine=SystemClock(),
            ids=context.ids,
        ),
        workers=settings.export.workers,
        per_destination=settings.export.per_destination,
    )
    machine = SystemClock()
    mailing = Mailing(
        engine=engine,
        clock=context.clock,
        ids=context.ids,
        settings=settings,
        gauge=RoomGauge(engine, context.files, folder.path, settings.disk, machine),
    )
    notices = Notices(mailing, machine)
    context.start_beating(dict)
    exporter.start()
    notices.start()
    try:
        context.stop.wait()
        notices.stop()
        exporter.stop(STOP_SECONDS)
    finally:
        context.end()
        engine.dispose()
        held.release()
