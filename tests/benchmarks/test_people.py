"""A made population is known to the processor, and what it sends does what it is said to do."""

from __future__ import annotations

import itertools
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks import people
from benchmarks.apart import Apart, forget_pages
from benchmarks.generator import bodies, device_of
from benchmarks.journal import Journal
from benchmarks.places import Place, make_place
from benchmarks.populate import Made, populate
from benchmarks.population import Population, groups_of, properties_of
from benchmarks.processor import Bench
from tailrace.clock import SteppedClock
from tailrace.folder import DataFolder
from tailrace.hours import HOUR_MICROS

NOW = 1_800_000_000_000_000 // HOUR_MICROS * HOUR_MICROS
USERS = 600
SENT = 40


class Scene:
    """A data folder with a made population."""

    def __init__(self, folder: Path) -> None:
        self.clock = SteppedClock(NOW)
        self.place: Place = make_place(folder)
        self.database = DataFolder(folder).processing_database
        self.population = Population(1, NOW, USERS)
        self.made: Made = populate(self.database, self.place, self.population)
        self.journal = Journal(self.place, self.clock)

    def send(self, events: list[bytes]) -> None:
        self.journal.append(bodies(self.place.api_key, events, SENT), SENT)

    def process(self, events: list[bytes]) -> None:
        self.send(events)
        bench = Bench(self.place, self.clock)
        try:
            bench.process()
        finally:
            bench.close()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(self.database)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    def count(self, table: str) -> object:
        return self.rows(f"SELECT count(*) FROM {table}")[0][0]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path / "data")
    yield made
    made.journal.close()


def test_every_user_arrives_once_and_in_no_order_of_ids() -> None:
    arrived = list(Population(1, NOW, USERS).arrivals())

    assert sorted(arrived) == list(range(USERS))
    assert sum(after > before for before, after in itertools.pairwise(arrived)) < 500


def test_few_users_send_most() -> None:
    sent = Population(1, NOW, 100_000).by_activity(20_000)
    devices = Counter(msgspec.json.decode(event)["device_id"] for event in sent)
    most = sum(count for _, count in devices.most_common(5_000))

    assert 0.4 < most / 20_000 < 0.65
    assert len(devices) > 8_000


def test_a_made_population_is_remembered_whole(scene: Scene) -> None:
    stored = Counter(bytes(row[0]) for row in scene.rows("SELECT properties FROM user_property"))
    wanted = [properties_of(user) for user in range(USERS)]

    assert stored == Counter(msgspec.json.encode(one) for one in wanted if one)
    assert scene.count("person") == scene.count("device") == USERS
    assert scene.count("user") == USERS * 2 // 3
    belonging = sum(1 for user in range(USERS) if groups_of(user))
    assert scene.rows("SELECT count(*) FROM person WHERE more IS NOT NULL") == [(belonging,)]
    assert scene.count("group_property") == USERS // 100
    assert scene.made.table_bytes["user_property"] >= 4096


@pytest.mark.parametrize("kind", ["evenly", "by_activity", "lately", "lately_bare"])
def test_events_of_known_users_change_nothing(scene: Scene, kind: str) -> None:
    before = scene.rows("SELECT * FROM person"), scene.rows("SELECT * FROM user_property")
    scene.process(getattr(scene.population, kind)(SENT))

    assert scene.rows("SELECT exported FROM project_hour") == [(SENT,)]
    assert scene.rows("SELECT * FROM person") == before[0]
    assert scene.rows("SELECT * FROM user_property") == before[1]


@pytest.mark.parametrize(("kind", "identifies"), [("updating", 0), ("identifying", SENT)])
def test_updates_change_properties(scene: Scene, kind: str, identifies: int) -> None:
    before = set(scene.rows("SELECT * FROM user_property"))
    scene.process(getattr(scene.population, kind)(SENT))
    changed = len(set(scene.rows("SELECT * FROM user_property")) - before)

    assert scene.rows("SELECT identifies FROM project_hour") == [(identifies,)]
    assert SENT // 2 < changed <= SENT


def test_fresh_users_are_new_and_merging_ones_merge_each(scene: Scene) -> None:
    scene.process(scene.population.fresh(SENT))
    assert scene.count("device") == USERS + SENT
    assert scene.count("merge") == 0

    scene.process(scene.population.merging(SENT))
    assert scene.count("device") == USERS + SENT
    assert scene.count("merge") == SENT


def test_a_processor_apart_processes_what_the_log_holds(scene: Scene) -> None:
    forget_pages(scene.database)
    with Apart(scene.place, NOW) as apart:
        remembered = apart.remember([device_of(user) for user in range(100)])
        scene.send(scene.population.evenly(SENT))
        spent = apart.process(scene.clock.now_micros())

    assert remembered.users == 100
    assert apart.opened.wall > 0
    assert spent.rounds > 0
    assert spent.checkpoints > 0
    assert scene.rows("SELECT exported FROM project_hour") == [(SENT,)]


@pytest.mark.slow  # two populations are made, and a processor is started seven times beside each
def test_the_smallest_part_is_measured_whole_and_named_by_what_there_is(tmp_path: Path) -> None:
    found = {one.name: one for one in people.measure(1, NOW, 1, SENT, 0, tmp_path)}

    for users in (2_000, 20_000):
        assert found[f"beside {users:,} users: memory"].median > 0
        for kind in people.KINDS:
            assert found[f"beside {users:,} users: {kind}: rate"].median > 0
    assert not {bar.figure for bar in people.BARS} & set(found)
