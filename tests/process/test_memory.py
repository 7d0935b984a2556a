from __future__ import annotations

import sys
from typing import Any

import pytest

from tailrace.process import loop
from tailrace.process.loop import OPEN_BYTES_MAX
from tailrace.process.memory import Recent

BYTES_MAX = 400_000


def test_long_identifiers_count_as_what_they_take_also_when_they_are_used_again() -> None:
    recent: Recent[int, str, int] = Recent(BYTES_MAX, lambda key, _: sys.getsizeof(key))
    most = 0
    for number in range(3_000):
        recent.age()
        # A character beyond the first 65,536 takes four bytes.
        names = {f"\U0001f6b2{one}".ljust(1024) for one in (number, number // 40)}
        for key in recent.missing(1, names):
            recent.add(1, key, number)
        kept = {**recent._old.get(1, {}), **recent.group(1)}
        most = max(most, sum(map(sys.getsizeof, kept)))

    # The generation that is filled may exceed its half by one batch.
    assert BYTES_MAX / 2 < most < BYTES_MAX * 1.1


def test_identities_that_are_not_committed_count_with_their_text(bench: Any) -> None:
    events = 40
    device_ids = [f"\U0001f6b2{number}".ljust(1024) for number in range(events)]
    sent = [{"event_type": "$identify", "device_id": device_id} for device_id in device_ids]
    bench.send(*sent)

    while bench.processor.run_round():
        pass

    taken = bench.processor._open_size()
    assert sum(map(sys.getsizeof, device_ids)) < taken < OPEN_BYTES_MAX


def test_a_stream_of_new_people_does_not_fill_the_memory(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "IDENTITY_CACHE_BYTES", 100_000)
    monkeypatch.setattr(loop, "PERSON_CACHE_BYTES", 50_000)
    bench.crash()
    for number in range(40):
        people = range(number * 50, number * 50 + 50)
        bench.send(
            *({"event_type": "e", "device_id": f"d{n:06}", "user_id": f"u{n:06}"} for n in people)
        )
        bench.run()

    state = bench.processor._state
    identity, persons = state.identity, state.persons
    for recent in (identity._devices, identity._users, persons._recent):
        kept = sum(map(len, (*recent._young.values(), *recent._old.values())))
        assert 0 < kept < 300
