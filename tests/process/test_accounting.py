"""Random streams with crashes, against a model that knows nothing of how it is done."""

from __future__ import annotations

import json
import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

WINDOW = 7 * 24 * 3600 * 1_000_000
BAD = "bad"

event = st.fixed_dictionaries(
    {
        "event_type": st.sampled_from(["a", "b", "$identify", "$groupidentify", BAD]),
        "device_id": st.sampled_from(["d1", "d2", "d3", None]),
        "user_id": st.sampled_from(["u1", "u2", None, None]),
        "insert_id": st.sampled_from(["i1", "i2", "i3", None]),
        "user_properties": st.sampled_from([{}, {"a": 1}]),
    }
)
record = st.tuples(
    st.sampled_from([1, 2]),
    st.sampled_from([300001, 300002]),
    st.lists(event, min_size=1, max_size=6),
    st.sampled_from([1, 1000, 1_500_000_000, WINDOW // 2]),
    st.sampled_from(["intact"] * 9 + ["torn"]),
)
step = st.one_of(record, record, record, st.sampled_from(["tick", "round", "checkpoint", "crash"]))


class Model:
    """What should come out, computed record by record from the whole stream at once."""

    def __init__(self) -> None:
        self.lines: defaultdict[tuple[int, int], list[tuple[Any, ...]]] = defaultdict(list)
        self.counts: defaultdict[tuple[int, int], Counter[str]] = defaultdict(Counter)
        self.merges: list[tuple[int, int]] = []
        self._seen: dict[Any, int] = {}
        self._device: dict[str, int] = {}
        self._user: dict[str, int] = {}
        self._named: set[int] = set()
        self._persons: set[tuple[int, int]] = set()
        self._next = 100_000_000_001

    def take(self, project: int, hour: int, stamp: int, events: list[Any], torn: bool) -> None:
        counts = self.counts[project, hour]
        counts["accepted"] += len(events)
        if torn:
            counts["held"] += len(events)
            return
        for one in events:
            kind = self._one(project, hour, stamp, one)
            counts[kind] += 1

    def _one(self, project: int, hour: int, stamp: int, one: dict[str, Any]) -> str:
        device, user = one["device_id"], one["user_id"]
        device = device or (user and "of " + user)
        key = (project, device, one["insert_id"])
        bad = one["event_type"] == BAD
        nobody = device is None and one["event_type"] != "$groupidentify"
        if one["insert_id"] is not None:
            if key in self._seen and stamp - self._seen[key] <= WINDOW:
                return "duplicates"
            if not (bad or nobody):
                self._seen[key] = stamp
        if bad or nobody:
            return "held"
        if one["event_type"] == "$groupidentify":
            return "identifies"
        person = self._identify(device, user)
        if one["event_type"] == "$identify":
            return "identifies"
        first = (project, person) not in self._persons
        self._persons.add((project, person))
        line = (one["n"], person, first, one["user_properties"] != {})
        self.lines[project, hour].append(line)
        return "exported"

    def _identify(self, device: str, user: str | None) -> int:
        now = self._device.get(device)
        if user is None:
            person = self._new() if now is None else now
        elif user in self._user:
            person = self._user[user]
            if now is not None and now not in self._named:
                self.merges.append((now, person))
                # What the loser did in a project, the survivor has done.
                self._persons |= {(p, person) for p, one in self._persons if one == now}
        else:
            person = now if now is not None and now not in self._named else self._new()
            self._user[user] = person
            self._named.add(person)
        self._device[device] = person
        return person

    def _new(self) -> int:
        self._next += 1
        return self._next - 1


def drive(bench: Any, steps: list[Any], model: Model) -> None:
    """Put the stream through a processor that is stopped and started at random."""
    number = 0
    bench.log.round_entries = 3
    for one in steps:
        if one == "round":
            bench.processor.run_round()
        elif one == "checkpoint":
            bench.processor.checkpoint()
            check_balance(bench)
        elif one == "crash":
            bench.crash()
        elif one == "tick":
            bench.tick()
        else:
            partition, project, events, gap, state = one
            texts = []
            numbered = []
            for event in events:
                number += 1
                numbered.append(event | {"n": number})
                given = {name: value for name, value in event.items() if value is not None}
                text = json.dumps(given | {"event_properties": {"n": number}})
                texts.append(text.replace('{"n"', '{"n"\n') if event["event_type"] == BAD else text)
            body = '{"events":[' + ",".join(texts) + "]}"
            torn = state == "torn"
            entry = bench.append(
                (body[:-2] if torn else body).encode(),
                count=len(events),
                partition=partition,
                project=project,
                stamp=bench.stamp + gap,
            )
            model.take(project, entry.stamp // 3_600_000_000, entry.stamp, numbered, torn)
    bench.run()


def check_balance(bench: Any) -> None:
    unbalanced = bench.rows(
        "SELECT * FROM project_hour "
        "WHERE accepted <> exported + duplicates + identifies + filtered + held"
    )
    assert unbalanced == []


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(step, max_size=30))
def test_every_accepted_event_is_one_line_or_is_counted(make_bench: Any, steps: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        bench = make_bench(Path(folder) / "data")
        model = Model()

        drive(bench, steps, model)

        check_balance(bench)
        hours = bench.rows("SELECT project, hour FROM project_hour ORDER BY project, hour")
        assert hours == sorted(model.counts)
        for project, number in hours:
            hour = type(bench.hour)(number)
            counts = bench.counts(project, hour)
            assert {name: n for name, n in counts.items() if n} == +model.counts[project, number]
            lines = bench.lines(project, hour)
            assert [
                (
                    line["event_properties"]["n"],
                    line["amplitude_id"],
                    "first_event" in line["data"],
                    "user_properties_updated" in line["data"],
                )
                for line in lines
            ] == model.lines[project, number]
            assert len({line["uuid"] for line in lines}) == len(lines)
        merges = bench.rows("SELECT amplitude_id, merged_amplitude_id FROM merge")
        assert sorted(merges) == sorted(model.merges)


stream = st.lists(record, min_size=1, max_size=12)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(stream, st.data())
def test_crashes_and_checkpoints_leave_no_trace_in_the_lines(
    make_bench: Any, records: list[Any], data: st.DataObject
) -> None:
    disturbed: list[Any] = []
    for one in records:
        disturbed.append(one)
        disturbed += data.draw(
            st.lists(st.sampled_from(["round", "checkpoint", "crash"]), max_size=3)
        )

    raws = []
    for steps in (records, disturbed):
        with tempfile.TemporaryDirectory() as folder:
            bench = make_bench(Path(folder) / "data")
            drive(bench, steps, Model())
            raws.append(
                {
                    (project, hour): bench.raw(project, type(bench.hour)(hour))
                    for project, hour in bench.rows("SELECT project, hour FROM project_hour")
                }
            )

    # The bench's clock stands still, so that the processed time is the same too.
    assert raws[0] == raws[1]
