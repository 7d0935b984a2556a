from __future__ import annotations

import json
import random
import re
import string
import subprocess
import sys
from pathlib import Path
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


CHILD = """
import importlib.util, pathlib, sys
spec = importlib.util.spec_from_file_location("bench", sys.argv[1])
module = importlib.util.module_from_spec(spec)
sys.modules["bench"] = module
spec.loader.exec_module(module)
bench = module.Bench(pathlib.Path(sys.argv[2]))
for request in sys.stdin:
    bench.append(request.encode(), count=request.count("event_type"))
    while bench.processor.run_round():
        if bench.processor.checkpoint_due():
            bench.processor.checkpoint()
    bench.processor.checkpoint()
    bench.log.entries.clear()
    bench.log.first += 1
    print(flush=True)
"""
# The start of a process, 72 MiB of lines and changes, a portion, and what caches may hold.
PEAK_MIB_MAX = 220
EVENTS = 2_000


def text(choose: random.Random, size: int) -> str:
    return "".join(choose.choices(string.ascii_letters, k=size))


def properties(choose: random.Random, size: int) -> dict[str, str]:
    return {f"key {number}": text(choose, 950) for number in range(size // 970)}


class People:
    """Requests that make people with as much as is remembered of one, and ten groups each."""

    def __init__(self) -> None:
        choose = random.Random(1)
        self._of_user = properties(choose, 32_000)
        self._of_group = properties(choose, 8_000)

    def groups(self, number: int) -> dict[str, Any]:
        return {"team": [f"team {10 * number + one}" for one in range(10)]}

    def made(self, numbers: range) -> list[dict[str, Any]]:
        return [
            event
            for number in numbers
            for event in (
                {
                    "event_type": "$identify",
                    "device_id": f"device {number}",
                    "user_properties": {"$set": self._of_user},
                    "groups": self.groups(number),
                },
                {
                    "event_type": "$groupidentify",
                    "groups": self.groups(number),
                    "group_properties": {"$set": self._of_group},
                },
            )
        ]


def peak_mib(folder: Path, first: list[list[dict[str, Any]]], last: list[dict[str, Any]]) -> float:
    """Return the most anonymous memory of a processor while it takes the last request."""
    conftest = Path(__file__).with_name("conftest.py")
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(conftest), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        for request in first:
            print(json.dumps({"events": request}), file=child.stdin, flush=True)
            child.stdout.readline()
        print(json.dumps({"events": last}), file=child.stdin, flush=True)
        child.stdin.close()
        peak = 0
        status = Path(f"/proc/{child.pid}/status")
        while (found := re.search(r"RssAnon:\s+(\d+)", status.read_text())) is not None:
            peak = max(peak, int(found[1]))
    assert child.returncode == 0
    return peak / 1024


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells anonymous memory apart")
def test_memory_does_not_grow_with_lines_that_show_much(tmp_path: Path) -> None:
    people = People()
    events: list[dict[str, Any]] = [
        {"event_type": "e", "device_id": "device 1"} for _ in range(EVENTS)
    ]
    assert peak_mib(tmp_path / "same", [people.made(range(1, 2))], events) < PEAK_MIB_MAX
    # Each line shows other properties than the one before.
    for number, event in enumerate(events):
        event["user_properties"] = {"key 1": number}
    assert peak_mib(tmp_path / "other", [people.made(range(1, 2))], events) < PEAK_MIB_MAX


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells anonymous memory apart")
@pytest.mark.parametrize("kind", ["e", "$identify", "$groupidentify"])
def test_memory_does_not_grow_with_how_much_is_known_of_many_people(
    tmp_path: Path, kind: str
) -> None:
    """Half a minute: 200 MB of people and groups are made first."""
    people = People()
    first = [people.made(range(at, at + 200)) for at in range(0, EVENTS, 200)]
    events: list[dict[str, Any]] = [
        {"event_type": kind, "device_id": f"device {number}"} for number in range(EVENTS)
    ]
    for number, event in enumerate(events):
        if kind == "$identify":
            event["user_properties"] = {"$add": {"n": 1}}
        if kind == "$groupidentify":
            event |= {"groups": people.groups(number), "group_properties": {"$set": {"n": 1}}}
    assert peak_mib(tmp_path, first, events) < PEAK_MIB_MAX
