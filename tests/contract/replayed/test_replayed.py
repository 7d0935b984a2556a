"""Requests as Java, Go, Kotlin and Swift SDKs send them, and what a model of each makes of answers.

These SDKs are not tested: the shapes of their requests are, and that our answers hold what they
look for. Each case ends at the processed log: what an answer did not name as bad is there once.
"""

from __future__ import annotations

import http.client
import json
import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tailrace.clock import SteppedClock
from tailrace.hours import Hour
from tailrace.settings import CollectSettings
from tests.contract import carried
from tests.contract.replayed import readings, shapes
from tests.contract.replayed.readings import Event, Reader, Reading
from tests.contract.replayed.shapes import Shape
from tests.contract.table import Row

HOUR = Hour.parse("2026-11-23T13")
SENDS_MAX = 100

SDKS: dict[str, tuple[Shape, Reader]] = {
    "Java": (shapes.JAVA, readings.java),
    "Go": (shapes.GO, readings.go),
    "Go, gzip": (shapes.GO_GZIP, readings.go),
    "Kotlin, gzip": (shapes.KOTLIN, readings.kotlin),
    "Swift, gzip": (shapes.SWIFT, readings.swift),
}
LIBRARIES = {
    "Java": "java",
    "Go": "go",
    "Go, gzip": "go",
    "Kotlin, gzip": "analytics-android",
    "Swift, gzip": "swift",
}
each_sdk = pytest.mark.parametrize("sdk", SDKS)


class Sent(msgspec.Struct, frozen=True):
    """One request that was sent, by the numbers of its events, and what the SDK made of it."""

    numbers: tuple[int, ...]
    status: int
    reading: Reading


class Replay:
    """An SDK as its model has it: it sends, reads the answer, and sends again what it should."""

    def __init__(self, installation: Any, sdk: str, path: str, api_key: str) -> None:
        self.sent: list[Sent] = []
        self.errors: list[str] = []
        self._shape, self._read = SDKS[sdk]
        self._installation = installation
        self._path = path
        self._api_key = api_key

    def play(self, events: Sequence[Event], between: Callable[[int], None] | None = None) -> None:
        """Send until nothing is left; `between` is told the status of each answer."""
        batches = deque([(tuple(range(len(events))), 0)])
        while batches:
            assert len(self.sent) < SENDS_MAX, self.sent
            numbers, tries = batches.popleft()
            batch = [events[number] for number in numbers]
            status, content = self._exchange(batch)
            self.errors.append(json.loads(content).get("error", ""))
            reading = self._read(status, content, self._api_key, batch, tries)
            self.sent.append(Sent(numbers, status, reading))
            for again in reading.again:
                batches.append((tuple(numbers[place] for place in again), tries + 1))
            if between is not None:
                between(status)

    @property
    def statuses(self) -> list[int]:
        return [one.status for one in self.sent]

    @property
    def done(self) -> list[int]:
        """The numbers of events that the SDK holds for delivered."""
        return sorted(one.numbers[place] for one in self.sent for place in one.reading.done)

    @property
    def dropped(self) -> list[int]:
        """The numbers of events that the SDK gave up."""
        return sorted(one.numbers[place] for one in self.sent for place in one.reading.dropped)

    def _exchange(self, batch: Sequence[Event]) -> tuple[int, bytes]:
        host, port = self._installation.address
        with socket.create_connection((host, port), 60) as connection:
            connection.sendall(self._shape.request(self._path, port, self._api_key, batch))
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            content = answer.read()
        assert answer.headers["content-type"] == "application/json"
        return answer.status, content


StartReplay = Callable[..., tuple[Any, Replay]]


@pytest.fixture
def replay(install: Any) -> StartReplay:
    """Make an installation, and an SDK that sends to it."""

    def start(
        sdk: str, path: str = "/2/httpapi", api_key: str | None = None, **settings: Any
    ) -> tuple[Any, Replay]:
        installation = install(SteppedClock(HOUR.start_micros, 1_000_000), **settings)
        return installation, Replay(installation, sdk, path, api_key or installation.api_key)

    return start


def event(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "event_type": "Page Viewed",
        "user_id": "shopper-17",
        "device_id": "phone-1",
        "time": 1795438800000 + number,
        "insert_id": f"3f9d2c1e-0000-4000-8000-{number:012}",
        "event_properties": {"n": number},
        **fields,
    }


def numbers(lines: list[dict[str, Any]]) -> list[int]:
    return sorted(line["event_properties"]["n"] for line in lines)


@pytest.mark.slow  # The hour is sealed, and for that the collector starts again.
@each_sdk
def test_an_hour_holds_all_that_such_requests_held_once(
    replay: StartReplay, tabulate: Callable[[Row], None], sdk: str
) -> None:
    installation, sending = replay(sdk)
    text = 'Zürich 🚲 "<a&b>"\\\n\u2028'
    events = [event(number, event_properties={"n": number, "text": text}) for number in range(20)]
    set_up = {"event_properties": {}, "groups": {"company": "Acme"}}
    events.append(event(20, event_type="$identify", user_properties={"$set": {"a": 1}}, **set_up))
    group = {"$set": {"size": 5}}
    events.append(event(21, event_type="$groupidentify", group_properties=group, **set_up))

    sending.play(events)

    assert sending.statuses == [200]
    hour = installation.end_hour(HOUR)
    tabulate(
        Row(
            f"{sdk.partition(',')[0]} (request shape only)",
            f"http{sdk.partition(',')[1]}{sdk.partition(',')[2]}, /2/httpapi",
            sent=len(events),
            acknowledged=len(sending.done),
            exported=len(hour.lines),
            identifies=hour.record["identifies"],
        )
    )
    assert numbers(hour.lines) == list(range(20))
    for line in hour.lines:
        given = events[line["event_properties"]["n"]]
        for name in ("event_type", "user_id", "device_id", "event_properties"):
            assert line[name] == given[name]
        assert line["$insert_id"] == given["insert_id"]
        assert line["library"].startswith("amplitude-")


@each_sdk
@pytest.mark.parametrize("path", ["/2/httpapi", "/batch"])
def test_lines_carry_the_person_whom_such_requests_tell_of(
    replay: StartReplay, tmp_path: Path, sdk: str, path: str
) -> None:
    installation, sending = replay(sdk, path, places=carried.places(tmp_path))

    sending.play(person(mobile=sdk.startswith(("Kotlin", "Swift"))))

    assert sending.statuses == [200]
    with installation.processed() as processed:
        lines = processed.lines()
    carried.check_person(lines, f"amplitude-{LIBRARIES[sdk]}")


def person(*, mobile: bool) -> list[dict[str, Any]]:
    """Make her events; SDKs on a device tell of it with each event, so these tell nothing else."""
    kind, name = carried.GROUP
    phone = {"user_id": carried.USER, "device_id": carried.PHONE_ID, **carried.PHONE}
    tablet = {"user_id": carried.USER, "device_id": carried.TABLET_ID}
    # What such an SDK adds to an event that says nothing of it.
    silent = dict.fromkeys(("platform", "os_name", "language", "carrier", "ip", "version_name"))
    silent |= {"session_id": -1}
    operations: dict[str, dict[str, Any]] = {}
    for operation, key, value in carried.OPERATIONS:
        operations.setdefault(f"${operation}", {})[key] = value
    joined = {"groups": {kind: name}, "user_properties": {"$set": {kind: name}}}
    grew = {"groups": {kind: name}, "group_properties": {"$set": {"size": 5}}}
    sold = {"price": carried.PRICE, "quantity": carried.QUANTITY, "productId": carried.PRODUCT}
    events = {
        carried.VISITED: {**phone, "user_id": None},
        carried.SIGNED_IN: phone,
        carried.IDENTIFIED: {"event_type": "$identify", "user_properties": operations, **phone},
        carried.JOINED: {"event_type": "$identify", **joined, **tablet},
        carried.GROUP_GREW: {"event_type": "$groupidentify", **grew, **tablet},
        carried.VIEWED: {**tablet, **carried.TABLET},
        carried.BOUGHT: {**tablet, **sold},
        carried.LEFT: tablet,
    }
    return [
        event(number, **{**(silent if mobile else {}), **fields})
        for number, fields in events.items()
    ]


class Bad(msgspec.Struct, frozen=True):
    """Events that a request must not hold, and how the answer begins."""

    fields: dict[str, Any]
    error: str


BAD = {
    "a user id that is too short": Bad({"user_id": "abc"}, "Invalid id length"),
    "a device id that is too short": Bad({"device_id": "abc"}, "Invalid id length"),
    "an id that nobody has": Bad({"device_id": "anonymous"}, "Invalid field values"),
    "a time that is no number": Bad({"time": "yesterday"}, "Invalid field values"),
    "a session that is no number": Bad({"session_id": "one"}, "Invalid field values"),
    "no event type": Bad({"event_type": None}, "Request missing required field"),
    "no id at all": Bad({"user_id": None, "device_id": None}, "Request missing required field"),
}


@pytest.fixture(scope="module")
def shared(
    new_installation: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """One installation for all small cases: starting it costs more than they do."""
    clock = SteppedClock(HOUR.start_micros, 1_000_000)
    installation = new_installation(tmp_path_factory.mktemp("shared"), clock)
    installation.serve()
    yield installation
    installation.close()


class Case:
    """A row of the table: its events' numbers are its own, and so are the lines that it finds."""

    NUMBERS = 100
    _made = 0

    def __init__(self, installation: Any) -> None:
        Case._made += 1
        self._installation = installation
        self._first = Case._made * self.NUMBERS

    def events(self, fields: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Make numbered events with these fields."""
        numbered = list(enumerate(fields, self._first))
        for number, given in numbered:
            given.setdefault("event_properties", {})["n"] = number
        return [event(number, **given) for number, given in numbered]

    def stored(self) -> list[int]:
        """Return the places of this case's events that have a line; all that counts has one."""
        with self._installation.processed() as processed:
            lines, counts = processed.lines(), processed.counts()
        assert counts["accepted"] == counts["exported"] == len(lines)
        places = (number - self._first for number in numbers(lines))
        return [place for place in places if 0 <= place < self.NUMBERS]


@pytest.fixture
def case(shared: Any) -> Case:
    return Case(shared)


@each_sdk
@pytest.mark.parametrize("bad", BAD)
def test_after_a_400_the_named_events_are_dropped_and_the_others_stored_once(
    shared: Any, case: Case, sdk: str, bad: str
) -> None:
    sending = Replay(shared, sdk, "/2/httpapi", shared.api_key)
    fields = [dict(BAD[bad].fields) if place in (1, 4) else {} for place in range(6)]

    sending.play(case.events(fields))

    assert sending.statuses == [400, 200]
    assert sending.errors[0].startswith(BAD[bad].error)
    assert (sending.dropped, sending.done) == ([1, 4], [0, 2, 3, 5])
    assert case.stored() == [0, 2, 3, 5]


@each_sdk
def test_one_400_names_the_bad_events_of_every_kind(shared: Any, case: Case, sdk: str) -> None:
    sending = Replay(shared, sdk, "/2/httpapi", shared.api_key)
    fields = [*(dict(one.fields) for one in BAD.values()), {}, {}]

    sending.play(case.events(fields))

    assert sending.statuses == [400, 200]
    assert sending.dropped == list(range(len(BAD)))
    assert case.stored() == [len(BAD), len(BAD) + 1]


@each_sdk
def test_a_wrong_key_is_told_in_the_words_that_the_sdk_looks_for(
    shared: Any, case: Case, sdk: str
) -> None:
    sending = Replay(shared, sdk, "/2/httpapi", "0" * 32)

    sending.play(case.events([{}, {}, {}]))

    assert sending.statuses == [400]
    assert sending.dropped == [0, 1, 2]
    assert case.stored() == []


@each_sdk
def test_after_a_413_smaller_requests_carry_everything_once(
    shared: Any, case: Case, sdk: str
) -> None:
    sending = Replay(shared, sdk, "/2/httpapi", shared.api_key)
    large = {f"text-{n}": "x" * 1000 for n in range(300)}
    # Two events of each person: Java's SDK makes a request for each person first.
    fields = [
        {"user_id": f"shopper-{place // 2}", "event_properties": dict(large)} for place in range(6)
    ]

    sending.play(case.events(fields))

    assert sending.statuses[0] == 413
    assert sending.statuses[-1] == 200
    assert sending.done == list(range(6))
    assert case.stored() == list(range(6))


@each_sdk
def test_a_single_event_over_the_limit_is_dropped(shared: Any, case: Case, sdk: str) -> None:
    sending = Replay(shared, sdk, "/2/httpapi", shared.api_key)
    huge = {f"text-{n}": "x" * 1000 for n in range(1100)}

    sending.play(case.events([{"event_properties": huge}]))

    assert set(sending.statuses) == {413}
    assert (sending.dropped, case.stored()) == ([0], [])


@pytest.mark.slow  # After 30 s have passed the collector reads its keys again before it takes more.
@each_sdk
def test_throttled_events_go_out_again_and_are_stored_once(replay: StartReplay, sdk: str) -> None:
    limits = CollectSettings(rate_limits=True, httpapi_events_per_second=1)
    installation, sending = replay(sdk, collect=limits)
    installation.post(*({"event_type": "Before", "user_id": "busy-user"} for _ in range(30)))
    busy = [event(number, user_id="busy-user", device_id=None) for number in range(3)]
    calm = [event(number, user_id="calm-user", device_id=None) for number in range(3, 6)]

    def wait(status: int) -> None:
        if status == 429:
            installation.let_pass(30_000_000)

    sending.play([*busy, *calm], wait)

    assert sending.statuses[0] == 429
    assert set(sending.statuses[1:]) == {200}
    assert (sending.dropped, sending.done) == ([], list(range(6)))
    with installation.processed() as processed:
        lines = [line for line in processed.lines() if line["event_type"] != "Before"]
    assert numbers(lines) == list(range(6))


@pytest.mark.slow  # As above.
@each_sdk
def test_who_used_up_the_daily_quota_is_dropped_where_the_sdk_knows_of_it(
    replay: StartReplay, sdk: str
) -> None:
    limits = CollectSettings(rate_limits=True, batch_events_per_second=1, batch_events_per_day=1)
    installation, sending = replay(sdk, "/batch", collect=limits)
    greedy = [event(number, user_id="greedy-user", device_id=None) for number in range(40)]
    Replay(installation, sdk, "/batch", installation.api_key).play(greedy[:30])
    # Over the rate once, and from then on the quota counts.
    first = Replay(installation, sdk, "/batch", installation.api_key)
    first.play(greedy[30:31], lambda status: installation.let_pass(30_000_000))
    calm = [event(number, user_id="calm-user", device_id=None) for number in range(40, 42)]

    def wait(status: int) -> None:
        if status == 429:
            installation.let_pass(86_400_000_000)

    sending.play([*greedy[31:33], *calm], wait)

    assert sending.statuses[0] == 429
    assert set(sending.statuses[1:]) == {200}
    # Kotlin's and Swift's SDKs read no quotas: all of it goes out again, later.
    forgotten = [] if sdk.startswith(("Kotlin", "Swift")) else [0, 1]
    assert sending.dropped == forgotten
    with installation.processed() as processed:
        kept = [31, 32] if not forgotten else []
        assert numbers(processed.lines()) == [*range(31), *kept, 40, 41]


@pytest.mark.slow  # The collector starts three times.
@each_sdk
def test_a_503_stores_nothing_and_all_of_it_goes_out_again(replay: StartReplay, sdk: str) -> None:
    installation, sending = replay(sdk)
    installation.refuse_all()

    def heal(status: int) -> None:
        if len(sending.sent) == 2:
            installation.take_again()

    sending.play([event(number) for number in range(4)], heal)

    assert sending.statuses == [503, 503, 200]
    assert sending.done == list(range(4))
    with installation.processed() as processed:
        assert numbers(processed.lines()) == list(range(4))
        assert processed.counts()["accepted"] == 4
