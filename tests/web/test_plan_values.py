"""A manual export's plan in words, whatever there is one of."""

from __future__ import annotations

import pytest

from tailrace.app.backfill import Planned
from tailrace.export.backfill import Plan
from tailrace.export.tally import Amount
from tailrace.hours import Hour
from tailrace.web.plan_values import PlanView, plan_view


def view(objects: int, *, overwrite: bool = False) -> PlanView:
    first = Hour.parse("2026-01-02T00")
    keys = tuple(f"k{n}" for n in range(objects))
    amount = Amount(objects, 100)
    plan = Plan(
        destination_id=1,
        from_hour=first,
        until_hour=first.next(),
        data_types=("events",),
        overwrite=overwrite,
        hours={"events": 1},
        lines={"events": 2},
        bytes=100,
        already_there=amount,
        to_write=amount,
        conflicts=amount,
        conflict_keys=keys,
        unknown=objects,
        unknown_keys=keys,
        dropped_hours=0,
        dropped=(),
        not_sealed_from=None,
    )
    return plan_view(Planned(plan, {"events": "2026-01-02"}, None))


@pytest.mark.parametrize(
    ("objects", "there", "other", "replaced", "unknown"),
    [
        (
            1,
            "1 object, 100 bytes; it stays as it is",
            "1 object, 100 bytes; it stays, and its hour waits for you",
            "1 object, 100 bytes; it is replaced",
            "1 object in the bucket has a name like these files and is not ours: k0. Nothing "
            "touches it.",
        ),
        (
            2,
            "2 objects, 100 bytes; they stay as they are",
            "2 objects, 100 bytes; they stay, and their hours wait for you",
            "2 objects, 100 bytes; they are replaced",
            "2 objects in the bucket have names like these files and are not ours: k0, k1. Nothing "
            "touches them.",
        ),
    ],
)
def test_one_object_is_told_as_one(
    objects: int, there: str, other: str, replaced: str, unknown: str
) -> None:
    shown = view(objects)
    facts = dict(shown.facts)
    assert (facts["Already there"], facts["With other content"]) == (there, other)
    assert dict(view(objects, overwrite=True).facts)["With other content"] == replaced
    assert shown.remarks == (unknown,)
