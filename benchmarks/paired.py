"""Figures from rounds that alternate (A B A B), so that a noisy machine disturbs all alike."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import msgspec

T = TypeVar("T")

ROUNDS_MIN = 5  # fewer values make the median follow a single disturbed round


class Figure(msgspec.Struct, frozen=True):
    """One measured quantity: its median, and the lowest and highest round."""

    name: str
    unit: str
    median: float
    lowest: float
    highest: float
    rounds: int


def figure(name: str, unit: str, values: Sequence[float]) -> Figure:
    """Sum up the values of all rounds; raise `ValueError` without any."""
    if not values:
        raise ValueError(f"{name} has no values: run at least one round.")
    return Figure(name, unit, statistics.median(values), min(values), max(values), len(values))


def alternate(sides: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """Call every side once a round, in order, and return the values of each side."""
    values: dict[str, list[T]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, measure in sides.items():
            values[name].append(measure())
    return values


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Divide round by round: a disturbance longer than a pair cancels out."""
    return [one / other for one, other in zip(above, below, strict=True)]
