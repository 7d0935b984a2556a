"""The shop's own application: it knows only the Amplitude SDK, an address and an API key.

Run by the demo as a process of its own. It prints how many events were answered, then a summary.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import sys
import threading
import time

import msgspec
from amplitude import Amplitude, BaseEvent, Config

from tailrace.clock import MICROS, Clock, SystemClock
from tailrace.demo.events import ShopEvent, shop_events

_BATCH = 200  # events a request
_PACED = 6  # events at a time of a shop that goes on
_SLICE = 500  # events sent before their answers are waited for
_ANSWER_SECONDS = 20.0  # without any answer for so long, the shop gives up


class Summary(msgspec.Struct, frozen=True):
    """What was sent: every event, how many insert IDs among them, and how many were refused."""

    sent: int
    distinct: int
    refused: int


class Answers:
    """Counts the SDK's callbacks, which come from its own threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.accepted = 0
        self.refused = 0

    def take(self, _event: BaseEvent, code: int, _message: str | None) -> None:
        """Count one event's final answer."""
        with self._changed:
            if code == 200:
                self.accepted += 1
            else:
                self.refused += 1
            self._changed.notify()

    def wait_for(self, total: int) -> bool:
        """Return True once `total` answers are there, False if they cease to come."""
        with self._changed:
            seen = -1
            while self.accepted + self.refused < total:
                if self.accepted + self.refused == seen:
                    return False
                seen = self.accepted + self.refused
                self._changed.wait(_ANSWER_SECONDS)
            return True


def send(url: str, api_key: str, *, clock: Clock, events_max: int, until_micros: int) -> Summary:
    """Send up to `events_max` events, and no more once the clock has reached `until_micros`."""
    answers = Answers()
    client = Amplitude(
        api_key,
        Config(
            server_url=url,
            flush_queue_size=_BATCH,
            flush_interval_millis=100,
            callback=answers.take,
        ),
    )
    logging.getLogger("amplitude").setLevel(logging.WARNING)
    events = shop_events(1, clock.now_micros())
    sent = 0
    distinct: set[str] = set()
    while sent < events_max and clock.now_micros() < until_micros:
        for event in itertools.islice(events, min(_SLICE, events_max - sent)):
            client.track(_for_sdk(event))
            distinct.add(event.insert_id)
            sent += 1
        client.flush()
        if not answers.wait_for(sent):
            client.configuration.flush_max_retries = 0
            sys.exit(f"{url} gave no answer for {_ANSWER_SECONDS:.0f} s.")
        print(answers.accepted, flush=True)
    client.shutdown()
    return Summary(sent, len(distinct), answers.refused)


def send_on(url: str, api_key: str, *, clock: Clock, pace_seconds: float) -> None:
    """Send some visits' events every `pace_seconds`, until the process is ended."""
    client = Amplitude(api_key, Config(server_url=url, flush_interval_millis=100))
    logging.getLogger("amplitude").setLevel(logging.CRITICAL)
    # The first number is another one than that of `send`, so that no event is its duplicate.
    for seed in itertools.count(2):
        for event in itertools.islice(shop_events(seed, clock.now_micros()), _PACED):
            client.track(_for_sdk(event))
        time.sleep(pace_seconds)


def _for_sdk(event: ShopEvent) -> BaseEvent:
    return BaseEvent(insert_id=event.insert_id, **event.fields)


def main() -> None:
    """Send as the arguments say; print progress as numbers and the summary as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--api-key", required=True)
    parser.add_argument("--offset-micros", type=int, required=True)
    parser.add_argument("--events", type=int, default=0)
    parser.add_argument("--until", type=int, default=0, help="second of the clock to stop at")
    parser.add_argument("--pace", type=float, help="go on: some events every so many seconds")
    given = parser.parse_args()
    clock = SystemClock(given.offset_micros)
    if given.pace is not None:
        send_on(given.url, given.api_key, clock=clock, pace_seconds=given.pace)
    summary = send(
        given.url,
        given.api_key,
        clock=clock,
        events_max=given.events,
        until_micros=given.until * MICROS,
    )
    print(msgspec.json.encode(summary).decode())


if __name__ == "__main__":
    main()
