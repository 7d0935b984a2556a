"""What is done under trace: a short life of a data folder, in phases of a process each.

Run as `python -m powercut.workload FOLDER MARKS PHASE` by `tracing.py`. Some phases are killed in
the middle, as a process may be without any power cut; what they wrote then stays in the system's
memory, unsynced, and the next phase goes on from it.
"""

from __future__ import annotations

import os
import random
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from powercut import leaving_out
from powercut.mmdb import write_mmdb
from powercut.outside import (
    Acknowledged,
    Asked,
    Bucket,
    ClockAccepted,
    ClockFixed,
    DestinationAdded,
    Initialised,
    Kept,
    Mark,
    Passed,
    Promises,
    Put,
    Refused,
    Retired,
    Sent,
    encode_mark,
)
from powercut.service import (
    SEGMENT_BYTES,
    SeededIds,
    Service,
    initialise,
    record_of,
    use_small_sizes,
)
from tailrace import killpoints
from tailrace.clock import MICROS, SteppedClock
from tailrace.errors import Transient
from tailrace.files import AppendFile, Buffer
from tailrace.folder import DataFolder
from tailrace.hours import Hour
from tailrace.log.stamping import accept_clock
from tailrace.state.secrets import Secrets

# Two hours before midnight: files of a day that is over may be evicted.
START_MICROS = Hour.parse("2026-03-05T22").start_micros + 50 * 60 * MICROS
# Long enough for a checkpoint to be due, and for old segments to be looked for.
PAUSE_MICROS = 61 * MICROS


class Life:
    """One process of the service at work, and its word to the outside."""

    def __init__(self, data: Path, marks: Path, seed: int) -> None:
        self.folder = DataFolder(data)
        self._marks = os.open(marks, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        self.promises = Promises()
        for line in marks.read_bytes().splitlines():
            self.promises.take(line)
        now = self.promises.now_micros or START_MICROS
        self.clock = SteppedClock(now, self.promises.steady_micros)
        self.files = leaving_out.Wrapped()
        self.ids = SeededIds(seed)
        self.chance = random.Random(seed)
        self.bucket = Bucket(self.promises.objects, self.mark)
        # Beside the marks, where no cut comes.
        self.places = write_mmdb(marks.parent / "places.mmdb", {})
        self._service: Service | None = None

    @property
    def service(self) -> Service:
        """The running service."""
        if self._service is None:
            self._service = Service(
                self.folder, self.files, self.ids, self.clock, self.bucket, self.places
            )
        return self._service

    def mark(self, mark: Mark) -> None:
        """Note a promise; from this system call on it holds."""
        line = encode_mark(mark)
        os.write(self._marks, line)
        if not isinstance(mark, Put):
            self.promises.take(line)

    def kept(self, path: Path) -> None:
        """Note that a file was made durable."""
        self.mark(Kept(str(path.relative_to(self.folder.path)), path.read_bytes()))

    def make_room(self, partition: int) -> None:
        """Send requests until the next one finds room in a segment that has entries."""
        self.send(partition, 1)
        while _newest_segment(self, partition).stat().st_size >= SEGMENT_BYTES:
            self.send(partition, 1)

    def restart_torn(self, partition: int) -> None:
        """Open a partition anew whose last write was torn, as one of a process that died is."""
        self.service.writers.pop(partition).close()
        with _newest_segment(self, partition).open("ab") as file:
            file.write(random.Random(partition).randbytes(150))
        self.service.open_writer(partition)

    def start(self) -> None:
        """Start collectors and processor."""
        self.service.renew_age()
        self.service.open_writers()
        self.service.start_processor()

    def pass_time(self, micros: int) -> None:
        """Let time pass."""
        self.clock.advance(micros)
        self.mark(Passed(self.clock.now_micros(), self.clock.steady_micros()))

    def send(self, partition: int, *sizes: int, again: tuple[int, ...] = (), shop: int = 0) -> None:
        """Append requests of so many events each at once; `again` are events sent once more."""
        self.pass_time(1000)
        if self.promises.initialised is None:
            raise ValueError("init comes first")
        project = self.promises.initialised.projects[shop]
        requests: list[Sent] = []
        for size in sizes:
            first = sum(len(sent.events) for sent in self.promises.sent.values())
            events = tuple(range(first, first + size)) + again
            requests.append(Sent(len(self.promises.sent), project, events))
            self.mark(requests[-1])
        now = self.clock.now_micros()
        records = [record_of(self.promises, sent, now) for sent in requests]
        for sent, answer in zip(requests, self.service.append(partition, records), strict=True):
            if isinstance(answer, int):
                self.mark(Acknowledged(sent.request, answer))
            elif isinstance(answer, Transient):
                self.mark(Refused(sent.request))
            else:
                raise answer

    def work(self, rounds: int = 1) -> None:
        """Process, commit, join and deliver, some times with a pause before."""
        for _ in range(rounds):
            self.pass_time(PAUSE_MICROS)
            self.service.tick()
            self.service.settle()
            self.service.deliver()

    def finish_hour(self) -> None:
        """Go to the next hour."""
        end = Hour.of_micros(self.clock.now_micros()).end_micros
        self.pass_time(end - self.clock.now_micros() + MICROS)
        self.work()

    def stop(self) -> None:
        """Stop in order."""
        self.service.close()


@contextmanager
def short_writes(taken: Callable[[int], int]) -> Iterator[None]:
    """Let the log take only a part of each write, or nothing: then the system refuses.

    `taken` says how many bytes for a write's length.
    """
    real = AppendFile.write

    def write(file: AppendFile, data: Buffer) -> int:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (file.size() + taken(len(data)), hard))
        try:
            return real(file, data)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    with mock.patch.object(AppendFile, "write", write):
        yield


def _newest_segment(life: Life, partition: int) -> Path:
    return max((life.folder.log / str(partition)).glob("*.log"))


# The phases, in order.


def make_folder_and_die(life: Life) -> None:
    """Die between making the data folder and its sync."""
    leaving_out.die_before(life.files, "create make_folder", life.folder.path.parent, 1)
    initialise(life.folder, life.files, life.ids, life.clock)


def set_up(life: Life) -> None:
    """Do `init`, the first start and a destination."""
    life.folder.create(life.files)
    life.kept(life.folder.path / "format.json")
    Secrets.open(life.folder.secrets_key, life.files, life.ids)
    life.kept(life.folder.secrets_key)
    account = initialise(life.folder, life.files, life.ids, life.clock)
    life.mark(Initialised(account.organization, account.projects, account.api_keys))
    life.folder.fix_clock("2026-03-05T22:50:00", life.files)
    fixed = life.folder.clock_file()
    assert fixed is not None
    life.mark(ClockFixed(fixed.offset_micros))
    for destination in life.service.add_destinations(account.projects):
        life.mark(DestinationAdded(destination.id))
    life.stop()


def first_start(life: Life) -> None:
    """Collect on two partitions, roll segments, rewrite chunks, seal early; die unsynced."""
    life.start()
    life.send(1, 2)
    life.send(2, 1, 1, 3)
    life.work()
    life.send(1, 2, again=(0,))
    life.send(2, 2)
    life.work()
    life.make_room(1)
    # The first request is whole in the file, and both are refused.
    with short_writes(lambda size: size - 20):
        life.send(1, 1, 1)
    life.send(1, 3)
    with short_writes(lambda size: 0):
        life.send(1, 1)
    life.send(1, 1)
    life.send(1, 1, shop=1)
    life.work(2)
    life.finish_hour()
    life.send(1, 2)
    life.send(2, 2, again=(3,))
    life.work()
    # Written and not synced: nobody was answered, but the next start may find it.
    killpoints.arm("log.written")
    life.send(2, 2)


def start_again_and_die(life: Life) -> None:
    """Recover what the dead process wrote, take it on, and die while recovering a torn tail."""
    life.start()
    life.work()
    life.send(1, 2)
    life.send(2, 1)
    life.work()
    killpoints.arm("log.recovering")
    life.restart_torn(1)


def second_start(life: Life) -> None:
    """Go on over midnight: seal, deliver, drop segments; die with a pack without a row."""
    life.start()
    life.send(1, 3)
    life.send(2, 2)
    life.work()
    life.restart_torn(2)
    life.send(2, 1)
    life.finish_hour()
    life.send(1, 1)
    life.send(2, 1, shop=1)
    life.work()
    life.finish_hour()
    life.send(1, 2)
    life.pass_time(PAUSE_MICROS)
    killpoints.arm("pack.renamed")
    life.service.settle()


def make_archive_folder_and_die(life: Life) -> None:
    """Die between making a day's folder, with files in it, and the sync of any folder."""
    life.start()
    leaving_out.die_before(life.files, "finish sync_folder", None, 1)
    life.send(1, 3)
    life.send(2, 2)
    life.work(2)
    life.finish_hour()


def last_start(life: Life) -> None:
    """Evict, accept a clock that jumped, add a partition, retire one, and end in order."""
    life.start()
    life.files.folders_vanish = 1
    life.work()
    life.files.free = 5 * 10**9
    life.finish_hour()
    life.work()
    life.clock.step(20 * MICROS)
    life.mark(Passed(life.clock.now_micros(), life.clock.steady_micros()))
    life.send(1, 1)
    life.mark(ClockAccepted(accept_clock(life.folder.log, life.clock, life.files)))
    life.pass_time(MICROS)
    life.send(1, 2)
    life.service.open_writer(3)
    life.send(3, 2)
    life.send(2, 1)
    life.service.retire(2)
    life.mark(Retired(2))
    life.send(1, 2)
    life.finish_hour()
    life.send(3, 1)
    life.work()
    life.stop()


PHASES: tuple[Callable[[Life], None], ...] = (
    make_folder_and_die,
    set_up,
    first_start,
    start_again_and_die,
    second_start,
    make_archive_folder_and_die,
    last_start,
)
# The phases that end by a kill.
KILLED = frozenset(
    phase.__name__
    for phase in (
        make_folder_and_die,
        first_start,
        start_again_and_die,
        second_start,
        make_archive_folder_and_die,
    )
)


def main(data: str, marks: str, phase: str) -> None:
    """Run one phase."""
    use_small_sizes()
    number = [one.__name__ for one in PHASES].index(phase)
    life = Life(Path(data), Path(marks), number)
    leaving_out.note_sites(lambda site: life.mark(Asked(site)))
    leaving_out.relax(os.environ.get(leaving_out.WITHOUT, ""))
    PHASES[number](life)
    if phase in KILLED:
        raise RuntimeError(f"{phase} was to be killed, and was not")


if __name__ == "__main__":
    main(*sys.argv[1:])
