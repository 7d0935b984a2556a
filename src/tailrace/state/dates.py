"""The dates that an hour's manifest counts, few whatever times clients send.

A client may name any day of ten thousand years, and a manifest is read as a whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from tailrace.hours import Hour

# Dates are counted one by one from the first day of so many years before an hour's year to the
# last day of so many after it.
YEARS_BEFORE = 10
YEARS_AFTER = 1
EARLIER = "earlier"
LATER = "later"


def dates_of(hour: Hour, dates: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    """Return dates (`yyyy-MM-dd`) with their counts, in order, those far from the hour together."""
    year = int(hour.date[:4])
    first, last = f"{year - YEARS_BEFORE:04}-01-01", f"{year + YEARS_AFTER:04}-12-31"
    counts: Counter[str] = Counter()
    for date, count in dates:
        counts[EARLIER if date < first else LATER if date > last else date] += count
    return sorted(counts.items())
