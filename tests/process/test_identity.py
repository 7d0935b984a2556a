"""The decision table of identity, row by row; devices are letters, users are names."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from tailrace.process import loop

FIRST = 100_000_000_001
IDENTIFY = "$identify"


def event(device: str | None, user: str | None, kind: str = "view") -> dict[str, Any]:
    return {"event_type": kind, "device_id": device, "user_id": user, "time": 1_700_000_000_000}


def ids_of(bench: Any) -> list[int]:
    return [line["amplitude_id"] - FIRST + 1 for line in bench.lines()]


@pytest.mark.parametrize("one_by_one", [True, False], ids=["committed between", "one request"])
@pytest.mark.parametrize(
    ("sent", "ids", "merges"),
    [
        pytest.param([("A", None), ("B", None)], [1, 2], [], id="1 new devices"),
        pytest.param([("A", None), ("A", None)], [1, 1], [], id="2 anonymous device again"),
        pytest.param([("A", "Jo"), ("A", None)], [1, 1], [], id="3 last user of the device"),
        pytest.param([("A", "Jo")], [1], [], id="4 new device, new user"),
        pytest.param([("A", "Jo"), ("B", "Jo"), ("B", None)], [1, 1, 1], [], id="5 new device"),
        pytest.param([("A", None), ("A", "Jo")], [1, 1], [], id="6 takes over the device's id"),
        pytest.param([("A", "Jo"), ("B", None), ("B", "Jo")], [1, 2, 1], [(2, 1)], id="7 merge"),
        pytest.param([("A", "Jo"), ("A", "Jo")], [1, 1], [], id="8 same user"),
        pytest.param([("A", "Jo"), ("A", "Al")], [1, 2], [], id="9 new user on the device"),
        pytest.param(
            [("A", "Jo"), ("B", "Al"), ("A", "Al"), ("A", None)], [1, 2, 2, 2], [], id="10 other"
        ),
        pytest.param(
            [("A", "Jo"), ("B", None), ("B", "Jo"), ("B", None)],
            [1, 2, 1, 1],
            [(2, 1)],
            id="11 after a merge",
        ),
        pytest.param(
            [("A", "Jo"), ("B", None), ("B", "Al"), ("A", None), ("C", None), ("C", "Jo")],
            [1, 2, 2, 1, 3, 1],
            [(3, 1)],
            id="12 logged out with a new device, later logged in",
        ),
        pytest.param(
            [("A", "Jo"), ("A", None), ("A", "Al"), ("A", None), ("A", "Jo")],
            [1, 1, 2, 2, 1],
            [],
            id="13 logged out with the same device",
        ),
        pytest.param(
            [("A", "Jo"), ("B", None), ("B", "Jo"), ("B", "Jo"), ("B", None), ("B", "Jo")],
            [1, 2, 1, 1, 1, 1],
            [(2, 1)],
            id="14 merges once",
        ),
        pytest.param(
            [("A", "Jo"), ("B", None), ("C", None), ("B", "Jo"), ("C", "Jo")],
            [1, 2, 3, 1, 1],
            [(2, 1), (3, 1)],
            id="15 one merge a device",
        ),
        pytest.param([(None, "Jo"), (None, "Jo"), ("A", "Jo")], [1, 1, 1], [], id="18 user only"),
    ],
)
def test_the_decision_table(
    bench: Any,
    sent: Sequence[tuple[str | None, str | None]],
    ids: list[int],
    merges: list[tuple[int, int]],
    one_by_one: bool,
) -> None:
    if one_by_one:
        for device, user in sent:
            bench.send(event(device, user))
            bench.run()
            bench.crash()
    else:
        bench.send(*(event(device, user) for device, user in sent))
        bench.run()

    assert ids_of(bench) == ids
    stored = bench.rows("SELECT amplitude_id, merged_amplitude_id FROM merge ORDER BY stamp, 1")
    assert [(loser - FIRST + 1, winner - FIRST + 1) for loser, winner in stored] == merges


@pytest.mark.parametrize(
    ("identified", "sent", "ids", "merges"),
    [
        pytest.param([("A", None)], [("A", "Jo")], [1], [], id="16 as 1 and 6"),
        pytest.param([("A", "Jo")], [("A", None), ("B", "Jo")], [1, 1], [], id="16 as 4"),
        pytest.param([("A", "Jo"), ("B", "Jo")], [("B", None)], [1], [], id="16 as 5"),
        pytest.param([("B", None), ("A", "Jo"), ("B", "Jo")], [("B", None)], [2], [(1, 2)], id="7"),
        pytest.param([("A", "Jo"), ("A", "Al")], [("A", None)], [2], [], id="16 as 9"),
        pytest.param(
            [("A", "Jo"), ("B", "Al"), ("A", "Al")], [("A", None), ("C", "Jo")], [2, 1], [],
            id="16 as 10",
        ),
    ],
)  # fmt: skip
def test_identifies_change_identity_as_events_do(
    bench: Any,
    identified: Sequence[tuple[str, str | None]],
    sent: Sequence[tuple[str, str | None]],
    ids: list[int],
    merges: list[tuple[int, int]],
) -> None:
    for device, user in identified:
        bench.send(event(device, user, IDENTIFY))
    for device, user in sent:
        bench.send(event(device, user))

    bench.run()

    assert ids_of(bench) == ids
    stored = bench.rows("SELECT amplitude_id, merged_amplitude_id FROM merge ORDER BY stamp, 1")
    assert [(loser - FIRST + 1, winner - FIRST + 1) for loser, winner in stored] == merges


def test_nothing_of_a_duplicate_changes_identity(bench: Any) -> None:
    first = event("B", None) | {"insert_id": "once"}
    bench.send(event("A", "Jo"), first)
    # The same event for dedupe, whatever else it says: a user would merge, a new one would be made.
    bench.send(first | {"user_id": "Jo"}, first | {"user_id": "Al", "event_type": IDENTIFY})
    bench.send(event("B", None), event("C", None))

    bench.run()

    assert ids_of(bench) == [1, 2, 2, 3]
    assert bench.counts()["duplicates"] == 2
    assert bench.rows("SELECT user_id FROM user") == [("Jo",)]
    assert bench.rows("SELECT count(*) FROM merge") == [(0,)]


def test_known_pairs_of_a_device_and_a_user_ask_the_database_nothing(bench: Any) -> None:
    pairs = [event(f"device-{number}", f"user-{number}") for number in range(20)]
    bench.send(*pairs)
    bench.run()
    bench.send(*pairs)
    statements: list[str] = []
    bench.store.connection.set_trace_callback(statements.append)

    bench.processor.run_round()

    bench.store.connection.set_trace_callback(None)
    assert statements == []
    bench.run()
    assert ids_of(bench) == [*range(1, 21), *range(1, 21)]


# Any text is an identifier, and only the very same text is the same one.
ODD_IDS = (
    *("CaseUser", "caseuser", "\u00e9clair", "e\u0301clair", "nul\0one", "nul\0two", "nul"),
    *("it's; --", 'a "quote"', "back\\slash", "\u2028line", "%00", "\U0001f600\U0001f600"),
    *("x" * 1024, "x" * 1023),
)


def test_odd_ids_lead_each_to_a_person_of_its_own(bench: Any) -> None:
    bench.send(*(event(f"device of {user}", user) for user in ODD_IDS))
    bench.send(*(event(device, None) for device in ODD_IDS))
    bench.run()
    bench.crash()
    bench.send(*(event(device, user) for device, user in zip(ODD_IDS, ODD_IDS, strict=True)))

    bench.run()

    count = len(ODD_IDS)
    people = list(range(1, count + 1))
    assert ids_of(bench) == [*people, *range(count + 1, 2 * count + 1), *people]
    assert bench.rows("SELECT count(*) FROM merge") == [(count,)]


def test_a_device_known_in_another_project_is_known_here(bench: Any) -> None:
    bench.send(event("A", "Jo"), project=300002)
    bench.send(event("A", None))
    bench.send(event("A", "Jo"), project=300003, organization=100002)

    bench.run()

    assert ids_of(bench) == [1]
    assert bench.lines(300003)[0]["amplitude_id"] == FIRST + 1


def test_an_identify_changes_identity_and_is_not_exported(bench: Any) -> None:
    bench.send(event("B", None), event("A", "Jo", IDENTIFY), event("B", "Jo", IDENTIFY))
    bench.send(event("B", None))

    bench.run()

    assert ids_of(bench) == [1, 2]
    assert bench.counts()["identifies"] == 2
    assert bench.rows("SELECT amplitude_id, merged_amplitude_id FROM merge") == [(FIRST, FIRST + 1)]


def test_a_group_identify_changes_nothing_and_needs_no_id(bench: Any) -> None:
    bench.send(
        {"event_type": "$groupidentify", "groups": {"team": "a"}},
        event("A", "Jo", "$groupidentify"),
    )

    bench.run()

    assert bench.counts() | {"accepted": 2, "identifies": 2, "exported": 0} == bench.counts()
    assert bench.rows("SELECT count(*) FROM device") == [(0,)]


def test_a_merge_keeps_the_times_of_the_event_that_caused_it(bench: Any) -> None:
    bench.send(event("A", "Jo"), event("B", None))
    entry = bench.send(event("B", "Jo"))

    bench.run()

    assert bench.rows(
        "SELECT organization, hour, stamp, merge_time, merge_server_time FROM merge"
    ) == [
        (bench.organization, bench.hour.number, entry.stamp, 1_700_000_000_000, entry.stamp // 1000)
    ]


def test_a_merge_by_an_identify_takes_both_times_from_its_receipt(bench: Any) -> None:
    bench.send(event("A", "Jo"), event("B", None))
    entry = bench.send(event("B", "Jo", IDENTIFY))

    bench.run()

    millis = entry.stamp // 1000
    assert bench.rows("SELECT merge_time, merge_server_time FROM merge") == [(millis, millis)]


def test_identities_tell_whose_an_id_is(bench: Any) -> None:
    bench.send(event("A", None), event("B", None), event("B", "Jo"))

    bench.run()

    assert bench.rows("SELECT * FROM identity ORDER BY 1") == [
        (FIRST, bench.organization, None),
        (FIRST + 1, bench.organization, "Jo"),
    ]


def test_a_replay_after_a_crash_gives_the_same_ids(bench: Any) -> None:
    bench.send(event("A", None))
    bench.run()
    bench.send(event("B", "Jo"), event("C", None))
    while bench.processor.run_round():
        pass
    bench.crash()

    bench.run()

    assert ids_of(bench) == [1, 2, 3]


def test_a_user_whose_device_changes_hands_within_a_batch_keeps_the_id(bench: Any) -> None:
    bench.send(event("A", "Jo"))
    bench.run()
    bench.crash()

    bench.send(event("A", "Jo"), event("A", "Al"), event("A", "Jo"), event("B", "Jo"))
    bench.run()

    assert ids_of(bench) == [1, 1, 2, 1, 1]


class Model:
    """The table as one reads it: devices and users lead to ids, ids to a user or none."""

    def __init__(self) -> None:
        self.device: dict[str, int] = {}
        self.user: dict[str, int] = {}
        self.named: set[int] = set()
        self.merged: list[tuple[int, int]] = []
        self.last = 0

    def id_of(self, device: str, user: str | None) -> int:
        at_device = self.device.get(device)
        if user is None:
            if at_device is None:
                at_device = self.new()
        elif user in self.user:
            if at_device is not None and at_device not in self.named:
                self.merged.append((at_device, self.user[user]))
            at_device = self.user[user]
        else:
            if at_device is None or at_device in self.named:
                at_device = self.new()
            self.user[user] = at_device
            self.named.add(at_device)
        self.device[device] = at_device
        return at_device

    def new(self) -> int:
        self.last += 1
        return self.last


@pytest.mark.parametrize("seed", range(20))
def test_ids_are_those_of_the_table_however_batches_and_commits_fall(
    bench: Any, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    choose = random.Random(seed)
    monkeypatch.setattr(loop, "BATCH_EVENTS", choose.choice((1, 7, 4_000)))
    # Caches of a few entries: most things are forgotten between batches.
    monkeypatch.setattr(loop, "IDENTITY_CACHE_BYTES", choose.choice((1, 4_000, 1_000_000)))
    monkeypatch.setattr(loop, "PERSON_CACHE_BYTES", 1)
    bench.crash()
    model = Model()
    expected = []
    for _ in range(40):
        sent = []
        for _ in range(choose.randint(1, 6)):
            device, user = choose.choice("ABCDE"), choose.choice(("Jo", "Al", "Mo", None))
            sent.append(event(device, user))
            expected.append(model.id_of(device, user))
        bench.send(*sent)
        if choose.random() < 0.4:
            bench.run()
        elif choose.random() < 0.3:
            bench.processor.run_round()
            bench.crash()

    bench.run()

    assert ids_of(bench) == expected
    stored = bench.rows("SELECT amplitude_id, merged_amplitude_id FROM merge")
    merged = {(loser - FIRST + 1, winner - FIRST + 1) for loser, winner in stored}
    assert merged == set(model.merged)


def texts(known: Iterable[tuple[int, str | None]]) -> int:
    """Return what the user IDs of devices take; one that several share counts once."""
    return sum({id(user): sys.getsizeof(user) for _, user in known if user is not None}.values())


def test_long_user_ids_of_uncommitted_devices_count_towards_the_next_commit(bench: Any) -> None:
    bench.send(event("0", "u" * 1000, IDENTIFY))
    bench.run()
    bench.send(*(event(f"device-{number}", "u" * 1000, IDENTIFY) for number in range(500)))
    bench.processor.run_round()

    identity = bench.processor._state.identity
    held = texts(identity._changed_devices.values())
    assert held > 500 * 1000
    assert identity.changed_bytes() > held


def test_user_ids_that_come_to_known_devices_count_in_the_cache(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "IDENTITY_CACHE_BYTES", 400_000)
    monkeypatch.setattr(loop, "BATCH_EVENTS", 10)
    bench.crash()
    bench.send(event("0", "u" * 1000, IDENTIFY))
    for number in range(1, 500):
        bench.send(event(f"{number}", None, IDENTIFY), event(f"{number}", "u" * 1000, IDENTIFY))
    bench.run()

    recent = bench.processor._state.identity._devices
    groups = [*recent._young.values(), *recent._old.values()]
    assert texts(known for group in groups for known in group.values()) < 400_000
