"""The version of a destination that forms hold: another one after every change of people."""

from __future__ import annotations

import msgspec
import pytest

from tailrace.app.destinations import Access
from tailrace.app.editing import Edit
from tailrace.state.destination_fields import CHANGEABLE, PROBED
from tailrace.state.destinations import NewDestination
from tailrace.web.activity_values import FIELDS
from tailrace.web.destination_frame import version_of
from tests.web.hours import destination

PLAIN = destination()
OTHER: dict[str, object] = {
    "name": "Pond",
    "bucket": "other",
    "region": "us-west-2",
    "prefix": "else/",
    "endpoint_url": "https://s3.example.com",
    "access_key_id": "AKIAEXAMPLE",
    "secret_encrypted": b"token",
    "role_arn": "arn:aws:iam::111122223333:role/x",
    "external_id": "e",
    "encryption": "aws:kms",
    "kms_key_arn": "arn:aws:kms:eu-central-1:111122223333:key/1",
    "include_events": False,
    "include_merged_ids": True,
    "manifest": False,
    "marker": False,
}


def test_whatever_people_can_say_of_a_destination_counts_as_changeable() -> None:
    said = set(NewDestination.__struct_fields__) - {"project", "kind"}
    edited = set(Edit.__struct_fields__) - {"access"} | set(Access.__struct_fields__)
    kept = {"secret_access_key": "secret_encrypted"}
    assert {kept.get(name, name) for name in edited} == said
    assert said == set(CHANGEABLE) == set(FIELDS)
    assert len(set(CHANGEABLE)) == len(CHANGEABLE)
    assert set(PROBED) < set(CHANGEABLE)


@pytest.mark.parametrize("name", sorted({*NewDestination.__struct_fields__} - {"project", "kind"}))
def test_every_change_of_a_destination_makes_another_version(name: str) -> None:
    changed = msgspec.structs.replace(PLAIN, **{name: OTHER[name]})
    assert version_of(changed) != version_of(PLAIN)


def test_what_happens_by_itself_makes_no_other_version() -> None:
    later = msgspec.structs.replace(PLAIN, state="paused", outage_since_micros=7, paused_micros=8)
    assert version_of(later) == version_of(PLAIN)
