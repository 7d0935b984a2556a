"""One file of an hour: what its first lines say, and the file itself as it lies in the archive."""

from __future__ import annotations

import gzip
import io
import json
import zlib

import pytest

from tailrace.app.sealed_file import LOOK_BYTES_MAX, Look, look
from tailrace.archive.folder import FolderArchive
from tailrace.errors import Corrupt
from tailrace.files import Files
from tailrace.hours import Hour
from tailrace.seal.names import file_name
from tailrace.web.hour_file import LINE_CHARACTERS_MAX, line_views
from tests.web.conftest import Place, Visitor
from tests.web.exporting import Exporting
from tests.web.test_overview import dana as dana
from tests.web.test_overview import exporting as exporting
from tests.web.test_overview import now as now

LINES = [{"uuid": f"line-{number}", "event_type": "<b>Zürich 🚲</b>"} for number in range(5)]
PACKED = gzip.compress(
    "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in LINES).encode()
)


def page(place: Place, hour: Hour, end: str = "", *, number: int = 1, kind: str = "events") -> str:
    return f"/p/{place.project}/destinations/1/hours/{hour}/files/{kind}/{number}{end}"


@pytest.fixture
def sealed(place: Place, exporting: Exporting, now: Hour) -> Hour:
    """An hour whose file lies in the archive."""
    hour = now.plus(-2)
    exporting.activate(exporting.add())
    exporting.seal(hour)
    folder = place.site.folder
    archive = FolderArchive(folder.packs, folder.archive, Files())
    archive.put_file(place.project, hour, file_name(place.project, hour, 1), [PACKED])
    return hour


def test_the_first_three_lines_are_shown_as_text(place: Place, dana: Visitor, sealed: Hour) -> None:
    shown = dana.get(page(place, sealed))
    assert [f"line-{n}" in shown.text for n in range(5)] == [True] * 3 + [False] * 2
    assert "<b>Zürich 🚲</b>" in shown.text
    assert "<b>" not in shown.answer.text
    assert page(place, sealed, "/download") in shown.links()
    assert page(place, sealed) in dana.get(page(place, sealed).partition("/files")[0]).links()


def test_the_file_is_handed_over_byte_for_byte_under_its_name(
    place: Place, dana: Visitor, sealed: Hour
) -> None:
    answer = dana.get(page(place, sealed, "/download")).answer
    name = f"{place.project}_{sealed.date}_{sealed.of_day}#1.json.gz"
    assert answer.content == PACKED
    assert answer.headers["content-length"] == str(len(PACKED))
    assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'


def test_one_that_the_archive_dropped_is_told_as_that(
    place: Place, dana: Visitor, exporting: Exporting, now: Hour
) -> None:
    exporting.activate(exporting.add())
    exporting.seal(now.plus(-2))
    shown = dana.get(page(place, now.plus(-2)))
    assert "not on this machine any more" in shown.text
    assert page(place, now.plus(-2), "/download") not in shown.links()
    dana.get(page(place, now.plus(-2), "/download"), 404)


def test_what_there_is_not_is_not_there(place: Place, dana: Visitor, sealed: Hour) -> None:
    for wrong in (
        page(place, sealed, number=2),
        page(place, sealed.plus(1)),
        # This destination receives no merged IDs.
        page(place, sealed, kind="merged-ids", number=0),
        page(place, sealed, kind="other"),
        page(place, sealed).replace(str(sealed), "yesterday"),
    ):
        dana.get(wrong, 404)
        dana.get(f"{wrong}/download", 404)


def test_a_viewer_reads_no_events(place: Place, dana: Visitor, sealed: Hour) -> None:
    place.add("vera@acme.example", "viewer")
    vera = place.visitor("vera@acme.example")
    vera.get(page(place, sealed), 403)
    vera.get(page(place, sealed, "/download"), 403)
    hour = vera.get(page(place, sealed).partition("/files")[0])
    assert page(place, sealed) not in hour.links()


def test_a_line_without_an_end_is_cut_and_told_as_that() -> None:
    found = look(io.BytesIO(gzip.compress(b"x" * (10 * LOOK_BYTES_MAX))))
    assert (len(found.lines[0]), found.whole) == (LOOK_BYTES_MAX, False)
    (shown,) = line_views(found)
    assert shown.title == "Line 1, cut"
    assert len(shown.text) == LINE_CHARACTERS_MAX + 1


@pytest.mark.parametrize(
    ("text", "lines", "whole"),
    [
        (b"", (), True),
        (b"a\n", ("a",), True),
        (b"a\nb", ("a", "b"), False),
        (b"a\nb\nc\nd", ("a", "b", "c"), True),
    ],
)
def test_a_short_file_is_shown_whole(text: bytes, lines: tuple[str, ...], whole: bool) -> None:
    assert look(io.BytesIO(gzip.compress(text))) == Look(lines, whole)


def test_a_look_reads_no_further_than_it_shows() -> None:
    source = io.BytesIO(gzip.compress(b"a\n" * 1_000_000, 0))
    look(source)
    assert source.tell() < 100_000


def test_what_is_no_gzip_is_damage() -> None:
    with pytest.raises(Corrupt, match="no gzip"):
        look(io.BytesIO(b"not at all"))
    cut = io.BytesIO(zlib.compress(b"x"))
    with pytest.raises(Corrupt):
        look(cut)
