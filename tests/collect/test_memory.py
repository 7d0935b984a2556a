"""What one large body takes while it is read and decoded, in multiples of its bytes."""

from __future__ import annotations

import asyncio
import gzip
import json
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from tailrace.collect.bodies import Body
from tailrace.collect.budget import Budget
from tailrace.collect.counters import Counters
from tailrace.collect.limits import Limits
from tailrace.collect.patience import Patience
from tailrace.collect.reading import open_upload
from tailrace.collect.strict import open_strict

LIMITS = Limits()
SIZE = 4_000_000
READ_BYTES = 48_000


def peak_of(step: Callable[[], object]) -> int:
    """Return the most that was allocated at once while `step` ran, beside what was before."""
    tracemalloc.start()
    try:
        step()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def receive_of(wire: bytes) -> Callable[[], Awaitable[dict[str, Any]]]:
    def parts() -> Iterator[dict[str, Any]]:
        for at in range(0, len(wire), READ_BYTES):
            more = at + READ_BYTES < len(wire)
            yield {"type": "http.request", "body": wire[at : at + READ_BYTES], "more_body": more}

    left = parts()

    async def receive() -> dict[str, Any]:
        return next(left)

    return receive


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_a_body_is_held_once_while_it_is_read(packed: bool) -> None:
    text = json.dumps(list(range(SIZE // 8))).encode()
    wire = gzip.compress(text, 1) if packed else text
    headers = {b"content-encoding": b"gzip"} if packed else {}

    async def read() -> None:
        budget = Budget(LIMITS.flight_bytes_max, 1.0)
        body = Body(receive_of(wire), headers, LIMITS, Patience(1.0))
        with budget.share() as share:
            assert await body.read(share, LIMITS.batch_bytes_max) == text

    # It grows by an eighth; a step of decompression and a read come on top.
    assert peak_of(lambda: asyncio.run(read())) < 1.35 * len(text)


def test_the_typed_form_of_a_body_makes_room_for_the_untyped_one() -> None:
    pairs = {f"{number:03d}": "x" * 10 for number in range(100)}
    event = {"event_type": "a", "user_id": "user-1", "event_properties": pairs, "other": 1}
    body = json.dumps({"api_key": "k", "events": [event] * 2000}).encode()
    assert body.count(b",") <= LIMITS.values_max
    counters = Counters()

    peak = peak_of(lambda: open_upload(body, LIMITS, counters).accept())

    assert counters.slow_path == 0
    # One form at a time takes seven times these bytes; both took ten and a half.
    assert peak < 9 * len(body)


def test_one_rare_character_does_not_make_a_large_body_four_times_its_size() -> None:
    event = {"event_type": "a", "user_id": "user-1", "event_properties": {"a": "😀" + "x" * 900}}
    upload = {"api_key": "k", "events": [event] * 2000}
    body = json.dumps(upload, ensure_ascii=False).encode() + b" " * SIZE

    # A copy of the events while they are cut; as text, the body alone would take four.
    assert peak_of(lambda: open_strict(body, LIMITS)) < 3 * len(body)
