"""`Sdk`, an application with the official Python package."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec
import pytest
from amplitude import Amplitude, BaseEvent, Config
from amplitude.storage import InMemoryStorage, StorageProvider

WAIT_SECONDS = 60.0


class Storage(InMemoryStorage):  # type: ignore[misc]  # the package has no types
    """The SDK's own storage, but what it lets wait for long waits for the test instead."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[tuple[Any, int]] = []
        self.changed = threading.Condition()

    def push(self, event: Any, delay: int = 0) -> Any:
        if not delay:
            return super().push(event)
        with self.changed:
            self.waiting.append((event, delay))
            self.changed.notify_all()
        return True, None

    def time_passes(self) -> None:
        """Let all that waits be due."""
        with self.changed:
            waiting, self.waiting = self.waiting, []
        for event, _ in waiting:
            super().push(event)


class _Provider(StorageProvider):  # type: ignore[misc]  # as above
    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def get_storage(self) -> Storage:
        return self._storage


class Outcome(msgspec.Struct, frozen=True):
    """What the SDK told the application of an event, once and for all."""

    number: int
    code: int
    message: str | None


class Sdk:
    """An application with the official SDK; its events are numbered by `event_properties.n`."""

    def __init__(self, url: str, api_key: str) -> None:
        self.storage = Storage()
        self.outcomes: list[Outcome] = []
        self.logged: list[str] = []
        logger = logging.Logger("sdk")
        logger.addHandler(_Kept(self._log))
        self.config = Config(
            server_url=url,
            flush_interval_millis=20,
            storage_provider=_Provider(self.storage),
            callback=self._take,
            logger=logger,
        )
        self.client = Amplitude(api_key, self.config)

    def track(self, *events: BaseEvent) -> None:
        """Track the events so that the SDK sees all of them at once."""
        with self.storage.lock:
            for event in events:
                self.client.track(event)

    def wait_for_outcomes(self, count: int) -> dict[int, int]:
        """Return the status of each numbered event once there are so many."""
        self._wait(lambda: len(self.outcomes) >= count, f"{count} outcomes")
        assert len(self.outcomes) == count
        return {outcome.number: outcome.code for outcome in self.outcomes}

    def wait_for_log(self, message: str) -> None:
        self._wait(lambda: message in self.logged, f"{message!r} in the log")

    def wait_for_waiting(self, count: int) -> list[tuple[int, int]]:
        """Return number and delay (milliseconds) of what waits, once it is so much."""
        self._wait(lambda: len(self.storage.waiting) >= count, f"{count} waiting events")
        return [(_number(event), delay) for event, delay in self.storage.waiting]

    def close(self) -> None:
        self.client.shutdown()

    def _take(self, event: Any, code: int, message: str | None) -> None:
        with self.storage.changed:
            self.outcomes.append(Outcome(_number(event), code, message))
            self.storage.changed.notify_all()

    def _log(self, message: str) -> None:
        with self.storage.changed:
            self.logged.append(message)
            self.storage.changed.notify_all()

    def _wait(self, reached: Callable[[], bool], what: str) -> None:
        changed = self.storage.changed
        for _ in range(round(WAIT_SECONDS / 0.5)):
            with changed:
                if changed.wait_for(reached, 0.5):
                    return
            # The SDK's thread may just have ended when the last events came.
            self.storage.workers.start()
        pytest.fail(f"the SDK did not come to {what}: {self.outcomes} {self.logged[-5:]}")


class _Kept(logging.Handler):
    def __init__(self, keep: Callable[[str], None]) -> None:
        super().__init__()
        self._keep = keep

    def emit(self, record: logging.LogRecord) -> None:
        self._keep(record.getMessage())


def _number(event: Any) -> int:
    number: int = event["event_properties"]["n"]
    return number


StartSdk = Callable[..., Sdk]


@pytest.fixture
def start_sdk() -> Iterator[StartSdk]:
    """Start applications that send to a URL with a key."""
    started: list[Sdk] = []

    def start(url: str, api_key: str) -> Sdk:
        started.append(Sdk(url, api_key))
        return started[-1]

    yield start
    for sdk in started:
        sdk.close()


@pytest.fixture
def make_events() -> Callable[..., list[Any]]:
    """Make the SDK's events with the given numbers; other fields may be given."""

    def make(numbers: Iterable[int], **fields: Any) -> list[Any]:
        given = {"event_type": "Page Viewed", "user_id": "shopper-17", **fields}
        properties = given.pop("event_properties", {})
        return [BaseEvent(event_properties={"n": n, **properties}, **given) for n in numbers]

    return make
