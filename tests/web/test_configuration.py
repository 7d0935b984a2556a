"""The configuration of a destination, as it is read by people of each role."""

from __future__ import annotations

import msgspec
import pytest

from tailrace.app.destinations import open_secrets
from tailrace.settings import AwsSettings, Settings, WebSettings
from tailrace.state.audit import AuditEntry
from tailrace.web.configuration_values import secret_words, shortened
from tests.web.conftest import Place, Visitor
from tests.web.exporting import Exporting
from tests.web.test_overview import dana as dana
from tests.web.test_overview import exporting as exporting

OPERATOR = "arn:aws:iam::111122223333:role/tailrace"


@pytest.fixture
def settings() -> Settings:
    return Settings(web=WebSettings(parts_page=True), aws=AwsSettings(principal_arn=OPERATOR))


def page(place: Place) -> str:
    return f"/p/{place.project}/destinations/1/configuration"


def test_it_tells_what_goes_where_and_who_lets_it_in(
    place: Place, dana: Visitor, exporting: Exporting
) -> None:
    found = exporting.activate(exporting.add(prefix="raw/", include_merged_ids=True))
    shown = dana.get(page(place))
    for words in (
        "Data events and merged Amplitude IDs",
        f"First hour {found.from_hour}",
        "Marker once an hour is complete",
        "Region eu-central-1",
        "Prefix raw/",
        "Store Amazon S3",
        "only where nothing is yet, with checksums",
        f"Principal {OPERATOR}",
        "by dana@acme.example",
    ):
        assert words in shown.text, words
    # The policy is the destination's own, to be copied.
    assert f'"AWS": "{OPERATOR}"' in shown.text
    assert "arn:aws:s3:::acme-events/raw/*" in shown.text
    assert "aws s3api put-bucket-policy" in shown.text


def test_it_tells_how_objects_are_encrypted_and_what_the_keys_policy_needs(
    place: Place, dana: Visitor, exporting: Exporting
) -> None:
    added = exporting.add(prefix="raw/")
    plain = dana.get(page(place)).text
    assert "Encryption the bucket's default" in plain
    assert "kms:Decrypt" not in plain
    key = "arn:aws:kms:eu-central-1:111122223333:alias/exports"
    wanted = msgspec.structs.replace(added, encryption="aws:kms", kms_key_arn=key)
    exporting.destinations.edit(added, wanted, None, now_micros=0)
    shown = dana.get(page(place)).text
    assert f"Encryption SSE-KMS with {key}" in shown
    assert '"kms:GenerateDataKey"' in shown
    assert f"aws kms describe-key --region eu-central-1 --key-id {key}" in shown
    activity = dana.get(page(place).replace("configuration", "activity")).text
    assert "encryption" in activity
    assert "KMS key" in activity


def test_a_key_is_shown_without_its_middle_and_its_secret_never(
    place: Place, dana: Visitor, exporting: Exporting
) -> None:
    secret = open_secrets(place.site.folder).encrypt("wJalrXUtnFEMI")
    exporting.add(access_key_id="AKIAIOSFODNN7Q2F", secret_encrypted=secret)
    shown = dana.get(page(place))
    assert "AKIA…7Q2F, set 20" in shown.text
    assert "UTC by dana@acme.example" in shown.text
    assert "wJalrXUtnFEMI" not in shown.answer.text
    assert "AKIAIOSFODNN7Q2F" not in shown.answer.text
    assert "Whose the access key is can't be told" in shown.text


def test_a_secret_is_as_old_as_its_last_change() -> None:
    trail = [
        AuditEntry(3_000_000_000, "eve", "edited", "destination 1", {"fields": ["prefix"]}),
        AuditEntry(
            2_000_000_000, "bob", "edited", "destination 1", {"fields": ["secret_encrypted"]}
        ),
        AuditEntry(1_000_000_000, "dana", "added", "destination 1", {}),
    ]
    assert secret_words("AKIAIOSFODNN7Q2F", trail).endswith("by bob")
    assert secret_words("AKIAIOSFODNN7Q2F", trail[2:]).endswith("by dana")
    assert shortened("short") == "short"


def test_what_it_was_before_a_move_stays_readable(
    place: Place, dana: Visitor, exporting: Exporting
) -> None:
    seen = exporting.add("acme-old")
    wanted = msgspec.structs.replace(seen, bucket="acme-new")
    exporting.destinations.edit(seen, wanted, None, now_micros=0)
    shown = dana.get(page(place))
    assert "Bucket acme-new" in shown.text
    # Nothing was delivered to the old place, so that nothing of it is left to tell.
    assert "acme-old" not in shown.text


def test_addresses_are_for_those_who_may_see_mails(
    place: Place, dana: Visitor, exporting: Exporting
) -> None:
    exporting.add()
    place.add("vera@acme.example", "viewer")
    assert "dana@acme.example" in dana.get(page(place)).text
    read = place.visitor("vera@acme.example").get(page(place)).text
    assert "1 person" in read


def test_a_paused_one_says_since_when(place: Place, dana: Visitor, exporting: Exporting) -> None:
    exporting.activate(exporting.add())
    exporting.destinations.pause(1)
    assert "Automatic exports off since 20" in dana.get(page(place)).text
