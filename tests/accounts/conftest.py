"""A real database with a stepped clock."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from argon2.profiles import CHEAPEST
from sqlalchemy.engine import Engine

from tailrace.accounts.passwords import Passwords
from tailrace.clock import SteppedClock
from tailrace.ids import SystemIds
from tailrace.state.database import open_database


@pytest.fixture
def engine(tmp_path: Path, empty_database: bytes) -> Iterator[Engine]:
    path = tmp_path / "tailrace.sqlite"
    path.write_bytes(empty_database)
    opened = open_database(path)
    yield opened
    opened.dispose()


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock(1_800_000_000_000_000)


@pytest.fixture
def passwords() -> Passwords:
    """Hash with the least parameters, since most tests are not about the cost."""
    return Passwords(SystemIds(), CHEAPEST)
