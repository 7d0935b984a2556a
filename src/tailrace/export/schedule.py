"""When a run is tried again: pure functions of the number of tries so far."""

from __future__ import annotations

from tailrace.clock import MICROS
from tailrace.ids import Ids

# After refused access (D18 as the design overrules it): with the first, six tries in 38 minutes.
ACCESS_DELAYS_SECONDS = (60, 120, 300, 600, 1200)
# One probe this often decides for all hours of a destination whose access is refused.
PROBE_SECONDS = 900

# Anything else, temporary or the operator's to mend: doubling from 2 s up to 5 minutes, for ever.
BACKOFF_FIRST_SECONDS = 2
BACKOFF_MAX_SECONDS = 300

# No run and no probe waits as long as this; what does was set by a clock that was then set back.
WAIT_SECONDS_MAX = 3600


def after_refusal(tries: int, now_micros: int) -> int | None:
    """Return when to try again after `tries` refusals in a row (1 for the first).

    None means that the last try was the last one: the run is failed, the outage begins.
    """
    if tries > len(ACCESS_DELAYS_SECONDS):
        return None
    return now_micros + ACCESS_DELAYS_SECONDS[tries - 1] * MICROS


def after_trouble(tries: int, now_micros: int, ids: Ids) -> int:
    """Return when to try again after `tries` temporary troubles; never gives up.

    The delay lies at random between half and all of the backed-off one, so that runs which failed
    together do not come back together.
    """
    # Beyond 30 doublings the cap has long been reached.
    full = min(BACKOFF_MAX_SECONDS, BACKOFF_FIRST_SECONDS << min(max(tries, 1) - 1, 30)) * MICROS
    part = int.from_bytes(ids.random_bytes(4), "big")
    return now_micros + full // 2 + (full // 2) * part // 0xFFFFFFFF


def next_probe(now_micros: int) -> int:
    """Return when to probe a destination with an outage again."""
    return now_micros + PROBE_SECONDS * MICROS
