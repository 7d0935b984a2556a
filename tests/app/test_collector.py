"""What a collector part tells of itself."""

from __future__ import annotations

from tailrace.app.collector import _counts, _rates
from tailrace.collect.counters import Counters
from tailrace.ops.metrics import COUNTERS
from tailrace.settings import CollectSettings


def test_everything_that_a_collector_counts_is_a_metric() -> None:
    counters = Counters()
    counters.requests.update({200: 5, 429: 2, 400: 1, 503: 1})
    counters.events_throttled = 7

    counts = _counts(counters)

    assert counts.keys() <= COUNTERS.keys()
    assert (counts["requests"], counts["requests_refused"], counts["requests_throttled"]) == (
        9,
        3,
        2,
    )
    assert counts["events_throttled"] == 7


def test_without_the_setting_there_are_no_rate_limits() -> None:
    assert _rates(CollectSettings()) is None
    assert _rates(CollectSettings(rate_limits=True)) is not None
