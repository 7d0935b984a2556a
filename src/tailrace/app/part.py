"""What every part of the service opens at its start, and how it learns that it has to stop."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from tailrace.app.listening import Address, bind
from tailrace.app.stopping import stop_on_signals
from tailrace.clock import Clock
from tailrace.files import Files
from tailrace.folder import DataFolder
from tailrace.ids import Ids, SystemIds
from tailrace.ops.heartbeats import BEAT_SECONDS, Heart
from tailrace.ops.logs import configure_logs
from tailrace.settings import Settings, load


class PartContext:
    """One part's folder, settings, clock and stop signal."""

    def __init__(self, folder: DataFolder, settings: Settings, name: str) -> None:
        self.folder = folder
        self.settings = settings
        self.name = name
        self.files = Files()
        self.ids: Ids = SystemIds()
        self.clock: Clock = folder.clock()
        self.stop = threading.Event()
        self._heart = Heart(folder.run, name, self.files)

    @classmethod
    def open(cls, data: Path, name: str, *, pipe: int) -> PartContext:
        """Check the folder, read the settings, and listen for SIGTERM and the supervisor's end.

        `pipe` is the descriptor whose end of file says that the supervisor is gone; -1 without one.
        """
        folder = DataFolder(data.resolve())
        folder.check()
        configure_logs(name)
        if pipe < 0 and folder.clock_file() is None:
            # Whatever takes the first time into the log decides which clock the folder has.
            _fix_clock(folder, Files())
        context = cls(folder, load(folder.path, os.environ).settings, name)
        if pipe >= 0:
            stop_on_signals(context.stop, signal.SIGTERM)
            # Ctrl-C reaches the whole group; the supervisor then stops the parts in order.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            threading.Thread(target=_watch, args=(pipe,), daemon=True).start()
        else:
            stop_on_signals(context.stop, signal.SIGTERM, signal.SIGINT)
        return context

    def listening(self, descriptor: int, address: str) -> socket.socket:
        """Return the inherited listening socket, or one bound to the address."""
        if descriptor >= 0:
            return socket.socket(fileno=descriptor)
        return bind(Address.parse(address, "--listen"), "--listen")

    def start_beating(self, counters: Callable[[], Mapping[str, float]]) -> None:
        """Say every two seconds, from a thread, that this part is up, until it stops."""
        self.beat(counters())

        def beat_on() -> None:
            while not self.stop.wait(BEAT_SECONDS):
                self.beat(counters())

        threading.Thread(target=beat_on, daemon=True).start()

    def beat(self, counters: Mapping[str, float]) -> None:
        """Say once that this part is up."""
        self._heart.beat(self.clock.steady_micros(), {}, counters)

    def end(self) -> None:
        """Take back the word that this part is up."""
        self.stop.set()
        self._heart.stop()


def _fix_clock(folder: DataFolder, files: Files) -> None:
    held = files.lock(folder.path / "clock.lock", "a part on a new folder")
    try:
        folder.fix_clock(None, files)
    finally:
        held.release()


def _watch(pipe: int) -> None:
    while os.read(pipe, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
