"""What somebody else saves while the probes of an edit run holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from tailrace.app.editing import Edit
from tailrace.errors import BadRequest
from tailrace.export.verify import Step
from tailrace.state.delivery import Destination
from tests.export.editing import editor_of
from tests.export.editing import new_bucket as new_bucket

if TYPE_CHECKING:
    pass


def while_probed(world: Any, added: Destination, edit: Edit, theirs: Edit) -> None:
    """Edit a destination, and have somebody else edit it between two of the probes."""
    steps: list[str] = []

    def told(step: Step) -> None:
        if not steps:
            editor_of(world).edit(added.id, theirs)
        steps.append(step.action)

    try:
        editor_of(world).edit(added.id, edit, told)
    finally:
        assert len(steps) > 1, "their change came before the last probe"


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        ({"name": "Mine"}, {"name": "Theirs"}),
        ({"manifest": False}, {"manifest": False, "marker": False}),
        ({"include_merged_ids": True}, {"include_merged_ids": True}),
    ],
)
def test_what_somebody_else_saves_during_the_probes_is_not_overwritten(
    world: Any, bucket: str, new_bucket: str, mine: dict[str, Any], theirs: dict[str, Any]
) -> None:
    added = world.add_destination(bucket)
    with pytest.raises(BadRequest, match="someone else has changed it meanwhile"):
        while_probed(world, added, Edit(bucket=new_bucket, **mine), Edit(**theirs))
    assert world.destinations.get(added.id) == msgspec.structs.replace(added, **theirs)


def test_what_somebody_else_saves_during_the_probes_of_another_field_holds_as_well(
    world: Any, bucket: str, new_bucket: str
) -> None:
    added = world.add_destination(bucket)
    while_probed(world, added, Edit(bucket=new_bucket), Edit(name="Theirs", marker=False))
    now = world.destinations.get(added.id)
    assert (now.bucket, now.name, now.marker) == (new_bucket, "Theirs", False)


def test_two_who_each_switch_one_data_type_off_leave_one(
    world: Any, bucket: str, new_bucket: str
) -> None:
    added = world.add_destination(bucket)
    editor_of(world).edit(added.id, Edit(include_merged_ids=True))
    mine, theirs = Edit(bucket=new_bucket, include_events=False), Edit(include_merged_ids=False)
    with pytest.raises(BadRequest, match="receive nothing"):
        while_probed(world, added, mine, theirs)
    now = world.destinations.get(added.id)
    assert (now.bucket, now.data_types) == (bucket, ("events",))
