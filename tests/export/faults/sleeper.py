"""A process that takes one run and delivers it, with a clock that its parent writes into a file."""

from __future__ import annotations

import sys
from pathlib import Path

from tailrace.archive.folder import FolderArchive
from tailrace.export import bucket, parts
from tailrace.export.client import Clients, ClientSettings
from tailrace.export.deliver import Layout
from tailrace.export.exporter import Exporter, Ports
from tailrace.files import Files
from tailrace.ids import SystemIds
from tailrace.seal import manifest, names
from tailrace.state.database import open_database
from tailrace.state.destinations import Destinations
from tailrace.state.ledger import Ledger


class FileClock:
    """The time that stands in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def now_micros(self) -> int:
        return int(self._path.read_text())

    def steady_micros(self) -> int:
        return self.now_micros()


def main(folder: Path, clock_path: Path, part_bytes: int) -> None:
    for module in (parts, bucket):
        vars(module)["MULTIPART_BYTES"] = part_bytes
    clock = FileClock(clock_path)
    engine = open_database(folder / "tailrace.sqlite")
    settings = ClientSettings(private_endpoints=True, read_timeout_seconds=60)
    ports = Ports(
        ledger=Ledger(engine, clock),
        destinations=Destinations(engine, clock),
        clients=Clients(settings, lambda secret: secret.decode(), clock),
        layout=Layout(names.file_key, names.manifest_key, names.marker_key, manifest.manifest_body),
        open_file=FolderArchive(folder / "packs", folder / "archive", Files()).open_file,
        clock=clock,
        machine=clock,
        ids=SystemIds(),
    )
    assert Exporter(ports, workers=1, per_destination=1).deliver_next()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
