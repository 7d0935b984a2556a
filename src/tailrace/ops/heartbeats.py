"""What each running part says of itself, for `status`, `/readyz` and `/metrics`.

A part rewrites its small file every few seconds; a file that is old or whose process is gone
means that the part is down. Nothing here is durable: it is news, not data.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from tailrace.files import Files

# A part beats every two seconds; five missed beats on a busy machine mean it is stuck.
BEAT_SECONDS = 2.0
STALE_MICROS = 10_000_000


class Heartbeat(msgspec.Struct, frozen=True):
    """One part's latest word. `beat_micros` is on the machine's steady clock."""

    part: str
    process: int
    beat_micros: int
    facts: dict[str, str] = {}
    counters: dict[str, float] = {}


_decode = msgspec.json.Decoder(Heartbeat).decode


class Heart:
    """Writes one part's file; also the only word on how the part does."""

    def __init__(self, folder: Path, part: str, files: Files) -> None:
        self._path = folder / f"{part}.json"
        self._part = part
        self._files = files

    def beat(
        self, steady_micros: int, facts: Mapping[str, str], counters: Mapping[str, float]
    ) -> None:
        """Replace the part's file; readers see the old or the new one, never a mix.

        Where the disk takes no file, the old one stays and grows stale.
        """
        beat = Heartbeat(self._part, os.getpid(), steady_micros, dict(facts), dict(counters))
        self._files.put_news(self._path, msgspec.json.encode(beat))

    def stop(self) -> None:
        """Take the file away, as a part does that ends on purpose."""
        self._files.remove(self._path)


def read_heartbeats(folder: Path) -> list[Heartbeat]:
    """Return the latest word of every part, by name."""
    beats = []
    for path in sorted(folder.glob("*.json")):
        try:
            beats.append(_decode(path.read_bytes()))
        except (FileNotFoundError, msgspec.MsgspecError):
            # Gone just now, or torn by a power failure: no word either way.
            continue
    return beats


def is_alive(beat: Heartbeat, steady_micros: int) -> bool:
    """Say whether the part beat lately and its process is there."""
    # Steady time begins anew with the machine, so a beat from the future is one of a former life.
    if not 0 <= steady_micros - beat.beat_micros <= STALE_MICROS:
        return False
    try:
        os.kill(beat.process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
