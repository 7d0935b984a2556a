"""The second step of a set-up: what is typed, the policy for it, and what is kept of it."""

from __future__ import annotations

import html
import json
from typing import Any

import msgspec
import pytest

from tailrace.settings import AwsSettings, ExportSettings, Settings, WebSettings
from tailrace.state.delivery import Capabilities
from tailrace.state.destinations import Destinations, NewDestination
from tailrace.state.drafts import Choices, Drafts
from tests.web.conftest import Place, Visitor
from tests.web.reading import Read

ARN = "arn:aws:iam::111122223333:role/tailrace"
KEY = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
SECRET = "wJalrXUtnFEMI/K7MDENG"
TYPED = {
    "bucket": "acme-raw",
    "region": "eu-central-1",
    "prefix": "raw",
    "access": "operator",
    "endpoint_url": "",
}


@pytest.fixture
def settings() -> Settings:
    return Settings(
        aws=AwsSettings(principal_arn=ARN),
        export=ExportSettings(private_endpoints=True),
        web=WebSettings(parts_page=True),
    )


@pytest.fixture
def dana(place: Place) -> Visitor:
    place.add("dana@acme.example")
    return place.visitor("dana@acme.example")


@pytest.fixture
def step(place: Place) -> str:
    draft = _drafts(place).begin(place.project, Choices())
    return f"/p/{place.project}/setup/{draft.id}/policy"


def _drafts(place: Place) -> Drafts:
    return Drafts(place.engine, place.site.clock, by="dana@acme.example")


def _choices(place: Place) -> Choices:
    (draft,) = _drafts(place).unfinished(place.project)
    return draft.choices


def _destinations(place: Place) -> Destinations:
    return Destinations(place.engine, place.site.clock)


def _policy(page: Read) -> str:
    """Return the policy as it is copied."""
    _, _, rest = page.answer.text.partition('<pre id="policy"')
    text, _, _ = rest.partition("</pre>")
    _, _, text = text.partition("<code>")
    for tag in ("</code>", "<mark>", "</mark>", "<ins>", "</ins>"):
        text = text.replace(tag, "")
    return html.unescape(text)


def test_before_anything_is_typed_the_policy_is_a_template(dana: Visitor, step: str) -> None:
    page = dana.get(step)
    assert "YOUR-BUCKET" in _policy(page)
    assert "Copy template" in page.text
    assert ARN in _policy(page)
    assert page.all("mark")
    assert "Send to an AWS admin" not in page.text
    assert "alert" not in {one.get("role") for _, one in page.elements}


def test_the_policy_follows_what_is_typed_and_nothing_is_kept(
    place: Place, dana: Visitor, step: str
) -> None:
    shown = dana.post(f"{step}/preview", TYPED, status=200)
    policy = json.loads(_policy(shown))
    resources = [one["Resource"] for one in policy["Statement"]]
    assert resources[0] == "arn:aws:s3:::acme-raw"
    assert resources[1] == "arn:aws:s3:::acme-raw/raw/*"
    assert "s3://acme-raw/raw/" in shown.text
    assert "Send to an AWS admin" in shown.text
    assert "put-bucket-policy --bucket acme-raw --region eu-central-1" in shown.text
    assert "LocationConstraint=eu-central-1" in shown.text
    assert _choices(place).bucket == ""


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("bucket", "Acme_Raw", "3 to 63 lower-case letters, digits, dots and dashes"),
        ("region", "EU Central", "write it like us-west-2"),
        ("prefix", "raw/*", "an asterisk"),
        ("endpoint_url", "s3.example.com", "begins with neither http:// nor https://"),
        ("principal", "dana", "write the ARN of a role or user"),
    ],
)
def test_what_is_wrong_is_told_beside_its_field_while_typing_and_when_saved(
    place: Place, dana: Visitor, step: str, field: str, value: str, words: str
) -> None:
    typed = {**TYPED, field: value}
    for shown in (
        dana.post(f"{step}/preview", typed, status=200),
        dana.post(step, {**typed, "do": "next"}, status=422),
    ):
        assert words in shown.text
        (wrong,) = [one for one in shown.all("input") if one.get("aria-invalid") == "true"]
        assert wrong["name"] == field
        assert wrong["value"] == value
    # What was typed is there when somebody comes back.
    assert getattr(_choices(place), field) == value
    assert _destinations(place).list() == []


def test_an_encryption_is_chosen_with_its_key_and_what_the_keys_policy_needs(
    place: Place, dana: Visitor, step: str
) -> None:
    plain = dana.get(step)
    assert [one["value"] for one in plain.all("option") if "selected" in one] == [""]
    assert "Key policy" not in plain.text

    typed = {**TYPED, "encryption": "aws:kms"}
    begun = dana.post(f"{step}/preview", typed, status=200)
    # A key that nobody has typed yet is not wrong yet, and a blank in the lines.
    assert not [one for one in begun.all("input") if "aria-invalid" in one]
    assert "ARN-OF-THE-KMS-KEY" in begun.text
    assert '"kms:GenerateDataKey"' in begun.text
    dana.post(step, {**typed, "do": "next"}, status=422)

    far = {**typed, "kms_key_arn": KEY.replace("eu-central-1", "us-east-1")}
    wrong = dana.post(step, {**far, "do": "next"}, status=422)
    assert [one["name"] for one in wrong.all("input") if "aria-invalid" in one] == ["kms_key_arn"]
    assert "it lies in us-east-1 and the bucket in eu-central-1" in wrong.text
    assert _destinations(place).list() == []

    dana.post(step, {**typed, "kms_key_arn": KEY, "do": "next"})
    (made,) = _destinations(place).list()
    assert (made.encryption, made.kms_key_arn) == ("aws:kms", KEY)
    shown = dana.get(step)
    assert shown.field("kms_key_arn") == KEY
    assert [one["value"] for one in shown.all("option") if "selected" in one] == ["aws:kms"]
    assert "aws kms get-key-policy --region eu-central-1 --key-id" in shown.text
    assert f"Please add this to the policy of {KEY}" in shown.text

    # The key of an encryption that is not chosen says nothing, right or wrong.
    dana.post(step, {**far, "encryption": "AES256", "do": "next"})
    (changed,) = _destinations(place).list()
    assert (changed.encryption, changed.kms_key_arn) == ("AES256", None)
    dana.post(step, {**TYPED, "encryption": "", "do": "next"})
    (changed,) = _destinations(place).list()
    assert (changed.encryption, changed.kms_key_arn) == (None, None)


def test_what_nobody_has_typed_yet_is_not_wrong_while_typing(dana: Visitor, step: str) -> None:
    shown = dana.post(f"{step}/preview", {"bucket": "acme-raw"}, status=200)
    assert not [one for one in shown.all("input") if "aria-invalid" in one]
    saved = dana.post(step, {"bucket": "acme-raw", "do": "next"}, status=422)
    assert [one["name"] for one in saved.all("input") if "aria-invalid" in one] == ["region"]


def test_a_wrong_bucket_dims_the_policy(dana: Visitor, step: str) -> None:
    shown = dana.post(f"{step}/preview", {**TYPED, "bucket": "Acme"}, status=200)
    assert shown.all("figure", class_="code dimmed")


def test_generate_keeps_what_is_typed_without_script(
    place: Place, dana: Visitor, step: str
) -> None:
    done = dana.post(step, {**TYPED, "do": "generate"})
    assert done.location == step
    assert "arn:aws:s3:::acme-raw/raw/*" in _policy(dana.get(step))
    assert _destinations(place).list() == []


def test_next_makes_a_destination_once_and_changes_it_later(
    place: Place, dana: Visitor, step: str
) -> None:
    done = dana.post(step, {**TYPED, "do": "next"})
    assert done.location == step.replace("/policy", "/verify")
    (made,) = _destinations(place).list()
    assert (made.state, made.bucket, made.region, made.prefix) == (
        "setting_up",
        "acme-raw",
        "eu-central-1",
        "raw/",
    )
    dana.post(step, {**TYPED, "bucket": "acme-other", "do": "next"})
    (changed,) = _destinations(place).list()
    assert (changed.id, changed.bucket) == (made.id, "acme-other")
    # The first step changes it too.
    dana.post(step.replace("/policy", "/data"), {"data": "merged-ids"})
    assert _destinations(place).get(made.id).data_types == ("merged-ids",)


def test_a_bucket_of_another_organization_is_refused_and_nothing_of_it_is_named(
    place: Place, dana: Visitor, step: str
) -> None:
    globex = place.add_organization("Globex")
    theirs = place.add_project(globex, "Reactor").project_id
    named = NewDestination(project=theirs, bucket="acme-raw", region="us-east-1")
    able = Capabilities(conditional_put=True, conditional_complete=True, checksums=True)
    _destinations(place).activate(_destinations(place).add(named).id, able)
    shown = dana.post(step, {**TYPED, "do": "next"}, status=422)
    assert "another organization on this installation exports to it" in shown.text
    assert "Globex" not in shown.answer.text
    assert [one["name"] for one in shown.all("input") if "aria-invalid" in one] == ["bucket"]


def test_a_secret_is_kept_encrypted_and_never_shown_again(
    place: Place, dana: Visitor, step: str
) -> None:
    key = {**TYPED, "access": "key", "access_key_id": "AKIAIOSFODNN7EXAMPLE", "do": "next"}
    refused = dana.post(step, key, status=422)
    assert "Type the secret that goes with the access key." in refused.text
    # The bucket is wrong, so nothing is made; the secret is kept all the same.
    wrong = dana.post(step, {**key, "bucket": "A", "secret_access_key": SECRET}, status=422)
    assert SECRET not in wrong.answer.text
    page = dana.get(step)
    assert SECRET not in page.answer.text
    assert "AKIA…MPLE, set " in page.text
    assert "by dana@acme.example" in page.text
    dana.post(step, key)
    (made,) = _destinations(place).list()
    assert made.secret_encrypted is not None
    for file in place.site.folder.path.rglob("*"):
        assert file.is_dir() or SECRET.encode() not in file.read_bytes()
    # Saved again without it, the destination keeps its secret; with another key it needs one.
    dana.post(step, {**key, "prefix": ""})
    assert _destinations(place).get(made.id).secret_encrypted is not None
    other = {**key, "access_key_id": "AKIAI44QH8DHBEXAMPLE"}
    assert "Type the secret" in dana.post(step, other, status=422).text


def test_a_role_is_what_the_policy_lets_in(place: Place, dana: Visitor, step: str) -> None:
    role = "arn:aws:iam::444455556666:role/exports"
    typed = {**TYPED, "access": "role", "role_arn": role, "external_id": "acme-7"}
    shown = dana.post(f"{step}/preview", typed, status=200)
    assert f'"AWS": "{role}"' in _policy(shown)
    dana.post(step, {**typed, "do": "next"})
    (made,) = _destinations(place).list()
    assert (made.role_arn, made.external_id) == (role, "acme-7")


def test_only_merged_ids_have_a_first_file_of_the_organization(
    place: Place, dana: Visitor, step: str
) -> None:
    dana.post(step.replace("/policy", "/data"), {"data": "merged-ids"})
    shown = dana.post(f"{step}/preview", TYPED, status=200)
    assert f"s3://acme-raw/raw/-{place.organization}/-{place.organization}_" in shown.text


@pytest.mark.parametrize("is_made", [False, True], ids=["draft", "destination"])
def test_next_pressed_twice_at_the_same_moment_is_saved_once(
    place: Place, dana: Visitor, step: str, monkeypatch: pytest.MonkeyPatch, *, is_made: bool
) -> None:
    if is_made:
        dana.post(step, {**TYPED, "do": "next"})
    sent = {**TYPED, "prefix": "other", "do": "next", "version": dana.get(step).field("version")}
    first: list[Read] = []
    name = "edit" if is_made else "add"
    real = getattr(Destinations, name)

    def second(self: Destinations, *values: Any, **more: Any) -> object:
        if not first:
            # Whatever happens in between is done once.
            monkeypatch.setattr(Destinations, name, real)
            first.append(dana.post(step, sent))
        return real(self, *values, **more)

    monkeypatch.setattr(Destinations, name, second)
    assert dana.post(step, sent).location == step.replace("/policy", "/verify")
    assert [one.location for one in first] == [step.replace("/policy", "/verify")]
    (made,) = _destinations(place).list()
    assert (made.bucket, made.prefix) == ("acme-raw", "other/")


def test_a_first_step_sent_twice_at_the_same_moment_is_saved_once(
    place: Place, dana: Visitor, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = step.replace("/policy", "/data")
    dana.post(step, {**TYPED, "do": "next"})
    sent = {"name": "Lake", "data": "merged-ids", "version": dana.get(data).field("version")}
    real = Destinations.edit

    def second(self: Destinations, *values: Any, **more: Any) -> object:
        monkeypatch.setattr(Destinations, "edit", real)
        assert dana.post(data, sent).location == step
        return real(self, *values, **more)

    monkeypatch.setattr(Destinations, "edit", second)
    assert dana.post(data, sent).location == step
    (made,) = _destinations(place).list()
    assert (made.name, made.data_types) == ("Lake", ("merged-ids",))


def test_a_name_that_was_given_away_meanwhile_is_told_in_the_first_step(
    place: Place, dana: Visitor
) -> None:
    choices = Choices(name="Lake")
    draft = _drafts(place).begin(place.project, choices)
    step = f"/p/{place.project}/setup/{draft.id}/policy"
    other = NewDestination(project=place.project, bucket="theirs", name="lake")
    _destinations(place).add(other)
    back = dana.post(step, {**TYPED, "do": "next"})
    assert back.location == step.replace("/policy", "/data")
    shown = dana.get(back.location)
    (wrong,) = shown.all("input", aria_invalid="true")
    assert (wrong["name"], wrong["value"]) == ("name", "Lake")
    dana.post(back.location, {"data": "events", "name": "Pond"})
    # What was typed in the second step is still there.
    dana.post(step, {**TYPED, "bucket": dana.get(step).field("bucket"), "do": "next"})
    assert {one.name for one in _destinations(place).list()} == {"lake", "Pond"}


def test_a_set_up_shows_and_saves_what_a_command_changed_meanwhile(
    place: Place, dana: Visitor, step: str
) -> None:
    dana.post(step, {**TYPED, "do": "next"})
    (made,) = _destinations(place).list()
    wanted = msgspec.structs.replace(made, name="Lake", bucket="acme-moved", prefix="new/")
    _destinations(place).edit(made, wanted, None, now_micros=0)
    shown = dana.get(step)
    assert (shown.field("bucket"), shown.field("prefix")) == ("acme-moved", "new/")
    data = step.replace("/policy", "/data")
    assert dana.get(data).field("name") == "Lake"
    dana.post(data, {"data": "merged-ids", "name": "Lake"})
    sent = {name: shown.field(name) for name in ("bucket", "region", "prefix")}
    dana.post(step, {**TYPED, **sent, "do": "next"})
    after = _destinations(place).get(made.id)
    assert (after.name, after.bucket, after.prefix) == ("Lake", "acme-moved", "new/")
    assert after.data_types == ("merged-ids",)


def test_the_first_step_names_the_destination_that_it_has_become(
    place: Place, dana: Visitor, step: str
) -> None:
    dana.post(step, {**TYPED, "do": "next"})
    (made,) = _destinations(place).list()
    assert made.name == "Amazon S3"
    dana.post(step.replace("/policy", "/data"), {"data": "events", "name": "Lake"})
    assert _destinations(place).get(made.id).name == "Lake"
