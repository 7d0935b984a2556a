"""The page of one file of an hour: its first lines, and the file itself while it is here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import BinaryIO

import msgspec
from starlette.responses import Response, StreamingResponse

from tailrace.app.sealed_file import Look, look, open_sealed, sealed_file
from tailrace.errors import BadRequest
from tailrace.hours import Hour
from tailrace.notify.amounts import counted, size
from tailrace.state.delivery import Destination
from tailrace.state.ledger_view import LedgerView
from tailrace.state.sealed import SealedFile
from tailrace.web.destination_frame import BASE, destination_of, frame
from tailrace.web.heatmap import when
from tailrace.web.hour_page import hour_of
from tailrace.web.page import NotThere, Page, Visit
from tailrace.web.rendering import page

FILE = f"{BASE}/hours/{{hour}}/files/{{data_type}}/{{n:int}}"
# A line is readable up to here; all of it is in the file.
LINE_CHARACTERS_MAX = 8000
_PIECE_BYTES = 256 * 1024


class LineView(msgspec.Struct, frozen=True):
    """One line of a file as it is read; one that is cut is told as that."""

    id: str
    title: str
    text: str


def line_views(found: Look) -> tuple[LineView, ...]:
    """Return the first lines of a file, each with its keys below one another."""
    last = len(found.lines)
    return tuple(
        _line(number, text, is_whole=found.whole or number < last)
        for number, text in enumerate(found.lines, start=1)
    )


def _line(number: int, text: str, *, is_whole: bool) -> LineView:
    try:
        shown = msgspec.json.format(text, indent=2)
    except msgspec.MsgspecError:
        shown = text
    if len(shown) > LINE_CHARACTERS_MAX:
        shown, is_whole = f"{shown[:LINE_CHARACTERS_MAX]}…", False
    return LineView(f"line-{number}", f"Line {number}" + ("" if is_whole else ", cut"), shown)


def _show(visit: Visit) -> Response:
    destination, hour = destination_of(visit), hour_of(visit)
    file = _file(visit, destination, hour)
    opened = open_sealed(visit.site.folder, file)
    lines: tuple[LineView, ...] = ()
    if opened is not None:
        with opened:
            lines = line_views(look(opened))
    around = frame(visit, destination)
    return page(
        visit,
        "hour_file.html",
        title=file.name,
        frame=around,
        hour=when(hour),
        hour_href=f"{around.path}/hours/{hour}",
        file=file,
        said=f"{counted(file.lines, 'line')}, {size(file.size_bytes)}",
        is_here=opened is not None,
        lines=lines,
        download=f"{visit.request.url.path}/download",
    )


def _download(visit: Visit) -> Response:
    """Hand over the file as it lies in the archive, which is what was or will be delivered."""
    file = _file(visit, destination_of(visit), hour_of(visit))
    opened = open_sealed(visit.site.folder, file)
    if opened is None:
        raise NotThere(f"{file.name} is not on this machine any more.")
    headers = {
        "Content-Disposition": f'attachment; filename="{file.name}"',
        "Content-Length": str(os.fstat(opened.fileno()).st_size),
        # What is gzip already is not packed once more on its way.
        "Content-Encoding": "identity",
    }
    return StreamingResponse(_pieces(opened), media_type="application/gzip", headers=headers)


def _pieces(opened: BinaryIO) -> Iterator[bytes]:
    with opened:
        while piece := opened.read(_PIECE_BYTES):
            yield piece


def _file(visit: Visit, destination: Destination, hour: Hour) -> SealedFile:
    asked = visit.request.path_params["data_type"]
    scopes = {one: destination.scope_of(one) for one in destination.data_types}
    if asked not in scopes:
        raise NotThere(f"This destination receives no {asked}.")
    ledger = LedgerView(visit.site.engine, visit.site.clock, within=visit.by.organization)
    try:
        return sealed_file(ledger, scopes[asked], hour, visit.number("n"))
    except BadRequest as error:
        raise NotThere(str(error)) from error


PAGES = (Page(FILE, _show, "see_events"), Page(f"{FILE}/download", _download, "see_events"))
