"""Another bucket or access by the pages: what is typed, what of it is wrong, what stays."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tailrace.app.destinations import Access
from tailrace.app.edit_typed import edit_typed, place_wanted
from tailrace.app.editing import Edit
from tailrace.app.setting_up import choices_of
from tailrace.settings import AwsSettings, ExportSettings, Settings
from tailrace.state.delivery import Destination
from tailrace.state.drafts import Drafts
from tests.web.conftest import Place, Visitor
from tests.web.exporting import UNREACHABLE, Exporting
from tests.web.hours import destination
from tests.web.test_overview import dana as dana
from tests.web.test_overview import exporting as exporting

KEY = "AKIAIOSFODNN7Q2F"
TYPED = {
    "bucket": "acme-events",
    "region": "eu-central-1",
    "prefix": "",
    "endpoint_url": UNREACHABLE,
    "access": "key",
    "access_key_id": "AKIAEXAMPLE",
}


@pytest.fixture
def settings() -> Settings:
    return Settings(
        aws=AwsSettings(principal_arn="arn:aws:iam::111122223333:role/tailrace"),
        export=ExportSettings(private_endpoints=True),
    )


def page(place: Place, end: str = "") -> str:
    return f"/p/{place.project}/destinations/1/edit{end}"


def now(exporting: Exporting) -> Destination:
    return exporting.destinations.get(1)


def typed(seen: Destination, secret: str = "", **changes: Any) -> Edit:
    return edit_typed(seen, msgspec.structs.replace(choices_of(seen), **changes), secret)


def test_what_is_typed_as_it_was_stays() -> None:
    keyed = destination(access_key_id=KEY, secret_encrypted=b"x", prefix="raw/")
    assert typed(keyed) == Edit()
    # Another access that is only typed, and not chosen, says nothing.
    assert typed(keyed, role_arn="arn:aws:iam::1:role/x") == Edit()
    role = destination(role_arn="arn:aws:iam::111122223333:role/x", external_id="1")
    assert typed(role, access_key_id="AKIA") == Edit()


@pytest.mark.parametrize(
    ("changes", "secret", "edit"),
    [
        ({"bucket": "other", "prefix": "new"}, "", Edit(bucket="other", prefix="new")),
        ({"name": "Lake"}, "", Edit(name="Lake")),
        ({"endpoint_url": ""}, "", Edit(endpoint_url=None)),
        ({"region": "us-east-1"}, "", Edit(region="us-east-1")),
        ({}, "new", Edit(access=Access(access_key_id=KEY, secret_access_key="new"))),
        ({"access": "operator"}, "", Edit(access=Access())),
        ({"encryption": "AES256"}, "", Edit(encryption="AES256", kms_key_arn=None)),
        (
            {"encryption": "aws:kms", "kms_key_arn": "acme"},
            "",
            Edit(encryption="aws:kms", kms_key_arn="acme"),
        ),
        # Without its encryption a key says nothing.
        ({"kms_key_arn": "acme"}, "", Edit()),
        (
            {"access": "role", "role_arn": "arn:r", "external_id": "7"},
            "",
            Edit(access=Access(role_arn="arn:r", external_id="7")),
        ),
    ],
)
def test_what_is_typed_otherwise_is_wanted(
    changes: dict[str, Any], secret: str, edit: Edit
) -> None:
    seen = destination(
        access_key_id=KEY, secret_encrypted=b"x", endpoint_url="https://s3.example.com"
    )
    assert typed(seen, secret, **changes) == edit


def test_what_is_missing_is_told_of_the_place_that_is_typed() -> None:
    seen = destination(access_key_id=KEY, secret_encrypted=b"x", prefix="raw/")
    assert place_wanted(seen, choices_of(seen)) == seen
    choices = msgspec.structs.replace(
        choices_of(seen), bucket="other", prefix="new", region="us-east-1", access="operator"
    )
    wanted = place_wanted(seen, choices)
    assert (wanted.bucket, wanted.prefix, wanted.region) == ("other", "new/", "us-east-1")
    assert wanted.access_key_id is None
    role = msgspec.structs.replace(choices, access="role", role_arn="arn:r", external_id="7")
    assert place_wanted(seen, role).role_arn == "arn:r"
    assert place_wanted(seen, role).external_id == "7"
    keyed = msgspec.structs.replace(choices, encryption="aws:kms", kms_key_arn="acme")
    wanted = place_wanted(seen, keyed)
    assert (wanted.encryption, wanted.kms_key_arn) == ("aws:kms", "acme")


def test_a_key_is_told_and_its_encryption_changed_only_if_checks_pass(
    place: Place, dana: Visitor, exporting: Exporting
) -> None:
    exporting.add_unreachable(encryption="aws:kms", kms_key_arn="acme")
    before = now(exporting)
    shown = dana.get(page(place))
    assert shown.field("kms_key_arn") == "acme"
    assert [one["value"] for one in shown.all("option") if "selected" in one] == ["aws:kms"]
    same = TYPED | {"encryption": "aws:kms", "kms_key_arn": "acme"}
    assert "Nothing to change" in dana.post(page(place), same, status=422).text
    wrong = dana.post(page(place), same | {"kms_key_arn": "two words"}, status=422)
    assert [one["name"] for one in wrong.all("input", aria_invalid="true")] == ["kms_key_arn"]
    refused = dana.post(page(place), same | {"encryption": "AES256"}, status=422)
    assert "How to fix it" in refused.text
    assert now(exporting) == before


def test_the_form_shows_what_is_and_never_the_secret(
    place: Place, dana: Visitor, exporting: Exporting
) -> None:
    exporting.add_unreachable(prefix="raw/")
    shown = dana.get(page(place))
    assert (shown.field("bucket"), shown.field("prefix")) == ("acme-events", "raw/")
    assert shown.field("access_key_id") == "AKIAEXAMPLE"
    assert shown.field("secret_access_key") == ""
    assert "AKIA…MPLE, set 20" in shown.text
    assert "Create a Bucket" not in shown.text


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"bucket": "No"}, "bucket", "3 to 63"),
        ({"region": "no where"}, "region", "region"),
        ({"prefix": "a//b"}, "prefix", "prefix"),
        ({"access_key_id": "AKIAOTHER"}, "secret_access_key", "Type the secret"),
        ({"access": "role", "role_arn": "x"}, "role_arn", "role"),
    ],
)
def test_a_wrong_field_is_told_beside_it_and_nothing_is_changed(
    place: Place,
    dana: Visitor,
    exporting: Exporting,
    changes: dict[str, str],
    field: str,
    words: str,
) -> None:
    exporting.add_unreachable()
    before = now(exporting)
    if field == "region":
        changes = changes | {"endpoint_url": ""}
    shown = dana.post(page(place), TYPED | changes, status=422)
    (wrong,) = shown.all("input", aria_invalid="true")
    assert wrong["name"] == field
    assert words in shown.text
    assert now(exporting) == before


def test_what_is_so_already_is_no_change(place: Place, dana: Visitor, exporting: Exporting) -> None:
    exporting.add_unreachable()
    shown = dana.post(page(place), TYPED, status=422)
    assert "Nothing to change" in shown.text


def test_what_somebody_else_changed_meanwhile_is_not_changed_back(
    place: Place, dana: Visitor, exporting: Exporting
) -> None:
    exporting.add_unreachable()
    shown = dana.get(page(place))
    manage = dana.get(page(place).replace("/edit", "/manage"))
    seen = now(exporting)
    wanted = msgspec.structs.replace(seen, bucket="moved", marker=False)
    exporting.destinations.edit(seen, wanted, None, now_micros=0)

    late = TYPED | {"region": "us-west-2", "version": shown.field("version")}
    answer = dana.post(page(place), late, status=422)
    assert "Somebody changed this destination meanwhile" in answer.text
    assert (answer.field("bucket"), answer.field("region")) == ("moved", "eu-central-1")
    ticked = {"content": "events", "version": manage.field("version")}
    answer = dana.post(page(place).replace("/edit", "/manage"), ticked, status=422)
    assert "Somebody changed this destination meanwhile" in answer.text
    after = now(exporting)
    assert (after.bucket, after.region, after.marker) == ("moved", "eu-central-1", False)


def test_an_encryption_that_somebody_else_chose_meanwhile_is_not_changed_back(
    place: Place, dana: Visitor, exporting: Exporting
) -> None:
    exporting.add_unreachable()
    shown = dana.get(page(place))
    seen = now(exporting)
    wanted = msgspec.structs.replace(seen, encryption="AES256")
    exporting.destinations.edit(seen, wanted, None, now_micros=0)

    late = TYPED | {"name": "Lake", "version": shown.field("version")}
    answer = dana.post(page(place), late, status=422)
    assert "Somebody changed this destination meanwhile" in answer.text
    assert [one["value"] for one in answer.all("option") if "selected" in one] == ["AES256"]
    assert now(exporting).encryption == "AES256"


@pytest.mark.parametrize("endpoint", ["http://[::1", "http://[", "//", "http://a:b"])
def test_what_is_half_typed_is_no_trouble(
    place: Place, dana: Visitor, exporting: Exporting, endpoint: str
) -> None:
    exporting.add_unreachable()
    dana.post(page(place, "/preview"), TYPED | {"endpoint_url": endpoint}, status=200)
    dana.post(page(place), TYPED | {"endpoint_url": endpoint}, status=422)


def test_a_bucket_of_another_organization_is_refused_without_naming_it(
    place: Place, dana: Visitor, exporting: Exporting
) -> None:
    exporting.add_unreachable()
    other = place.add_organization("Globex")
    Exporting(place.site, other, place.add_project(other, "Reactor").project_id).add_unreachable(
        "theirs"
    )
    before = now(exporting)
    shown = dana.post(page(place), TYPED | {"bucket": "theirs"}, status=422)
    assert "Nothing was changed" in shown.text
    assert "nother organization" in shown.text
    assert "Globex" not in shown.text
    assert now(exporting) == before


def test_a_place_whose_checks_fail_is_not_taken(
    place: Place, dana: Visitor, exporting: Exporting
) -> None:
    exporting.add_unreachable()
    before = now(exporting)
    shown = dana.post(page(place), TYPED | {"bucket": "other"}, status=422)
    assert "How to fix it" in shown.text
    assert shown.field("bucket") == "other"
    assert now(exporting) == before


def test_one_that_is_being_set_up_is_changed_in_its_set_up(
    place: Place, dana: Visitor, exporting: Exporting
) -> None:
    exporting.add("acme-events", endpoint_url=UNREACHABLE)
    before = now(exporting)
    # What is typed here would hold before any probe, so there is no form to type it in.
    assert not dana.get(page(place)).all("input", name="bucket")
    whole = TYPED | {"bucket": "other", "secret_access_key": "secret"}
    dana.post(page(place), whole, status=422)
    assert now(exporting) == before
    go_on = f"/p/{place.project}/catalog/set-up/1"
    assert dana.get(page(place)).all("form", action=go_on)
    dana.post(go_on)
    (draft,) = Drafts(place.site.engine, place.site.clock).unfinished(place.project)
    assert draft.destination_id == 1
    assert draft.choices.bucket == "acme-events"


def test_the_policy_follows_what_is_typed(
    place: Place, dana: Visitor, exporting: Exporting
) -> None:
    exporting.add_unreachable()
    preview = dana.post(page(place, "/preview"), TYPED | {"bucket": "other"}, status=200)
    assert "arn:aws:s3:::other" in preview.text
    assert now(exporting).bucket == "acme-events"


def test_another_name_alone_is_taken_without_any_check(
    place: Place, dana: Visitor, exporting: Exporting
) -> None:
    exporting.add_unreachable()
    shown = dana.get(page(place))
    assert shown.field("name") == "Amazon S3"
    sent = TYPED | {"name": " Lake ", "version": shown.field("version")}
    done = dana.post(page(place), sent)
    assert done.location == page(place).replace("/edit", "/configuration")
    assert now(exporting).name == "Lake"
    configuration = dana.get(done.location)
    assert "Name Lake" in configuration.text
    assert configuration.all("h1")
    activity = dana.get(page(place).replace("/edit", "/activity")).text
    assert "Changed the settings name Lake" in activity
    # A form that was shown before is of a destination of another name.
    late = dana.post(page(place), sent | {"name": "Pond"}, status=422)
    assert "Somebody changed this destination meanwhile" in late.text


def test_a_name_may_be_written_with_joiners(
    place: Place, dana: Visitor, exporting: Exporting
) -> None:
    exporting.add_unreachable()
    name = "می\u200cخواهم 👨\u200d👩\u200d👧"
    dana.post(page(place), TYPED | {"name": name})
    assert now(exporting).name == name
    assert dana.get(page(place)).field("name") == name
    manage = page(place).replace("/edit", "/manage")
    dana.post(f"{manage}/delete", {"confirm": name.replace("\u200c", "")})
    assert now(exporting).state == "deleted"


def test_a_name_that_is_taken_is_told_beside_its_field(
    place: Place, dana: Visitor, exporting: Exporting
) -> None:
    exporting.add_unreachable()
    exporting.add("other", name="Lake")
    before = now(exporting)
    shown = dana.post(page(place), TYPED | {"name": "lake", "bucket": "other"}, status=422)
    (wrong,) = shown.all("input", aria_invalid="true")
    assert (wrong["name"], wrong["value"]) == ("name", "lake")
    assert "destination 2 of the same project is named 'Lake'" in shown.text
    assert "How to fix it" not in shown.text
    assert now(exporting) == before
