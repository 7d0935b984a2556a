"""Stamps: the append time of each entry, which never runs backwards, and the guard on the clock.

A forward jump would close hours that are not over, and time once taken into the log can't be taken
back; so the writer stops until someone says that the new time is right (`accept_clock`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from tailrace.clock import MICROS, Clock, to_datetime
from tailrace.errors import ClockStepped
from tailrace.files import Files

CLOCK_ACCEPTED_FILE = "clock-accepted"

# Slewing moves a clock by at most 0.5 ms a second, leap seconds by one; 5 s is neither.
FORWARD_MICROS_MAX = 5 * MICROS

# Steady time doesn't outlive the machine's start, so after one the log's last entry must do.
FORWARD_AFTER_START_MICROS_MAX = 7 * 24 * 3600 * MICROS

# A clock set back by a moment heals by itself; after this long the operator should know.
BEHIND_ALARM_MICROS = 5 * MICROS

# An acceptance is for the time that its giver saw, not for a jump of some later day.
ACCEPTANCE_MICROS_MAX = 600 * MICROS

# Every request asks while appends are refused; the file is read no more often than this.
_ACCEPTANCE_LOOK_MICROS = MICROS

# Two readings of the clock belong together if no more time than this lies between them.
_LOOK_MICROS_MAX = MICROS // 10
_LOOKS_MAX = 5

Condition = Literal["right", "behind", "stepped"]


class ClockState(msgspec.Struct, frozen=True):
    """What the writer thinks of the machine's clock, as of its last look.

    `off_by_micros` is how far the clock is ahead of where it should be (`stepped`) or behind the
    log's last stamp (`behind`). `alarm` says that the operator should be told.
    """

    condition: Condition
    off_by_micros: int
    alarm: bool


class _Acceptance(msgspec.Struct, frozen=True):
    accepted_micros: int


_decode = msgspec.json.Decoder(_Acceptance).decode


def accept_clock(log_folder: Path, clock: Clock, files: Files) -> int:
    """Say that the clock is right now, after it jumped; return the time accepted (microseconds).

    On return the word is on disk. Writers take it within a second; it holds for ten minutes.
    """
    files.make_folder(log_folder)
    now = clock.now_micros()
    data = msgspec.json.encode(_Acceptance(now))
    files.put_whole(log_folder / CLOCK_ACCEPTED_FILE, [data], point="clock_accepted")
    return now


def _look(clock: Clock) -> tuple[int, int]:
    """Return wall and steady time of one moment.

    A process that stands still between the two readings would see a step where there is none.
    """
    for _ in range(_LOOKS_MAX):
        before, wall, after = clock.steady_micros(), clock.now_micros(), clock.steady_micros()
        if after - before <= _LOOK_MICROS_MAX:
            break
    return wall, after


class Stamper:
    """Give out stamps of one partition. Used by one thread at a time."""

    def __init__(self, log_folder: Path, partition: int, clock: Clock, last_stamp: int) -> None:
        self._acceptance_path = log_folder / CLOCK_ACCEPTED_FILE
        self._partition = partition
        self._clock = clock
        self._last = last_stamp
        self._wall, self._right_steady = _look(clock)
        self._right_wall = self._wall
        self._forward_max = FORWARD_MICROS_MAX
        self._stepped = False
        self._looked_steady: int | None = None
        self._behind_steady: int | None = None
        self.state = ClockState("right", 0, alarm=False)
        if last_stamp and self._wall - last_stamp > FORWARD_AFTER_START_MICROS_MAX:
            self._stepped = True
        # Behind by a moment is what another partition's stamp makes of a clock that is right.
        if self._stepped or last_stamp - self._wall > FORWARD_MICROS_MAX:
            self._right_wall = last_stamp
            self._forward_max = FORWARD_AFTER_START_MICROS_MAX

    def observe(self, sibling_stamp: int = 0) -> None:
        """Look at the clock; call it before each group and about once a second.

        `sibling_stamp` is the highest stamp of any other partition; later stamps lie above it.
        """
        wall, steady = _look(self._clock)
        self._wall = wall
        self._last = max(self._last, sibling_stamp)
        ahead = (wall - self._right_wall) - (steady - self._right_steady)
        # A clock that returns to where the log's time already is takes nothing into the log.
        jumped = ahead > self._forward_max and wall - self._last > FORWARD_MICROS_MAX
        if jumped and not (self._stepped and self._is_accepted(wall, steady)):
            self._stepped = True
            self.state = ClockState("stepped", ahead, alarm=True)
            return
        self._stepped = False
        self._looked_steady = None
        if wall >= self._last:
            self._forward_max = FORWARD_MICROS_MAX
            self._right_wall, self._right_steady = wall, steady
        # While the clock is behind the log, what it was before still says how far time has gone: a
        # clock that comes back to that needs nobody's word.
        self._note_behind(wall, steady)

    def refusal(self) -> ClockStepped:
        """Return the error for appends while a jump waits."""
        return ClockStepped(
            f"Cannot take events on partition {self._partition} of the log: the machine's "
            f"clock jumped forward by {self.state.off_by_micros / MICROS:.0f} s, to "
            f"{to_datetime(self._wall):%Y-%m-%d %H:%M:%S} UTC. Set it right, or run "
            '"tailrace clock accept" if that time is right.'
        )

    def is_stepped(self) -> bool:
        """Say whether a jump waits for its acceptance."""
        return self._stepped

    def upcoming(self) -> int:
        """Return the log's own time: the stamp that the next entry would get."""
        return max(self._last + 1, self._wall)

    def take(self) -> int:
        """Return the next entry's stamp: max(previous + 1 microsecond, clock)."""
        self._last = max(self._last + 1, self._wall)
        return self._last

    def _note_behind(self, wall: int, steady: int) -> None:
        if wall >= self._last:
            self._behind_steady = None
            self.state = ClockState("right", 0, alarm=False)
            return
        if self._behind_steady is None:
            self._behind_steady = steady
        alarm = steady - self._behind_steady >= BEHIND_ALARM_MICROS
        self.state = ClockState("behind", self._last - wall, alarm=alarm)

    def _is_accepted(self, wall: int, steady: int) -> bool:
        looked = self._looked_steady
        if looked is not None and steady - looked < _ACCEPTANCE_LOOK_MICROS:
            return False
        self._looked_steady = steady
        try:
            data = self._acceptance_path.read_bytes()
        except OSError:
            # Most often there is none; whatever else it is, the next look comes in a second.
            return False
        try:
            accepted = _decode(data).accepted_micros
        except msgspec.MsgspecError:
            # What can't be read accepts nothing; giving the word again writes it anew.
            return False
        return accepted <= wall <= accepted + ACCEPTANCE_MICROS_MAX
