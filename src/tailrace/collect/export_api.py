"""`GET /api/2/export`: the sealed files of a range of hours as one zip (3.6, D36).

What is not complete never looks complete: a 200 holds every hour of the range that has ended, and
a 404 says that all of them have, and are empty.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

import structlog

from tailrace.collect import answers
from tailrace.collect.answers import Answer, Refused
from tailrace.collect.basic_auth import authenticated
from tailrace.collect.export_found import (
    Hours,
    Missing,
    SealedExports,
    Zip,
    later,
    missing_answer,
)
from tailrace.collect.forms import BadForm, Fields, read_form
from tailrace.collect.keys import Keys
from tailrace.collect.limits import Limits
from tailrace.collect.outflow import Outflow
from tailrace.collect.texts import QUERY_BYTES_MAX, Request
from tailrace.errors import Corrupt, Transient
from tailrace.hours import Hour

PATH = "/api/2/export"

# 366 days, so that a leap year can be asked for at once; the page says 365 (3.6).
HOURS_MAX = 366 * 24
# Exports at a time, of one project and of all: each takes about a mebibyte, and its part of the
# loop's time. Others' exports go on while one project's clients read slowly.
OF_PROJECT_MAX = 2
EXPORTS_MAX = 8
# Threads that read for all of them; one that hangs on a bad disk stops nothing else.
THREADS = 2

_RULE = "it must be an hour of UTC written as YYYYMMDDTHH, like 20260131T09."

Result = TypeVar("Result")

_log = structlog.get_logger(__name__)


class ExportApi:
    """The path, with its limits on how many exports there are at a time."""

    methods: tuple[str, ...] = ("GET",)

    def __init__(self, keys: Keys, limits: Limits, exports: SealedExports) -> None:
        self._keys = keys
        self._limits = limits
        self._exports = exports
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="exports")
        self._running: Counter[int] = Counter()

    @property
    def running(self) -> int:
        """How many exports there are now."""
        return self._running.total()

    async def take(self, request: Request) -> Answer | Outflow:
        """Answer with the zip, or with a sentence that says what is wrong."""
        owner = await authenticated(request.headers, self._keys, self._secret_key_is)
        # Nobody sends a body; read to its end, it leaves the connection for the next request.
        await request.body.read_any(request.share, self._limits.httpapi_bytes_max)
        hours = hours_asked(_fields_of(request), self._exports.present())
        self._begin(owner.project)
        answer: Answer | Outflow | None = None
        try:
            found = await self._in_thread(partial(self._exports.find, owner.project, hours))
            answer = self._answer(owner.project, hours, found)
        except Transient:
            answer = later(503, "The sealed files can't be looked up; try again later.")
        except Corrupt as error:
            _log.error("export_failed", project=owner.project, reason=str(error))
            answer = answers.text(500, str(error))
        except OSError as error:
            _log.error("export_failed", project=owner.project, reason=str(error))
            answer = later(503, "The sealed files can't be opened; try again later.")
        finally:
            # An outflow ends by itself.
            if not isinstance(answer, Outflow):
                self._end(owner.project)
        return answer

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _answer(self, project: int, hours: Hours, found: Zip | Missing) -> Answer | Outflow:
        if isinstance(found, Missing):
            return missing_answer(found)
        pieces = _Reading(found, self._threads, partial(self._end, project))
        return Outflow(_headers(project, hours, found.through), found.length, pieces)

    async def _secret_key_is(self, project: int, secret_key: str) -> bool:
        return await self._in_thread(partial(self._exports.secret_key_is, project, secret_key))

    async def _in_thread(self, step: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, step)

    def _begin(self, project: int) -> None:
        if self._running[project] >= OF_PROJECT_MAX:
            sentence = f"{OF_PROJECT_MAX} exports of this project are under way: wait for one."
            raise Refused(later(429, sentence))
        if self.running >= EXPORTS_MAX:
            sentence = f"{EXPORTS_MAX} exports are under way here; try again later."
            raise Refused(later(503, sentence))
        self._running[project] += 1

    def _end(self, project: int) -> None:
        self._running[project] -= 1
        if not self._running[project]:
            del self._running[project]


class _Reading:
    """The zip's bytes, read in threads."""

    def __init__(self, zipped: Zip, threads: ThreadPoolExecutor, ended: Callable[[], None]) -> None:
        self._zip = zipped
        self._threads = threads
        self._ended = ended

    async def next(self) -> bytes:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._zip.read)

    def close(self) -> None:
        self._ended()
        try:
            # In a thread, because a read may be under way whose task is gone.
            self._threads.submit(self._zip.close)
        except RuntimeError:
            # The process ends, and the threads have.
            self._zip.close()


def hours_asked(fields: Fields, present: Hour) -> Hours:
    """Return the range that `start` and `end` name; raise `Refused` with field and rule."""
    first, last = (_hour_of(fields, name) for name in ("start", "end"))
    if last < first:
        raise _refused("end is before start: both are hours of the range, and start is the first.")
    if last.number - first.number >= HOURS_MAX:
        raise _refused(
            f"start and end are more than {HOURS_MAX // 24} days apart: shorten the range."
        )
    if first > present:
        raise _refused(f"start is in the future: it is {_text(present)} now (UTC).")
    return Hours(first, last)


def _hour_of(fields: Fields, name: str) -> Hour:
    given = fields.get(name)
    if given is None:
        raise _refused(f"{name} is missing: {_RULE}")
    try:
        text = given.decode("ascii")
        moment = datetime.strptime(text, "%Y%m%dT%H").replace(tzinfo=UTC)
        hour = Hour.of(moment)
    except ValueError:
        text, hour = "", Hour(0)
    if _text(hour) != text:
        shown = answers.echo(given[:32].decode("utf-8", "replace"))
        raise _refused(f"{name} is {shown!r}: {_RULE}")
    return hour


def _fields_of(request: Request) -> Fields:
    query: bytes = request.scope.get("query_string", b"")
    if len(query) > QUERY_BYTES_MAX:
        raise Refused(answers.text(414, "The address is too long."))
    try:
        return read_form(query, b"", b"")
    except BadForm as error:
        rule = "The query can't be read: it must have start and end once each."
        raise Refused(answers.text(400, rule)) from error


def _headers(project: int, hours: Hours, through: Hour) -> tuple[tuple[bytes, bytes], ...]:
    name = f"{project}_{_text(hours.first)}_{_text(through)}.zip"
    return (
        (b"content-type", b"application/zip"),
        (b"content-disposition", f'attachment; filename="{name}"'.encode()),
        (b"x-tailrace-through", _text(through).encode()),
    )


def _refused(rule: str) -> Refused:
    return Refused(answers.text(400, rule))


def _text(hour: Hour) -> str:
    return f"{hour.start:%Y%m%dT%H}"
