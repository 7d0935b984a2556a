"""The exporter part: delivers what the ledger owes until it is stopped."""

from __future__ import annotations

from tailrace.app.destinations import open_clients
from tailrace.app.layout import LAYOUT
from tailrace.app.part import PartContext
from tailrace.archive.folder import FolderArchive
from tailrace.clock import SystemClock
from tailrace.export.exporter import Exporter, Ports
from tailrace.state.database import open_database
from tailrace.state.destinations import Destinations
from tailrace.state.ledger import Ledger

STOP_SECONDS = 4.5


def run(context: PartContext) -> None:
    """Deliver until the part is stopped."""
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
    context.start_beating(dict)
    exporter.start()
    try:
        context.stop.wait()
        exporter.stop(STOP_SECONDS)
    finally:
        context.end()
        engine.dispose()
        held.release()
