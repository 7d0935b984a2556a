"""Checks of a bucket's access, shown as they happen; a page that has no script gets them whole.

A form posts to the page that calls `checked`. The browser that asks for a stream gets a fragment
after each probe, and at last what came of all of them.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from tailrace.errors import Transient
from tailrace.export.verify import Step, Told, Verification, nobody
from tailrace.web.check_rows import Checks, checks
from tailrace.web.page import Visit
from tailrace.web.trouble import Trouble, trouble_of

# Each holds a thread of this process, and a page may be reloaded at any pace.
CHECKS_MAX = 16
# A store that hangs is given up by each probe after at most this time; see `ClientSettings`.
SILENCE_SECONDS = 45.0

STREAM = "text/event-stream"

_free = threading.BoundedSemaphore(CHECKS_MAX)

Probe = Callable[[Told], Verification]


class Ended(msgspec.Struct, frozen=True):
    """What came of the checks: what they found, or the trouble that they met."""

    rows: Checks
    found: Verification | None
    trouble: Trouble | None = None


def checked(
    visit: Visit,
    probe: Probe,
    *,
    whole: Callable[[Ended], Response],
    live: Callable[[Checks], str],
    end: Callable[[Ended], str],
) -> Response:
    """Run the probes, and answer as the browser asks: with a stream of fragments, or a page.

    `probe` runs to its end also if the browser goes away, so that nothing is left in the bucket.
    Raise `Transient` while `CHECKS_MAX` of them run.
    """
    if STREAM not in visit.request.headers.get("accept", ""):
        return whole(_at_once(probe))
    if not _free.acquire(blocking=False):
        raise _too_many()
    told: queue.SimpleQueue[Step | Verification | Exception] = queue.SimpleQueue()
    threading.Thread(target=_run, args=(probe, told), name="web-check", daemon=True).start()
    pieces = _pieces(visit.request, told, live, end)
    headers = {"X-Accel-Buffering": "no", "Cache-Control": "no-store"}
    return StreamingResponse(pieces, media_type=STREAM, headers=headers)


def _at_once(probe: Probe) -> Ended:
    if not _free.acquire(blocking=False):
        raise _too_many()
    try:
        found = probe(nobody)
    finally:
        _free.release()
    return Ended(checks(found.steps, running=False), found)


def _run(probe: Probe, told: queue.SimpleQueue[Step | Verification | Exception]) -> None:
    try:
        told.put(probe(told.put))
    except Exception as error:
        # The outermost place of this thread: whoever follows the checks puts it into words.
        told.put(error)
    finally:
        _free.release()


def _pieces(
    request: Request,
    told: queue.SimpleQueue[Step | Verification | Exception],
    live: Callable[[Checks], str],
    end: Callable[[Ended], str],
) -> Iterator[str]:
    steps: list[Step] = []
    yield _message(live(checks(steps, running=True)))
    while True:
        try:
            said = told.get(timeout=SILENCE_SECONDS)
        except queue.Empty:
            said = Transient(
                f"The store has not answered for {SILENCE_SECONDS:.0f} seconds. Check its address "
                "and whether this machine reaches it, then check again."
            )
        match said:
            case Step():
                steps.append(said)
                yield _message(live(checks(steps, running=True)))
            case Verification():
                yield _message(end(Ended(checks(said.steps, running=False), said)))
                return
            case _:
                rows = checks(steps, running=False)
                yield _message(end(Ended(rows, None, trouble_of(request, said))))
                return


def _message(html: str) -> str:
    """Return one message of a stream: each line of it is a field (HTML standard, 9.2.6)."""
    return "".join(f"data: {line}\n" for line in html.splitlines()) + "\n"


def _too_many() -> Transient:
    return Transient(
        f"{CHECKS_MAX} checks of buckets are under way on this installation, and no more can run "
        "at once. Try again in a minute."
    )
