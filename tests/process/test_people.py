"""What lines say of people, against a model of plain dictionaries, however the log was cut."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from fuzz.claims import same
from fuzz.people import ORDER, People
from tailrace.process import event as event_module
from tailrace.process import loop
from tailrace.process import state as state_module
from tailrace.process.event import Portion
from tailrace.process.groups import Groups
from tailrace.process.persons import Persons
from tailrace.process.state import State

PROJECTS = {300001: 100001, 300002: 100001, 300003: 100002}
TABLES = ("device", "user", "identity", "person", "user_property", "group_property", "merge")
VALUES: list[Any] = [1, 1.0, -2.5, "5", "x", "é", True, None, [1, "x"], ["x", "x"], [], 2**70]
VALUES.append({"k": [1]})


def event(choose: random.Random) -> dict[str, Any]:
    """Return an event of few people that may say anything of them."""
    kinds = ("open", "open", "open", "$identify", "$groupidentify")
    given: dict[str, Any] = {"event_type": choose.choice(kinds)}
    given["device_id"] = f"device-{choose.randrange(5)}"
    if choose.random() < 0.4:
        given["user_id"] = f"user-{choose.randrange(3)}"
    if choose.random() < 0.3:
        given["insert_id"] = f"insert-{choose.randrange(6)}"
    for names in (("platform", "os_name", "device_model", "carrier"), ("country", "city", "dma")):
        if choose.random() < 0.3:
            given |= {name: choose.choice(("a", "b")) for name in choose.sample(names, 2)}
    for name in ("language", "app_version", "version_name"):
        if choose.random() < 0.1:
            given[name] = choose.choice(("a", "b"))
    if choose.random() < 0.1:
        given |= {"price": choose.choice((-1.0, 2.0)), "quantity": choose.choice((1, 2))}
    if choose.random() < 0.1:
        given["$skip_user_properties_sync"] = choose.random() < 0.8
    if choose.random() < 0.05:
        given["paying"] = choose.choice(("true", "False", "maybe", True))
    if choose.random() < 0.05:
        given["start_version"] = choose.choice(("s1", "s2"))
    if choose.random() < 0.5:
        given["user_properties"] = properties(choose)
    if choose.random() < 0.3 or given["event_type"] == "$groupidentify":
        types = choose.sample(("team", "org", "city", "a", "b", "c"), choose.randint(0, 3))
        values: list[Any] = ["x", "y", ["x", "y"], [], ["a", "b", "c", "d"], ["x", "x"], [1, "1"]]
        given["groups"] = {name: choose.choice(values) for name in types}
        given["group_properties"] = properties(choose)
    return given


def properties(choose: random.Random) -> dict[str, Any]:
    """Return properties, some of them operations."""
    plain = {name: choose.choice(VALUES) for name in choose.sample("abcd", choose.randint(0, 2))}
    if choose.random() < 0.4:
        for name in choose.sample((*ORDER[1:], "$delete"), 2):
            plain[name] = {key: choose.choice(VALUES) for key in choose.sample("abcd", 2)}
        if choose.random() < 0.2:
            plain["$clearAll"] = "-"
        if choose.random() < 0.1:
            plain["$set"] = "no object"
    return plain


class Sent:
    """The log of a history, and what its lines should say."""

    def __init__(self, seed: int, records: int) -> None:
        choose = random.Random(seed)
        people = {organization: People() for organization in set(PROJECTS.values())}
        self.records: list[tuple[int, bytes, int]] = []
        self.lines: dict[int, list[dict[str, Any]]] = {project: [] for project in PROJECTS}
        self.duplicates = 0
        seen: set[Any] = set()
        for _ in range(records):
            project = choose.choice(list(PROJECTS))
            texts = []
            for _ in range(choose.randint(1, 8)):
                one = event(choose)
                text = json.dumps(one)
                if choose.random() < 0.04:
                    # A property object that is not on one line can't be processed: it is held.
                    text = text[:-1] + ',"event_properties":{"a":{\n}}}'
                    if not one["event_type"].startswith("$"):
                        texts.append(text)
                        continue
                texts.append(text)
                key = (project, one["device_id"], one.get("insert_id"))
                if key[2] is not None and key in seen:
                    self.duplicates += 1
                    continue
                seen.add(key)
                line = people[PROJECTS[project]].take(project, one)
                if line is not None:
                    # The model's objects go on changing.
                    self.lines[project].append(json.loads(json.dumps(line)))
            body = b'{"events":[%b]}' % ",".join(texts).encode()
            self.records.append((project, body, len(texts)))
        self.merges = sum(len(one.merges) for one in people.values())

    def fill(self, bench: Any) -> None:
        for project, body, count in self.records:
            bench.append(body, count=count, project=project, organization=PROJECTS[project])


def shown(line: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """Return of a line what the model says of it; the model counts ids for each organization."""
    found = {name: line.get(name) for name in wanted}
    for name in ("first_event", "user_properties_updated"):
        found[name] = line["data"].get(name, False)
    found["amplitude_id"] = wanted["amplitude_id"]
    return found


def check(bench: Any, sent: Sent) -> None:
    """Check every line, and that ids and those of the model name the same people."""
    names: dict[int, tuple[int, int]] = {}
    for project, wanted in sent.lines.items():
        lines = bench.lines(project)
        assert len(lines) == len(wanted)
        for line, one in zip(lines, wanted, strict=True):
            found = shown(line, one)
            assert same(found, one), f"{found}\nis not\n{one}"
            name = (PROJECTS[project], one["amplitude_id"])
            assert names.setdefault(line["amplitude_id"], name) == name
    assert len(set(names.values())) == len(names)


def state(bench: Any) -> Any:
    return {table: bench.rows(f"SELECT * FROM {table} ORDER BY 1, 2, 3") for table in TABLES}


@pytest.mark.parametrize("seed", range(10))
def test_lines_say_of_people_what_the_rules_say(
    tmp_path: Path,
    make_bench: Callable[[Path], Any],
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
) -> None:
    sent = Sent(seed, 60)
    choose = random.Random(1000 + seed)
    whole = make_bench(tmp_path / "whole")
    sent.fill(whole)
    whole.run()
    # Caches of a few entries, and batches of a few events: most things are forgotten in between.
    monkeypatch.setattr(loop, "BATCH_EVENTS", choose.choice((1, 7, 4_000)))
    for name in ("IDENTITY_CACHE_BYTES", "PERSON_CACHE_BYTES", "GROUP_CACHE_BYTES"):
        monkeypatch.setattr(loop, name, choose.choice((1, 6_000)))
    # Records in parts, few people looked up at once, and all written ahead of the checkpoint.
    portion_events = choose.choice((1, 4, 100))
    monkeypatch.setattr(event_module, "PORTION_EVENTS_MAX", portion_events)
    monkeypatch.setattr(loop, "PORTION_EVENTS_MAX", portion_events)
    monkeypatch.setattr(state_module, "BROUGHT_BYTES_MAX", choose.choice((1, 2_000, 8_000_000)))
    monkeypatch.setattr(loop, "OPEN_BYTES_MAX", choose.choice((1, 5_000, 64_000_000)))
    monkeypatch.setattr(loop, "AHEAD_BYTES_MIN", 1)
    cut = make_bench(tmp_path / "cut")
    sent.fill(cut)
    rounds = 1
    while rounds:
        cut.log.round_entries = choose.randint(1, 9)
        rounds = cut.processor.run_round()
        if choose.random() < 0.3:
            cut.processor.checkpoint()
        if choose.random() < 0.15:
            cut.crash()
            rounds = 1
    cut.run()

    check(whole, sent)
    check(cut, sent)
    for project in PROJECTS:
        # The bench's clock stands still, so that the processed time is the same too.
        assert cut.raw(project) == whole.raw(project)
    assert state(cut) == state(whole)
    held = whole.rows("SELECT count(*) FROM held")[0][0]
    assert all((held, sent.merges, sent.duplicates, *map(len, sent.lines.values())))


@pytest.mark.parametrize("seed", range(3))
def test_a_portion_that_needs_what_nobody_looked_up_is_repeated(
    bench: Any, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Look-ups foresee all that is known to be needed; here they foresee no merge and no group."""
    sent = Sent(seed, 60)
    look_up = State._look_up

    def blind(state: State, portions: Sequence[Portion], limit: int) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(Persons, "look_up_whole", lambda *_: None)
            patched.setattr(Groups, "look_up", lambda *_: None)
            look_up(state, portions, limit)

    monkeypatch.setattr(State, "_look_up", blind)
    sent.fill(bench)
    bench.log.round_entries = 5
    bench.run()

    check(bench, sent)
