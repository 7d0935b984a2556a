"""Names of destinations: which there can be, whose they are, and which one is offered."""

from __future__ import annotations

import msgspec
import pytest
import sqlalchemy as sa

from tailrace.errors import BadRequest
from tailrace.state.audit import entries
from tailrace.state.database import writing
from tailrace.state.delivery import Destination
from tailrace.state.destinations import NewDestination
from tailrace.state.drafts import Choices, Drafts
from tailrace.state.naming import NAME_CHARACTERS_MAX
from tailrace.state.tables import destination
from tests.state.conftest import Books


def _add(books: Books, name: str | None, project: int | None = None) -> Destination:
    new = NewDestination(project=project or books.project, bucket="acme", name=name)
    return books.destinations.add(new)


def _rename(books: Books, seen: Destination, name: str) -> Destination:
    wanted = msgspec.structs.replace(seen, name=name)
    books.destinations.edit(seen, wanted, None, now_micros=0)
    return books.destinations.get(seen.id)


def _give(books: Books, existing: Destination | None, name: str) -> Destination:
    return _add(books, name) if existing is None else _rename(books, existing, name)


def test_one_without_a_name_gets_the_next_that_is_free(books: Books) -> None:
    assert [_add(books, None).name for _ in range(3)] == [
        "Amazon S3",
        "Amazon S3 2",
        "Amazon S3 3",
    ]
    books.destinations.delete(2, aborted=(), now_micros=0)
    assert books.destinations.free_name(books.project) == "Amazon S3 2"
    # What is typed in a set-up that nobody has finished is not offered to somebody else.
    choices = Choices(name="AMAZON s3 2")
    Drafts(books.engine, books.clock).begin(books.project, choices)
    assert _add(books, None).name == "Amazon S3 4"


def test_a_name_is_kept_without_blanks_around_it(books: Books) -> None:
    assert _add(books, "  Lake: raw, ü  ").name == "Lake: raw, ü"
    longest = "x" * NAME_CHARACTERS_MAX
    assert _add(books, longest).name == longest


@pytest.mark.parametrize(
    "name", ["", "   ", "x" * 61, "a\nb", "a\tb", "a\x7fb", "a\u202eb", "\0", "\u2800"]
)
def test_what_can_not_be_shown_is_refused_with_the_rule(books: Books, name: str) -> None:
    seen = _add(books, "Lake")
    for existing in (None, seen):
        with pytest.raises(BadRequest, match=r"name the destination .* 1 to 60 characters"):
            _give(books, existing, name)
    assert books.destinations.list() == [seen]


def test_no_two_of_a_project_have_the_same_name_capitals_or_not(books: Books) -> None:
    lake = _add(books, "Straße")
    other = _add(books, "Other")
    for existing, name in ((None, "STRASSE"), (other, "straße ")):
        with pytest.raises(BadRequest, match=f"destination {lake.id} of the same project"):
            _give(books, existing, name)
    assert books.destinations.get(other.id) == other
    # Its own name in other letters is another name of the same.
    assert _rename(books, lake, "STRASSE").name == "STRASSE"
    another = books.add_project(books.organization)
    assert _add(books, "Strasse", another).name == "Strasse"


def test_how_a_letter_is_typed_makes_no_other_name(books: Books) -> None:
    composed, typed = "Zürich", "Zu\u0308rich"
    lake = _add(books, typed)
    assert lake.name == composed
    other = _add(books, "Other")
    for existing, name in (
        (None, typed),
        (None, "ZU\u0308RICH"),
        (other, composed),
        (other, typed),
    ):
        with pytest.raises(BadRequest, match=f"destination {lake.id} of the same project"):
            _give(books, existing, name)
    assert _rename(books, other, "O\u0308ther").name == "Öther"


def test_a_name_of_an_earlier_release_is_taken_however_it_was_typed(books: Books) -> None:
    lake = _add(books, "Lake")
    with writing(books.engine) as connection:
        connection.execute(sa.update(destination).values(name="Zu\u0308rich"))
    with pytest.raises(BadRequest, match=f"destination {lake.id} of the same project"):
        _add(books, "zürich")
    # Given anew by its own form, it is the composed one.
    assert _rename(books, books.destinations.get(lake.id), " Zu\u0308rich").name == "Zürich"


def test_a_deleted_destination_frees_its_name_and_keeps_it(books: Books) -> None:
    gone = _add(books, "Lake")
    books.destinations.delete(gone.id, aborted=(), now_micros=0)
    assert _add(books, "Lake").name == "Lake"
    assert books.destinations.get(gone.id).name == "Lake"


def test_another_name_is_in_the_trail(books: Books) -> None:
    seen = books.active()
    assert _rename(books, seen, "Lake").state == "active"
    newest = entries(books.engine, of=f"destination {seen.id}")[0]
    assert (newest.who, newest.what) == ("test", "edited")
    assert newest.detail == {"name": "Lake", "fields": ["name"]}
