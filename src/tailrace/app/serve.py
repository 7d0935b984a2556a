"""`tailrace serve`: one command that runs every part of the service under a supervisor."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import structlog
from sqlalchemy.engine import Engine

from tailrace.accounts.first_run import first_run_path, new_token
from tailrace.app.ages import aged_parts, renew
from tailrace.app.listening import Address, bind, bind_or_free, is_taken, url
from tailrace.app.refused import remove_refused
from tailrace.app.supervisor import Part, Supervisor
from tailrace.clock import SystemClock
from tailrace.errors import InUse, NeedsOperator
from tailrace.files import Files
from tailrace.folder import DataFolder
from tailrace.hours import Hour
from tailrace.ids import SystemIds
from tailrace.log.partitions import partition_folder, usable_partitions
from tailrace.ops.heartbeats import Heart, is_alive, read_heartbeats
from tailrace.ops.logs import configure_logs
from tailrace.seal.disk import DiskGuard, checkpoints_allowed
from tailrace.settings import load
from tailrace.state.database import open_database
from tailrace.state.destinations import Destinations

log = structlog.get_logger()

# A collector answers what is in flight, an exporter ends or gives back its deliveries.
STOP_SECONDS = 5.5
PROCESSOR_STOP_SECONDS = 3.5

# A part that lost its supervisor ends what it is doing first: a checkpoint, or a delivery's step.
FORMER_SECONDS = 30.0
FORMER_POLL_SECONDS = 0.1


def serve(data: Path, *, listen: str, web_listen: str, clock_start: str | None) -> int:
    """Run the service until a signal; return the exit code (0 stopped, 1 parts kept dying)."""
    collector_address = Address.parse(listen, "--listen")
    web_address = Address.parse(web_listen, "--web-listen")
    folder, files = DataFolder(data.resolve()), Files()
    folder.check()
    settings = load(folder.path, os.environ).settings
    held = folder.lock(files)
    try:
        configure_logs("serve")
        partitions = usable_partitions(folder.log, settings.collect.processes)
        _wait_for_former_parts(folder, partitions, files)
        # A start that fails for a taken port fixes no clock.
        collector_socket = _bind_once_left(collector_address, folder)
        web_socket = bind_or_free(web_address, "--web-listen")
        first_run = _prepare(folder, clock_start, files)
        for stale in folder.run.glob("*.json"):
            files.remove(stale)
        remove_refused(folder.run, files)
        service = _Service(folder, files, collector_socket, web_socket, partitions)
        if first_run is not None:
            service.announce_first_run(settings.public_url, first_run)
        return service.run()
    finally:
        held.release()


def _prepare(folder: DataFolder, clock_start: str | None, files: Files) -> str | None:
    """Make the folder ready; return a token for the first run if nobody can sign in yet."""
    engine = open_database(folder.database)

    def date_destinations(clock: SystemClock) -> None:
        if clock.offset_micros:
            # Nothing was collected before the first start, so "today" is the folder's own today.
            today = Hour.of_micros(clock.now_micros()).day_start()
            Destinations(engine, clock).start_all_from(today)

    try:
        folder.fix_clock(clock_start, files, before=date_destinations)
        if not _renew_ages(folder, engine, files):
            return None
        return new_token(engine, ids=SystemIds(), clock=folder.clock())
    finally:
        engine.dispose()


def _renew_ages(folder: DataFolder, engine: Engine, files: Files) -> bool:
    """Draw the ages anew; return False if there is too little disk to write anything."""
    guard = DiskGuard.of_settings(
        files, folder.path, folder.clock(), load(folder.path, os.environ).settings.disk
    )
    if checkpoints_allowed(guard.level()):
        renew(aged_parts(folder, engine, files), SystemIds())
        return True
    # Deliveries go on though nothing can be written; the next start draws an age again.
    log.warning("age_not_renewed", reason="too little disk is free")
    return False


def _wait_for_former_parts(
    folder: DataFolder, partitions: Sequence[int], files: Files, seconds: float = FORMER_SECONDS
) -> None:
    """Wait until the parts of a service that was killed have ended, or raise `InUse`.

    They notice it at once, but what they are in the middle of may take a moment, and until then
    they have the ports as well.
    """
    until = time.monotonic() + seconds
    said = False
    writers = [partition_folder(folder.log, partition) / "lock" for partition in partitions]
    for path in (folder.path / "processing.lock", folder.path / "exporter.lock", *writers):
        while path.exists():
            try:
                files.lock(path, "tailrace serve").release()
                break
            except InUse:
                if time.monotonic() >= until:
                    raise
                if not said:
                    log.warning("waits_for_a_part_to_end", lock=str(path))
                said = True
                time.sleep(FORMER_POLL_SECONDS)
    # The web part holds no lock; without its port it would be started on another one.
    while _web_lives(folder) and time.monotonic() < until:
        time.sleep(FORMER_POLL_SECONDS)


def _bind_once_left(
    address: Address, folder: DataFolder, seconds: float = FORMER_SECONDS
) -> socket.socket:
    """Listen there; after a service that was killed, wait for parts that were only starting.

    Such a part has the port and no lock yet.
    """
    was_killed = any(folder.run.glob("*.json"))
    until = time.monotonic() + seconds
    while True:
        try:
            return bind(address, "--listen")
        except NeedsOperator as error:
            if not (was_killed and is_taken(error)) or time.monotonic() >= until:
                raise
            time.sleep(FORMER_POLL_SECONDS)


def _web_lives(folder: DataFolder) -> bool:
    now = SystemClock().steady_micros()
    return any(beat.part == "web" and is_alive(beat, now) for beat in read_heartbeats(folder.run))


def _say(line: str) -> None:
    """Print a line; a service goes on though nobody reads what it says."""
    try:
        print(line, flush=True)
    except BrokenPipeError:
        # What is left in the buffer would be tried again, and fail, at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        log.warning("unsaid", line=line, reason=str(error))


class _Service:
    """The running service: its parts, and the word that it is ready."""

    def __init__(
        self,
        folder: DataFolder,
        files: Files,
        collector_socket: socket.socket,
        web_socket: socket.socket,
        partitions: Sequence[int],
    ) -> None:
        self._folder = folder
        self._collect_url = url(collector_socket)
        self._web_url = url(web_socket)
        self._heart = Heart(folder.run, "serve", files)
        self._clock = SystemClock()
        self._ready = False
        self._first_run = ""
        self._next_beat = 0
        self._supervisor = Supervisor((), on_tick=self._tick)
        collector_descriptor = collector_socket.fileno()
        web_descriptor = web_socket.fileno()
        for partition in partitions:
            self._supervisor.add(
                self._part(
                    f"collector-{partition}",
                    ("collector", "--partition", str(partition)),
                    collector_descriptor,
                )
            )
        self._supervisor.add(self._part("processor", ("processor",), None))
        self._supervisor.add(self._part("exporter", ("exporter",), None))
        self._supervisor.add(self._part("web", ("web",), web_descriptor))
        # The sockets live as long as the service; their numbers are in the parts' commands.
        self._sockets = (collector_socket, web_socket)
        self._names = [name for name in self._supervisor.names if name != "serve"]

    def run(self) -> int:
        _say(f"tailrace starts on {self._folder.path}")
        try:
            return self._supervisor.run()
        finally:
            self._heart.stop()
            _say("tailrace has stopped")

    def announce_first_run(self, public_url: str, token: str) -> None:
        """Say, once the service is ready, where the first admin is made."""
        self._first_run = (public_url.rstrip("/") or self._web_url) + first_run_path(token)

    def _part(self, name: str, words: tuple[str, ...], descriptor: int | None) -> Part:
        command = [sys.executable, "-m", "tailrace", "run", *words]
        command += ["--data", str(self._folder.path), "--pipe", str(self._supervisor.pipe)]
        descriptors: tuple[int, ...] = ()
        if descriptor is not None:
            command += ["--socket", str(descriptor)]
            descriptors = (descriptor,)
        # The processor goes last: what the collectors still took is committed at its end.
        last = words[0] == "processor"
        return Part(
            name,
            tuple(command),
            descriptors,
            stop_turn=1 if last else 0,
            stop_seconds=PROCESSOR_STOP_SECONDS if last else STOP_SECONDS,
        )

    def _tick(self) -> None:
        now = self._clock.steady_micros()
        if now < self._next_beat:
            return
        beats = {beat.part: beat for beat in read_heartbeats(self._folder.run)}
        up = [name in beats and is_alive(beats[name], now) for name in self._names]
        facts = {"collect": self._collect_url, "web": self._web_url}
        facts["ready"] = "yes" if all(up) else "no"
        self._heart.beat(now, facts, {})
        if all(up) and not self._ready:
            self._ready = True
            _say(f"  events:  {self._collect_url}  (POST /2/httpapi and /batch)")
            _say(f"  health:  {self._web_url}/healthz, /readyz, /metrics")
            _say(f"  pages:   {self._web_url}")
            if self._first_run:
                _say(f"  begin:   {self._first_run}  (makes the first admin)")
            _say("tailrace is ready")
        # Look often until everything is up, then as often as parts beat.
        self._next_beat = now + (2_000_000 if self._ready else 200_000)
