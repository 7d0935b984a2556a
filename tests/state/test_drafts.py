"""Set-ups that were begun: kept for everybody of a project, and ended by their destination."""

from __future__ import annotations

import threading
from collections.abc import Callable

import msgspec
import pytest

from tailrace.errors import BadRequest, ChangedMeanwhile
from tailrace.state.destinations import NewDestination
from tailrace.state.drafts import DRAFTS_MAX, Choices, Drafts, Seal
from tests.state.conftest import Books


@pytest.fixture
def drafts(books: Books) -> Drafts:
    return Drafts(books.engine, books.clock, by="dana@acme.example")


def _new(books: Books) -> NewDestination:
    return NewDestination(project=books.project, bucket="acme")


def to(choices: Choices) -> Callable[[Choices], Choices]:
    """Return what chooses without looking at what was chosen before."""
    return lambda _: choices


def sealed(secret: bytes) -> Seal:
    """Return what keeps a secret without looking at the one that was kept before."""
    return lambda _: secret


def test_a_draft_reads_back_as_it_was_kept(books: Books, drafts: Drafts) -> None:
    choices = Choices(bucket="acme", access="key", access_key_id="AKID", prefix="ü/")
    begun = drafts.begin(books.project, Choices())
    books.clock.advance(1_000_000)
    kept = drafts.change(books.project, begun.id, to(choices), sealed(b"token"))
    assert drafts.get(books.project, begun.id) == kept
    assert (kept.choices, kept.secret_encrypted) == (choices, b"token")
    assert (kept.secret_set_micros, kept.secret_set_by) == (
        books.clock.now_micros(),
        "dana@acme.example",
    )
    assert kept.changed_micros == kept.created_micros + 1_000_000


def test_a_secret_stays_with_its_key_and_goes_with_it(books: Books, drafts: Drafts) -> None:
    first = Choices(access="key", access_key_id="AKID")
    number = drafts.begin(books.project, Choices()).id
    drafts.change(books.project, number, to(first), sealed(b"token"))
    moved = Choices(access="key", access_key_id="AKID", bucket="acme")
    assert drafts.change(books.project, number, to(moved)).secret_encrypted == b"token"
    other = drafts.change(books.project, number, to(Choices(access="key", access_key_id="AK2")))
    assert (other.secret_encrypted, other.secret_set_by) == (None, None)


def test_a_draft_becomes_one_destination_in_the_transaction_that_adds_it(
    books: Books, drafts: Drafts
) -> None:
    number = drafts.begin(books.project, Choices()).id
    drafts.change(
        books.project, number, to(Choices(access="key", access_key_id="A")), sealed(b"token")
    )
    made = books.destinations.add(_new(books), draft=number)
    found = drafts.get(books.project, number)
    assert (found.destination_id, found.secret_encrypted) == (made.id, None)
    with pytest.raises(ChangedMeanwhile, match="Somebody saved, changed or discarded"):
        books.destinations.add(_new(books), draft=number)
    drafts.discard(books.project, number)
    with pytest.raises(ChangedMeanwhile, match="Somebody saved, changed or discarded"):
        books.destinations.add(_new(books), draft=number)
    assert [one.id for one in books.destinations.list()] == [made.id]


def test_a_draft_is_unfinished_until_its_destination_exports(books: Books, drafts: Drafts) -> None:
    number = drafts.begin(books.project, Choices()).id
    made = books.destinations.add(_new(books), draft=number)
    assert [one.id for one in drafts.unfinished(books.project)] == [number]
    books.destinations.activate(made.id, books.capabilities)
    assert drafts.unfinished(books.project) == []
    assert drafts.get(books.project, number).destination_id == made.id
    drafts.begin(books.project, Choices())
    with pytest.raises(BadRequest, match="There is no set-up"):
        drafts.get(books.project, number)


def test_a_destination_has_one_draft(books: Books, drafts: Drafts) -> None:
    made = books.destinations.add(_new(books))
    first = drafts.begin(books.project, Choices(bucket="acme"), destination_id=made.id)
    again = drafts.begin(books.project, Choices(), destination_id=made.id)
    assert again == first


def test_drafts_of_other_projects_are_out_of_reach(books: Books, drafts: Drafts) -> None:
    other = books.add_project(books.organization)
    number = drafts.begin(books.project, Choices()).id
    for reach in (
        lambda: drafts.get(other, number),
        lambda: drafts.change(other, number, to(Choices())),
        lambda: drafts.forget_secret(other, number),
        lambda: drafts.discard(other, number),
    ):
        with pytest.raises(BadRequest, match=f"There is no set-up {number}"):
            reach()
    assert drafts.unfinished(other) == []


def test_a_destination_and_its_draft_are_of_one_project(books: Books, drafts: Drafts) -> None:
    other = books.add_project(books.organization)
    made = books.destinations.add(_new(books))
    with pytest.raises(BadRequest, match=f"There is no destination {made.id} in this project"):
        drafts.begin(other, Choices(), destination_id=made.id)
    number = drafts.begin(other, Choices()).id
    with pytest.raises(ChangedMeanwhile, match="Somebody saved, changed or discarded"):
        books.destinations.add(_new(books), draft=number)
    assert drafts.get(other, number).destination_id is None
    assert [one.id for one in books.destinations.list()] == [made.id]


def test_a_project_has_a_limited_number_of_them_and_others_are_not_held_up(
    books: Books, drafts: Drafts
) -> None:
    for _ in range(DRAFTS_MAX):
        drafts.begin(books.project, Choices())
    with pytest.raises(BadRequest, match="Finish or discard some"):
        drafts.begin(books.project, Choices())
    drafts.begin(books.add_project(books.organization), Choices())
    drafts.discard(books.project, 1)
    drafts.begin(books.project, Choices())


def test_a_draft_follows_what_is_changed_of_its_destination(books: Books, drafts: Drafts) -> None:
    typed = Choices(
        name="Lake", bucket="acme", prefix="half/*typed", access="operator", principal="arn:me"
    )
    number = drafts.begin(books.project, typed).id
    seen = books.destinations.add(_new(books), draft=number)
    wanted = msgspec.structs.replace(
        seen, name="Pond", bucket="other", endpoint_url="https://s3.example.com", marker=False
    )
    books.clock.advance(1_000_000)
    books.destinations.edit(seen, wanted, None, now_micros=0)
    found = drafts.get(books.project, number)
    assert found.choices == msgspec.structs.replace(
        typed, name="Pond", bucket="other", endpoint_url="https://s3.example.com"
    )
    assert (found.changed_by, found.changed_micros) == ("test", books.clock.now_micros())
    books.destinations.set_region(seen.id, "eu-north-1")
    assert drafts.get(books.project, number).choices.region == "eu-north-1"
    assert drafts.of_destination(seen.id) == drafts.get(books.project, number)


def test_with_another_access_go_the_secret_and_whom_the_policy_lets_in(
    books: Books, drafts: Drafts
) -> None:
    number = drafts.begin(books.project, Choices()).id
    seen = books.destinations.add(_new(books), draft=number)
    typed = Choices(bucket="acme", access="key", access_key_id="OLD", principal="arn:old")
    drafts.change(books.project, number, to(typed), sealed(b"old"))

    keyed = msgspec.structs.replace(seen, access_key_id="NEW", secret_encrypted=b"new")
    books.destinations.edit(seen, keyed, None, now_micros=0)
    found = drafts.get(books.project, number)
    assert found.choices == Choices(bucket="acme", access="key", access_key_id="NEW")
    assert (found.secret_encrypted, found.secret_set_by) == (None, "test")

    now = books.destinations.get(seen.id)
    role = msgspec.structs.replace(now, access_key_id=None, secret_encrypted=None, role_arn="arn:r")
    books.destinations.edit(now, role, None, now_micros=0)
    found = drafts.get(books.project, number)
    assert found.choices == Choices(bucket="acme", access="role", role_arn="arn:r")
    assert (found.secret_encrypted, found.secret_set_by) == (None, None)


def test_a_change_that_a_draft_has_already_leaves_it_as_it_is(books: Books, drafts: Drafts) -> None:
    typed = Choices(bucket="acme", access="key", access_key_id="A", principal="arn:p")
    number = drafts.begin(books.project, typed).id
    seen = books.destinations.add(_new(books), draft=number)
    books.destinations.edit(
        seen, msgspec.structs.replace(seen, access_key_id="A"), None, now_micros=0
    )
    before = drafts.get(books.project, number)
    assert before.choices == typed
    assert before.changed_by == "dana@acme.example"


def test_every_choice_and_another_secret_make_another_version(books: Books, drafts: Drafts) -> None:
    plain = drafts.begin(books.project, Choices())
    other: dict[str, object] = {
        "include_events": False,
        "include_merged_ids": True,
        "access": "role",
        "encryption": "AES256",
    }
    seen = {plain.version}
    for name in Choices.__struct_fields__:
        choices = msgspec.structs.replace(Choices(), **{name: other.get(name, "x")})
        seen.add(drafts.change(books.project, plain.id, to(choices)).version)
    key = Choices(access="key", access_key_id="AK")
    seen.add(drafts.change(books.project, plain.id, to(key)).version)
    for secret in (b"one", b"two"):
        books.clock.advance(1)
        seen.add(drafts.change(books.project, plain.id, to(key), sealed(secret)).version)
    assert len(seen) == len(Choices.__struct_fields__) + 4
    assert drafts.change(books.project, plain.id, to(Choices())).version == plain.version


def test_what_was_seen_is_compared_in_the_transaction_that_changes_it(
    books: Books, drafts: Drafts
) -> None:
    begun = drafts.begin(books.project, Choices())
    theirs = drafts.change(books.project, begun.id, to(Choices(bucket="theirs")))
    mine = to(Choices(bucket="mine"))
    with pytest.raises(ChangedMeanwhile, match="was changed since you opened this form, so noth"):
        drafts.change(books.project, begun.id, mine, seen=begun.version)
    ann = Drafts(books.engine, books.clock, by="ann@acme.example")
    with pytest.raises(ChangedMeanwhile, match="Somebody changed this set-up meanwhile, so noth"):
        ann.change(books.project, begun.id, mine, seen=begun.version)
    with pytest.raises(ChangedMeanwhile):
        drafts.change(
            books.project, begun.id, to(theirs.choices), sealed(b"token"), seen=begun.version
        )
    assert drafts.get(books.project, begun.id) == theirs
    # Who wants what is there already puts nothing back, and has not changed it.
    ann.change(books.project, begun.id, to(theirs.choices), seen=begun.version)
    ann.change(books.project, begun.id, to(theirs.choices), seen=theirs.version)
    assert drafts.get(books.project, begun.id) == theirs
    now = drafts.change(books.project, begun.id, mine, seen=theirs.version)
    assert now.choices.bucket == "mine"


def test_an_older_form_that_means_the_same_leaves_the_draft_as_it_is(
    books: Books, drafts: Drafts
) -> None:
    begun = drafts.begin(books.project, Choices())
    kept = drafts.change(books.project, begun.id, to(Choices(prefix="raw/")))

    def meant(choices: Choices) -> Choices:
        return msgspec.structs.replace(choices, prefix=choices.prefix.rstrip("/"))

    same = to(Choices(prefix="raw"))
    assert drafts.change(books.project, begun.id, same, seen=begun.version, meant=meant) == kept
    with pytest.raises(ChangedMeanwhile):
        drafts.change(
            books.project, begun.id, to(Choices(prefix="other")), seen=begun.version, meant=meant
        )


def test_a_typed_secret_is_compared_with_the_one_of_its_key(books: Books, drafts: Drafts) -> None:
    of_a, of_b = (Choices(access="key", access_key_id=key) for key in ("A", "B"))
    begun = drafts.begin(books.project, Choices())
    compared: list[bytes | None] = []

    def same(kept: bytes | None) -> bytes | None:
        compared.append(kept)
        return None

    kept = drafts.change(books.project, begun.id, to(of_a), sealed(b"of a"))
    # The same key with the same secret is no change, however old the form is.
    assert drafts.change(books.project, begun.id, to(of_a), same, seen=begun.version) == kept
    with pytest.raises(ChangedMeanwhile):
        drafts.change(books.project, begun.id, to(of_b), same, seen=begun.version)
    new = msgspec.structs.replace(_new(books), access_key_id="A", secret_encrypted=b"moved")
    books.destinations.add(new, draft=begun.id)
    drafts.change(books.project, begun.id, to(of_a), same, seen=begun.version)
    drafts.change(books.project, begun.id, to(of_b), sealed(b"of b"))
    drafts.change(books.project, begun.id, to(of_a), same)
    assert compared == [b"of a", None, b"moved", b"moved"]


def test_a_draft_that_is_to_be_saved_is_what_was_seen(books: Books, drafts: Drafts) -> None:
    begun = drafts.begin(books.project, Choices())
    assert drafts.require_unchanged(begun) == begun
    drafts.change(books.project, begun.id, to(Choices(bucket="mine")))
    with pytest.raises(ChangedMeanwhile, match="since you opened this form, so it was not saved"):
        drafts.require_unchanged(begun)
    ann = Drafts(books.engine, books.clock, by="ann@acme.example")
    with pytest.raises(ChangedMeanwhile, match="Somebody changed this set-up meanwhile, so it was"):
        ann.require_unchanged(begun)
    drafts.discard(books.project, begun.id)
    with pytest.raises(BadRequest, match="There is no set-up"):
        drafts.require_unchanged(begun)


def test_two_who_change_a_draft_at_the_same_time_lose_nothing(books: Books, drafts: Drafts) -> None:
    number = drafts.begin(books.project, Choices()).id
    waits, goes_on = threading.Event(), threading.Event()

    def slowly(before: Choices) -> Choices:
        waits.set()
        assert goes_on.wait(10)
        return msgspec.structs.replace(before, name="Lake")

    def named(before: Choices) -> Choices:
        return msgspec.structs.replace(before, bucket="acme")

    one = threading.Thread(target=lambda: drafts.change(books.project, number, slowly))
    other = threading.Thread(target=lambda: drafts.change(books.project, number, named))
    one.start()
    assert waits.wait(10)
    other.start()
    goes_on.set()
    one.join()
    other.join()
    kept = drafts.get(books.project, number).choices
    assert (kept.name, kept.bucket) == ("Lake", "acme")


def test_a_draft_that_was_changed_since_it_was_seen_becomes_no_destination(
    books: Books, drafts: Drafts
) -> None:
    begun = drafts.begin(books.project, Choices())
    drafts.change(books.project, begun.id, to(Choices(name="Theirs")))
    with pytest.raises(ChangedMeanwhile, match="Somebody saved, changed or discarded"):
        books.destinations.add(_new(books), draft=begun.id, draft_seen=begun.version)
    assert books.destinations.list() == []
