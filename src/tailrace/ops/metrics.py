"""Every metric that `/metrics` shows, with its type and meaning; values come from `Status`."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tailrace.ops.status import Status

# What a part counts of itself since its start, by the name it uses in its heartbeat.
COUNTERS = {
    "requests": ("tailrace_requests", "Upload requests answered."),
    "requests_ok": ("tailrace_requests_accepted", "Upload requests answered with 200."),
    "requests_refused": ("tailrace_requests_refused", "Upload requests answered with 4xx."),
    "requests_unavailable": ("tailrace_requests_unavailable", "Upload requests answered with 5xx."),
    "requests_throttled": ("tailrace_requests_throttled", "Upload requests answered with 429."),
    "events_throttled": (
        "tailrace_events_throttled",
        "Events of users and devices over a rate limit, each time they were refused.",
    ),
    "rates_forgotten": (
        "tailrace_rates_forgotten",
        "Users and devices that rate limits lost sight of, because there were too many.",
    ),
    "exports_cut": (
        "tailrace_exports_cut",
        "Answers of the Export API that ended early: a client too slow, or a file not as sealed.",
    ),
    "events": ("tailrace_events_accepted", "Events answered with 200."),
    "body_bytes": ("tailrace_body_bytes", "Bytes of request bodies, decompressed."),
    "append_seconds": ("tailrace_append_wait_seconds", "Seconds that requests waited for the log."),
    "processed_entries": ("tailrace_entries_processed", "Log entries (requests) processed."),
    "checkpoints": ("tailrace_checkpoints", "Checkpoints committed."),
    "property_updates_dropped": (
        "tailrace_property_updates_dropped",
        "Updates of properties that were beyond the limit of an hour or of size.",
    ),
    "property_operations_ignored": (
        "tailrace_property_operations_ignored",
        "Identifies with an operation that does nothing, such as $delete.",
    ),
    "deliveries": ("tailrace_deliveries_tried", "Deliveries tried."),
}

# What a part says of the present in its heartbeat.
GAUGES = {
    "disk_reserves_broken": (
        "tailrace_disk_reserves_broken",
        "How many of the three reserves of disk space are broken into.",
    ),
    "clock_stepped": (
        "tailrace_clock_stepped",
        "1 while uploads get 503 because the machine's clock jumped forward.",
    ),
    "clock_behind": (
        "tailrace_clock_behind",
        "1 while the machine's clock is behind the log's time.",
    ),
}


class _StatusCollector(Collector):
    def __init__(self, status: Status) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        status = self._status
        up = GaugeMetricFamily("tailrace_part_up", "1 while the part runs.", labels=["part"])
        for part in status.parts:
            up.add_metric([part.name], 1 if part.up else 0)
        yield up
        for counter, (name, meaning) in COUNTERS.items():
            family = CounterMetricFamily(name, meaning, labels=["part"])
            for part in status.parts:
                if counter in part.counters:
                    family.add_metric([part.name], part.counters[counter])
            yield family
        for name, (metric, meaning) in GAUGES.items():
            gauge = GaugeMetricFamily(metric, meaning, labels=["part"])
            for part in status.parts:
                if name in part.counters:
                    gauge.add_metric([part.name], part.counters[name])
            yield gauge
        runs = GaugeMetricFamily("tailrace_runs", "Runs by state.", labels=["destination", "state"])
        for destination in status.destinations:
            for state, count in destination.runs.items():
                runs.add_metric([str(destination.id), state], count)
        yield runs
        yield GaugeMetricFamily(
            "tailrace_held_events", "Events that could not be processed.", status.held
        )
        yield GaugeMetricFamily(
            "tailrace_open_hours", "Project-hours with events, not sealed.", len(status.open_hours)
        )
        yield GaugeMetricFamily(
            "tailrace_sealed_hours", "Project-hours that are sealed.", status.hours.sealed
        )
        lag = GaugeMetricFamily(
            "tailrace_processing_lag_seconds",
            "Age of the newest processed entry of a partition.",
            labels=["partition"],
        )
        for partition in status.partitions:
            if partition.lag_seconds is not None:
                lag.add_metric([str(partition.id)], partition.lag_seconds)
        yield lag
        yield GaugeMetricFamily(
            "tailrace_silent_partitions",
            "Partitions that hold an hour open which is over.",
            len(status.silent_partitions),
        )
        yield GaugeMetricFamily(
            "tailrace_alarms", "Hours that do not balance and are not sealed.", len(status.alarms)
        )
        yield GaugeMetricFamily(
            "tailrace_mails_waiting", "Addresses that wait for a mail.", status.mail.waiting
        )
        yield GaugeMetricFamily(
            "tailrace_mails_not_sent",
            "Addresses that did not get their mail: refused, or given up after three days.",
            status.mail.not_sent,
        )


def exposition(status: Status) -> bytes:
    """Return the metrics in Prometheus's text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_StatusCollector(status))
    return generate_latest(registry)
