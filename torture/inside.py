"""What the harness changes inside the service's processes, which it starts as anybody would.

The product has no seam for this. `hook/sitecustomize.py` calls `enter` at the start of each Python
process of a run; it makes the service's time run faster, the schedules that follow the machine's
clock shorter, a few sizes smaller, and kill points loud. Not one rule or order of steps is changed.
"""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tailrace import killpoints
from tailrace.clock import MICROS, SystemClock
from tailrace.folder import DataFolder
from tailrace.ops import heartbeats
from torture import timeline

ARMED = "armed"
PROCESSES = "processes"
REACHED = "reached"
POINT_KILLS = "point-kills"

# The exporter's tries and probes follow the machine's clock: 38 minutes become 38 seconds.
SCHEDULE_RATE = 60
# Runs lose their lease on a busy machine now and then, as they would on one that was suspended.
LEASE_SECONDS = 2
RENEW_SECONDS = 1
# The smallest part that S3 allows; the product begins with parts at 16 MiB.
MULTIPART_BYTES = 5 * 1024**2
# Each hour fills several segments.
SEGMENT_BYTES = 64 * 1024
# Dedupe keys go into files from so few on, and runs of them are merged so soon.
ROW_KEYS_MAX = 100
RUNS_PER_MERGE = 3
# Real seconds between two checkpoints, drawn anew by each processor: nearly always, or hardly ever
# before something else makes one due.
CHECKPOINT_SECONDS = (0.02, 2.0)


def enter() -> None:
    """Prepare this process if it is one of the service's: `python -m tailrace ...`."""
    words = sys.orig_argv
    if "tailrace" not in words[:3]:
        return
    folder = Path(os.environ["TORTURE_FOLDER"])
    role = role_of(words)
    (folder / PROCESSES / str(os.getpid())).write_text(role)
    _make_points_loud(folder, role)
    if not (folder / "timeline.json").exists():
        return
    clock = timeline.FastClock(timeline.read(folder))
    _replace(DataFolder, "clock", lambda self: clock)
    _keep_heartbeats_real()
    if role == "serve":
        _let_parts_die()
    elif role == "processor":
        _checkpoint_at_random(timeline.read(folder).rate)
        _merge_keys_early()
    elif role == "exporter":
        _shorten_schedules()
    elif role.startswith("collector-"):
        _let_keys_grow_old_slowly(timeline.read(folder).rate)
        _shorten_segments()


def role_of(words: list[str]) -> str:
    """Return which process a command line makes: `collector-2`, `serve`, or `command`."""
    words = words[words.index("tailrace") + 1 :]
    if words[:1] == ["serve"]:
        return "serve"
    if words[:2] == ["run", "collector"]:
        return f"collector-{words[words.index('--partition') + 1]}"
    return words[1] if words[:1] == ["run"] else "command"


def armed_file(folder: Path, role: str, point: str) -> Path:
    """Return the file whose presence kills the next process of that role at that point."""
    return folder / ARMED / f"{role}@{point}"


def _make_points_loud(folder: Path, role: str) -> None:
    """Note each point that is reached, and die where a file says so; only one process does."""
    reached: set[str] = set()

    def reach(name: str) -> None:
        if name not in reached:
            reached.add(name)
            _note(folder / REACHED, role, name)
        try:
            armed_file(folder, role, name).unlink()
        except FileNotFoundError:
            return
        _note(folder / POINT_KILLS, role, name)
        os.kill(os.getpid(), signal.SIGKILL)

    _replace(killpoints, "reached", reach)


def _note(path: Path, role: str, name: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
    os.write(descriptor, f"{role} {name}\n".encode())
    os.close(descriptor)


def _keep_heartbeats_real() -> None:
    """Whether a process beat lately is a question to the machine's clock, as its word is."""
    beat, is_alive = heartbeats.Heart.beat, heartbeats.is_alive
    machine = SystemClock()
    _replace(
        heartbeats.Heart,
        "beat",
        lambda self, steady_micros, facts, counters: beat(
            self, machine.steady_micros(), facts, counters
        ),
    )
    _replace(
        heartbeats,
        "is_alive",
        lambda found, steady_micros: is_alive(found, machine.steady_micros()),
    )


def _let_parts_die() -> None:
    """Five deaths a minute would end the service; here they are the point."""
    from tailrace.app import supervisor

    _replace(supervisor, "DEATHS_MAX", 1_000_000)
    _replace(supervisor, "BACKOFF_FIRST_SECONDS", 0.02)
    _replace(supervisor, "BACKOFF_MAX_SECONDS", 0.1)


def _checkpoint_at_random(rate: int) -> None:
    from tailrace.process import loop

    seconds = random.choice((0.02, 0.2, 1.0, random.uniform(*CHECKPOINT_SECONDS)))
    _replace(loop, "CHECKPOINT_MICROS", int(seconds * rate * MICROS))


def _merge_keys_early() -> None:
    from tailrace.state import insertions

    _replace(insertions, "ROW_KEYS_MAX", ROW_KEYS_MAX)
    _replace(insertions, "RUNS_PER_MERGE", RUNS_PER_MERGE)


def _let_keys_grow_old_slowly(rate: int) -> None:
    """Keys are read twice a second of the machine's; that is every few minutes here."""
    from tailrace.collect import keys

    _replace(keys, "STALE_SECONDS", keys.STALE_SECONDS * rate)


def _shorten_segments() -> None:
    from tailrace.log import tail

    _replace(tail, "SEGMENT_BYTES", SEGMENT_BYTES)


def _shorten_schedules() -> None:
    # Before whoever takes them over by name.
    from tailrace.export import parts

    _replace(parts, "MULTIPART_BYTES", MULTIPART_BYTES)
    from tailrace.export import deliver, schedule

    _replace(deliver, "LEASE_SECONDS", LEASE_SECONDS)
    _replace(deliver, "RENEW_SECONDS", RENEW_SECONDS)
    refusal, trouble, probe = schedule.after_refusal, schedule.after_trouble, schedule.next_probe

    def after_refusal(tries: int, now: int) -> int | None:
        return _sooner(now, refusal(tries, now))

    def after_trouble(tries: int, now: int, ids: Any) -> int | None:
        return _sooner(now, trouble(tries, now, ids))

    _replace(schedule, "after_refusal", after_refusal)
    _replace(schedule, "after_trouble", after_trouble)
    _replace(schedule, "next_probe", lambda now: _sooner(now, probe(now)))


def _sooner(now: int, then: int | None) -> int | None:
    return None if then is None else now + (then - now) // SCHEDULE_RATE


def _replace(owner: Any, name: str, value: Callable[..., Any] | int | float) -> None:
    """Replace a name that is there: a renamed one must not be missed in silence."""
    if not hasattr(owner, name):
        raise AttributeError(f"{owner} has no {name} any more; see torture/inside.py")
    setattr(owner, name, value)
