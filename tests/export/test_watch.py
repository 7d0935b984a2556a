"""The watch over outages, where a store never ends its answer."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tailrace.export import watch
from tailrace.export.watch import Watch
from tailrace.state.delivery import Cause
from tailrace.state.ledger import Ledger

REFUSED = Cause("access", "AccessDenied", "Refused.", "Allow it.")


class HangingClients:
    """Makes clients like another source, but hangs for one endpoint until told to end."""

    def __init__(self, source: Any, endless_url: str) -> None:
        self.asked = 0
        self.ends = threading.Event()
        self._source = source
        self._endless_url = endless_url

    def of(self, destination: Any) -> Any:
        if destination.endpoint_url == self._endless_url:
            self.asked += 1
            self.ends.wait(60)
        return self._source.of(destination)

    def open_in(self, destination: Any, region: str) -> Any:
        return self._source.open_in(destination, region)


def test_a_probe_that_never_ends_is_left_behind_and_not_begun_a_second_time(
    world: Any, bucket: str, proxy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "PATIENCE_SECONDS", 0.05)
    endless = world.add_destination(bucket, endpoint_url=proxy.url)
    fine = world.add_destination(bucket)
    for number, destination in enumerate((endless, fine)):
        world.ledger.begin_outage(destination.id, REFUSED, number)
    ended = {endless.id: threading.Event(), fine.id: threading.Event()}

    class WatchedLedger(Ledger):
        def end_outage(self, destination_id: int) -> bool:
            done = super().end_outage(destination_id)
            ended[destination_id].set()
            return done

    clients = HangingClients(world.clients, proxy.url)
    ledger = WatchedLedger(world.engine, world.clock)
    looks = Watch(ledger, world.destinations, clients, world.clock)

    looks.probe_due()
    looks.probe_due()

    assert ended[fine.id].wait(60)
    assert not ended[endless.id].is_set()
    assert clients.asked == 1
    clients.ends.set()
    assert ended[endless.id].wait(60), "the store answers again"
