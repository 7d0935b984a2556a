"""`Hour`: one UTC clock hour, `[H:00, H+1:00)`, the unit in which everything is exported."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import msgspec

from tailrace.clock import to_datetime, to_micros
from tailrace.errors import BadRequest

HOUR_MICROS = 3_600_000_000


class Hour(msgspec.Struct, frozen=True, order=True):
    """A UTC hour, kept as whole hours since 1970-01-01T00."""

    number: int

    @classmethod
    def of_micros(cls, micros: int) -> Hour:
        """Return the hour that holds a moment (microseconds since the epoch)."""
        return cls(micros // HOUR_MICROS)

    @classmethod
    def of(cls, moment: datetime) -> Hour:
        """Return the hour that holds an aware datetime."""
        return cls.of_micros(to_micros(moment))

    @classmethod
    def parse(cls, text: str) -> Hour:
        """Read `2026-11-23T13`; raise `BadRequest` for anything else."""
        try:
            moment = datetime.strptime(text + "+0000", "%Y-%m-%dT%H%z")
        except ValueError as error:
            raise BadRequest(f"{text!r} is no hour: write it as 2026-11-23T13 (UTC).") from error
        hour = cls.of(moment)
        if str(hour) != text:
            raise BadRequest(f"{text!r} is no hour: write it as 2026-11-23T13 (UTC).")
        return hour

    @staticmethod
    def range(first: Hour, until: Hour) -> Iterator[Hour]:
        """Yield the hours from `first` up to and without `until`."""
        for number in range(first.number, until.number):
            yield Hour(number)

    @property
    def start_micros(self) -> int:
        """The first microsecond of the hour."""
        return self.number * HOUR_MICROS

    @property
    def end_micros(self) -> int:
        """The first microsecond after the hour."""
        return (self.number + 1) * HOUR_MICROS

    @property
    def start(self) -> datetime:
        """The hour's beginning as an aware UTC datetime."""
        return to_datetime(self.start_micros)

    @property
    def date(self) -> str:
        """The UTC date, `yyyy-MM-dd`."""
        return f"{self.start:%Y-%m-%d}"

    @property
    def of_day(self) -> int:
        """The hour of the day, 0 to 23; file names print it without a leading zero (R32)."""
        return self.number % 24

    def next(self) -> Hour:
        """Return the hour after this one."""
        return Hour(self.number + 1)

    def previous(self) -> Hour:
        """Return the hour before this one."""
        return Hour(self.number - 1)

    def plus(self, hours: int) -> Hour:
        """Return the hour that many hours later."""
        return Hour(self.number + hours)

    def day_start(self) -> Hour:
        """Return the first hour of the same UTC day."""
        return Hour(self.number - self.of_day)

    def __str__(self) -> str:
        return f"{self.start:%Y-%m-%dT%H}"


def hour_label(hour: Hour) -> str:
    """Return the hour as a person reads it: `2026-11-23 13:00 to 14:00 UTC`."""
    end = hour.start + timedelta(hours=1)
    return f"{hour.start:%Y-%m-%d %H:%M} to {end:%H:%M} UTC"
