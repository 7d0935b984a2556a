"""Two who are at the same set-up: no form puts back what the other one chose meanwhile."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from tailrace.app.setting_up import SettingUp
from tailrace.clock import SteppedClock
from tailrace.settings import ExportSettings, Settings
from tailrace.state.delivery import Destination
from tailrace.state.destinations import Destinations
from tailrace.state.drafts import Choices, Draft, Drafts
from tailrace.web.stale_form import LABELS, stale
from tests.web.conftest import Place, Visitor
from tests.web.test_setup_policy import SECRET, TYPED
from tests.web.test_setup_policy import dana as dana

CHANGED = "Somebody changed this set-up meanwhile"
OWN = "This set-up was changed since you opened this form"
KEY = {"access": "key", "access_key_id": "AKIAIOSFODNN7EXAMPLE", "do": "next"}


@pytest.fixture
def settings() -> Settings:
    return Settings(export=ExportSettings(private_endpoints=True))


@pytest.fixture
def ann(place: Place) -> Visitor:
    place.add("ann@acme.example")
    return place.visitor("ann@acme.example")


@pytest.fixture
def draft(place: Place) -> Draft:
    return drafts(place).begin(place.project, Choices(name="Lake"))


def drafts(place: Place) -> Drafts:
    return Drafts(place.engine, place.site.clock, by="dana@acme.example")


def choices(place: Place) -> Choices:
    (draft,) = drafts(place).unfinished(place.project)
    return draft.choices


def destinations(place: Place) -> list[Destination]:
    return Destinations(place.engine, place.site.clock).list()


def step(place: Place, draft: Draft, name: str) -> str:
    return f"/p/{place.project}/setup/{draft.id}/{name}"


@pytest.mark.parametrize("do", ["next", "generate"])
def test_an_older_form_of_the_bucket_takes_nothing_and_keeps_what_was_typed(
    place: Place, dana: Visitor, ann: Visitor, draft: Draft, do: str
) -> None:
    policy = step(place, draft, "policy")
    shown = dana.get(policy)
    theirs = {**TYPED, "bucket": "theirs", "encryption": "AES256", "do": "next"}
    ann.post(policy, theirs | {"version": ann.get(policy).field("version")})
    before = choices(place)

    late = {**TYPED, "do": do, "version": shown.field("version")}
    answer = dana.post(policy, late, status=422)

    assert "Nothing was changed" in answer.text
    assert CHANGED in answer.text
    assert "Bucket name theirs" in answer.text
    assert "Encryption SSE-S3, with keys of the store" in answer.text
    assert answer.field("bucket") == TYPED["bucket"]
    assert choices(place) == before
    assert [one.bucket for one in destinations(place)] == ["theirs"]
    # Pressed again, it is meant.
    dana.post(policy, late | {"version": answer.field("version")})
    assert choices(place).bucket == TYPED["bucket"]


def test_an_older_form_of_the_data_takes_nothing_and_keeps_what_was_typed(
    place: Place, dana: Visitor, ann: Visitor, draft: Draft
) -> None:
    data = step(place, draft, "data")
    shown = dana.get(data)
    theirs = {"name": "Pond", "data": "merged-ids", "version": ann.get(data).field("version")}
    ann.post(data, theirs)

    late = {"name": "Sea", "data": "events", "version": shown.field("version")}
    answer = dana.post(data, late, status=422)

    assert CHANGED in answer.text
    assert "Name of the destination Pond" in answer.text
    assert "Merged Amplitude IDs on" in answer.text
    assert answer.field("name") == "Sea"
    assert [one["value"] for one in answer.all("input", name="data") if "checked" in one] == [
        "events"
    ]
    assert choices(place).name == "Pond"
    dana.post(data, late | {"version": answer.field("version")})
    assert (choices(place).name, choices(place).include_merged_ids) == ("Sea", False)


def test_each_step_sees_what_the_other_one_was_given(
    place: Place, dana: Visitor, ann: Visitor, draft: Draft
) -> None:
    data, policy = step(place, draft, "data"), step(place, draft, "policy")
    of_policy = dana.get(policy).field("version")
    ann.post(data, {"name": "Pond", "data": "events", "version": ann.get(data).field("version")})
    answer = dana.post(policy, {**TYPED, "do": "next", "version": of_policy}, status=422)
    # The form has no field in which the two differ.
    assert CHANGED in answer.text
    assert "Name of the destination" not in answer.text
    of_data = ann.get(data).field("version")
    dana.post(policy, {**TYPED, "do": "next", "version": answer.field("version")})
    ann.post(data, {"name": "Sea", "data": "events", "version": of_data}, status=422)
    assert [one.name for one in destinations(place)] == ["Pond"]


def test_a_secret_that_was_replaced_meanwhile_stays(
    place: Place, dana: Visitor, ann: Visitor, draft: Draft
) -> None:
    policy = step(place, draft, "policy")
    dana.post(policy, {**TYPED, **KEY, "secret_access_key": SECRET})
    shown = dana.get(policy)
    clock = place.site.clock
    assert isinstance(clock, SteppedClock)
    clock.advance(1)
    ann.post(
        policy,
        {**TYPED, **KEY, "secret_access_key": "another", "version": shown.field("version")},
    )
    (theirs,) = destinations(place)
    late = {**TYPED, **KEY, "secret_access_key": SECRET, "version": shown.field("version")}
    answer = dana.post(policy, late, status=422)
    assert "Type the secret access key again" in answer.text
    assert SECRET not in answer.answer.text
    assert destinations(place) == [theirs]


def test_a_secret_that_is_kept_need_not_be_typed_again(
    place: Place, dana: Visitor, ann: Visitor, draft: Draft
) -> None:
    policy = step(place, draft, "policy")
    mine = {**TYPED, **KEY, "secret_access_key": SECRET}
    seen = dana.get(policy).field("version")
    dana.post(policy, mine | {"version": seen})
    ann.post(policy, {**TYPED, **KEY, "bucket": "theirs"})
    answer = dana.post(policy, mine | {"version": seen}, status=422)
    assert "Bucket name theirs" in answer.text
    assert "Type the secret access key again" not in answer.text
    dana.post(policy, {**TYPED, **KEY, "version": answer.field("version")})
    (made,) = destinations(place)
    assert made.bucket == TYPED["bucket"]


def test_a_secret_that_a_browser_filled_in_is_not_asked_for(
    place: Place, dana: Visitor, ann: Visitor, draft: Draft
) -> None:
    policy = step(place, draft, "policy")
    seen = dana.get(policy).field("version")
    ann.post(policy, {**TYPED, "bucket": "theirs", "do": "next"})
    late = {**TYPED, "do": "next", "version": seen, "secret_access_key": "of another site"}
    answer = dana.post(policy, late, status=422)
    assert CHANGED in answer.text
    assert "Type the secret access key again" not in answer.text


def test_a_form_that_is_wrong_hides_no_change_of_somebody_else(
    place: Place, dana: Visitor, ann: Visitor, draft: Draft
) -> None:
    data = step(place, draft, "data")
    seen = dana.get(data).field("version")
    ann.post(data, {"name": "Pond", "data": "events", "version": seen})
    wrong = dana.post(data, {"name": "Sea", "version": seen}, status=422)
    assert "Choose what to export" in wrong.text
    again = {"name": "Sea", "data": "events", "version": wrong.field("version")}
    assert CHANGED in dana.post(data, again, status=422).text
    assert choices(place).name == "Pond"


NEW: dict[str, str] = {}
ROLE = "arn:aws:iam::444455556666:role/exports"
KMS = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
STORE = {**KEY, "endpoint_url": "https://store.example/", "secret_access_key": SECRET}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (NEW, {}),
        (NEW, {**KEY, "secret_access_key": SECRET}),
        ({}, {"prefix": "other"}),
        ({}, {**KEY, "secret_access_key": SECRET}),
        ({**KEY, "secret_access_key": "before"}, {**KEY, "secret_access_key": SECRET}),
        ({}, STORE | {"endpoint_url": "https://Store.Example:443/"}),
        ({"access": "role", "role_arn": ROLE}, {"access": "operator", "role_arn": ROLE}),
        ({"encryption": "aws:kms", "kms_key_arn": KMS}, {"kms_key_arn": KMS}),
        ({**KEY, "secret_access_key": SECRET}, {**KEY, "access": "operator"}),
    ],
    ids=[
        "new",
        "new secret",
        "prefix",
        "secret",
        "another secret",
        "endpoint",
        "role that is not chosen",
        "KMS key that is not chosen",
        "access key that is not chosen",
    ],
)
def test_the_same_form_sent_twice_is_taken_once(
    place: Place, dana: Visitor, draft: Draft, before: dict[str, str], after: dict[str, str]
) -> None:
    policy = step(place, draft, "policy")
    clock = place.site.clock
    assert isinstance(clock, SteppedClock)
    if before is not NEW:
        dana.post(policy, {**TYPED, **before, "do": "next"})
        clock.advance(1_000_000)
    sent = {**TYPED, **after, "do": "next", "version": dana.get(policy).field("version")}
    taken = []
    for _ in range(2):
        assert dana.post(policy, sent).location == step(place, draft, "verify")
        clock.advance(1_000_000)
        taken.append(destinations(place))
    assert taken[0] == taken[1]
    assert len(taken[0]) == 1


def test_a_secret_of_a_lost_key_file_can_be_typed_again(
    place: Place, dana: Visitor, draft: Draft
) -> None:
    policy = step(place, draft, "policy")
    sent = {**TYPED, **KEY, "secret_access_key": SECRET}
    dana.post(policy, sent)
    (before,) = destinations(place)
    place.site.folder.secrets_key.unlink()
    dana.post(policy, sent)
    (after,) = destinations(place)
    assert after.secret_encrypted != before.secret_encrypted


@pytest.mark.parametrize("name", ["policy", "data"])
def test_ones_own_older_form_is_not_called_somebody_elses(
    place: Place, dana: Visitor, ann: Visitor, draft: Draft, name: str
) -> None:
    path = step(place, draft, name)
    first, other = {
        "policy": ({**TYPED, "do": "next"}, {**TYPED, "region": "eu-west-1", "do": "next"}),
        "data": ({"name": "Sea", "data": "events"}, {"name": "Pond", "data": "events"}),
    }[name]
    seen = dana.get(path).field("version")
    dana.post(path, first | {"version": seen})
    # Who sends what is kept already has not changed it.
    ann.post(path, first | {"version": seen})
    ann.post(path, first)
    answer = dana.post(path, other | {"version": seen}, status=422)
    assert OWN in answer.text
    assert "Somebody" not in answer.text
    assert CHANGED in ann.post(path, other | {"version": seen}, status=422).text


@pytest.mark.parametrize("is_made", [False, True], ids=["draft", "destination"])
def test_a_name_that_is_chosen_while_the_bucket_is_saved_is_not_lost(
    place: Place,
    dana: Visitor,
    ann: Visitor,
    draft: Draft,
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_made: bool,
) -> None:
    data, policy = step(place, draft, "data"), step(place, draft, "policy")
    if is_made:
        dana.post(policy, {**TYPED, "do": "next"})
    between(
        monkeypatch,
        SettingUp,
        SettingUp.keep.__name__,
        lambda: ann.post(data, {"name": "Pond", "data": "merged-ids"}),
    )
    sent = {**TYPED, "bucket": "moved", "do": "next"}
    answer = dana.post(policy, sent, status=422)
    assert f"{CHANGED}, so it was not saved" in answer.text
    assert not answer.all("input", aria_invalid="true")
    assert (choices(place).name, choices(place).bucket) == ("Pond", "moved")
    # It was told, so that pressed again it is meant.
    dana.post(policy, sent | {"version": answer.field("version")})
    (made,) = destinations(place)
    assert (made.name, made.bucket, made.data_types) == ("Pond", "moved", ("merged-ids",))


@pytest.mark.parametrize("is_made", [False, True], ids=["draft", "destination"])
@pytest.mark.parametrize("late", ["keep", "add"])
def test_a_bucket_that_is_saved_meanwhile_is_shown_and_takes_one_more_press(
    place: Place,
    dana: Visitor,
    ann: Visitor,
    draft: Draft,
    monkeypatch: pytest.MonkeyPatch,
    late: str,
    *,
    is_made: bool,
) -> None:
    policy = step(place, draft, "policy")
    if is_made:
        dana.post(policy, {**TYPED, "do": "next"})
    theirs = {**TYPED, "bucket": "theirs", "do": "next"}
    of, name = {
        "keep": (SettingUp, SettingUp.keep.__name__),
        # The last moment before it is written.
        "add": (Drafts, Drafts.require_unchanged.__name__),
    }[late]
    between(monkeypatch, of, name, lambda: ann.post(policy, theirs))
    sent = {**TYPED, **KEY, "secret_access_key": SECRET, "prefix": "mine"}
    answer = dana.post(policy, sent, status=422)
    assert "Nothing was changed" in answer.text
    assert f"{CHANGED}, so it was not saved" in answer.text
    assert "Bucket name theirs" in answer.text
    assert "Type the secret access key again" in answer.text
    assert answer.field("bucket") == TYPED["bucket"]
    assert [one.bucket for one in destinations(place)] == ["theirs"]
    dana.post(policy, sent | {"version": answer.field("version")})
    (made,) = destinations(place)
    assert (made.bucket, made.prefix, made.access_key_id) == (
        TYPED["bucket"],
        "mine/",
        KEY["access_key_id"],
    )


def test_data_that_are_chosen_while_a_bucket_or_other_data_are_saved(
    place: Place, dana: Visitor, ann: Visitor, draft: Draft, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, policy = step(place, draft, "data"), step(place, draft, "policy")
    dana.post(policy, {**TYPED, "do": "next"})
    name = SettingUp.destination_of.__name__
    theirs = {**TYPED, "bucket": "theirs", "do": "next"}
    mine = {"name": "Pond", "data": "merged-ids"}
    # Whoever saves the bucket saves what is kept of the data too.
    between(monkeypatch, SettingUp, name, lambda: ann.post(policy, theirs))
    assert dana.post(data, mine).location == policy
    (made,) = destinations(place)
    assert (made.name, made.bucket, made.data_types) == ("Pond", "theirs", ("merged-ids",))

    other = {"name": "Sea", "data": "events"}
    between(monkeypatch, SettingUp, name, lambda: ann.post(data, other))
    answer = dana.post(data, mine | {"name": "Lake"}, status=422)
    assert f"{CHANGED}, so it was not saved" in answer.text
    assert "Name of the destination Sea" in answer.text
    assert destinations(place)[0].name == "Sea"
    dana.post(data, mine | {"name": "Lake", "version": answer.field("version")})
    assert destinations(place)[0].name == "Lake"


def between(
    monkeypatch: pytest.MonkeyPatch, of: type, name: str, happens: Callable[[], object]
) -> None:
    """Let something happen once, just after a step of a set-up is over."""
    real = getattr(of, name)
    done: list[bool] = []

    def then(self: object, *args: object, **more: object) -> object:
        found = real(self, *args, **more)
        if not done:
            done.append(True)
            happens()
        return found

    monkeypatch.setattr(of, name, then)


def test_every_choice_has_its_words() -> None:
    assert set(LABELS) == set(Choices.__struct_fields__)
    kept = Choices(
        name="Lake",
        include_events=False,
        include_merged_ids=True,
        bucket="acme",
        access="key",
        encryption="aws:kms",
    )
    typed = msgspec.structs.replace(Choices(), region="us-east-1")
    assert dict(stale("Changed.", kept, typed).kept) == {
        "Name of the destination": "Lake",
        "Events": "off",
        "Merged Amplitude IDs": "on",
        "Bucket name": "acme",
        "Region": "empty",
        "Encryption": "SSE-KMS, with a KMS key",
        "Access": "An access key",
    }


def test_what_is_written_otherwise_and_means_the_same_is_no_difference() -> None:
    kept = Choices(prefix="raw/", endpoint_url="https://store.example", role_arn="typed before")
    typed = Choices(prefix="raw", endpoint_url="https://Store.Example:443/", kms_key_arn="typed")
    assert stale("Changed.", kept, typed).kept == ()
