"""`Collector`: the ASGI application that takes uploads and answers once they are durable.

Bare ASGI, because a framework costs as much as the decoding does. `runtime` serves it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import structlog

from tailrace import killpoints
from tailrace.clock import Clock
from tailrace.collect import answers
from tailrace.collect.answers import Answer, Refused
from tailrace.collect.bodies import Body, Disconnected, Receive
from tailrace.collect.budget import Budget, Share
from tailrace.collect.client_address import Network, client_address
from tailrace.collect.counters import Counters
from tailrace.collect.export_api import PATH as EXPORT_PATH
from tailrace.collect.export_api import ExportApi
from tailrace.collect.export_found import SealedExports
from tailrace.collect.fast import open_fast
from tailrace.collect.keys import Keys, Owner
from tailrace.collect.limits import Endpoint, Limits, upload_endpoints
from tailrace.collect.outflow import ClientGone, Outflow, TooSlow, pour
from tailrace.collect.patience import Patience
from tailrace.collect.rates import EventIds, Rates, Throttled, event_ids
from tailrace.collect.reading import open_upload
from tailrace.collect.refusals import Refusals
from tailrace.collect.rules import Accepted
from tailrace.collect.texts import Desk, Request, forms
from tailrace.collect.times import client_upload_micros
from tailrace.collect.usermap import MappingRates, UserMappings
from tailrace.errors import BadRequest, ClockStepped, Corrupt, DiskReserve, Transient
from tailrace.log.record import Record

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Result = TypeVar("Result")

_log = structlog.get_logger(__name__)


class Collector:
    """Answer every HTTP request: uploads, pre-flights and refusals.

    `append` makes a record durable and returns its stamp (microseconds). A `Transient` from it
    says that nothing was stored (503); any other exception says that the record may be stored
    (500) and is handed to `log_failed`, after which the process should end. Without `mappings`,
    the paths of user mappings are not served, and without `exports` the Export API is not.
    """

    def __init__(
        self,
        append: Callable[[Record], Awaitable[int]],
        keys: Keys,
        clock: Clock,
        *,
        limits: Limits,
        rates: Rates | None = None,
        trusted_proxies: Sequence[Network] = (),
        mappings: UserMappings | None = None,
        exports: SealedExports | None = None,
        log_failed: Callable[[Exception], None] = lambda _: None,
    ) -> None:
        self.counters = Counters()
        self.refusals = Refusals()
        self.budget = Budget(limits.flight_bytes_max, limits.flight_wait_seconds)
        self._append = append
        self._keys = keys
        self._clock = clock
        self._limits = limits
        self._rates = rates
        self._trusted_proxies = tuple(trusted_proxies)
        self._log_failed = log_failed
        self._endpoints = upload_endpoints(limits)
        self._patience = Patience(min(limits.body_idle_seconds, limits.body_total_seconds))
        # One thread: large bodies are decoded one at a time.
        self._large = ThreadPoolExecutor(1, thread_name_prefix="large-bodies")
        # Another for what waits for a database.
        self._asking = ThreadPoolExecutor(1, thread_name_prefix="mappings")
        self._forms = forms(
            Desk(keys, limits, self._off_loop, self._store_form),
            mappings,
            self._ask,
            None if rates is None else MappingRates(clock.steady_micros),
        )
        self._exports = None if exports is None else ExportApi(keys, limits, exports)
        if self._exports is not None:
            self._forms[EXPORT_PATH] = self._exports

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; only `http` scopes are known."""
        if scope["type"] != "http":
            return
        received_micros = self._clock.now_micros()
        headers = dict(scope["headers"])
        body = Body(receive, headers, self._limits, self._patience)
        try:
            answer = await self._answer(scope, headers, body, received_micros)
            if not body.complete:
                await body.discard()
        except Disconnected:
            self.counters.disconnected += 1
            return
        self.counters.requests[answer.status] += 1
        if isinstance(answer, Outflow):
            await self._pour(answer, send)
            return
        start = answers.headers_of(answer)
        if not body.complete:
            start.append((b"connection", b"close"))
        try:
            await send({"type": "http.response.start", "status": answer.status, "headers": start})
            await send({"type": "http.response.body", "body": answer.body})
        except RuntimeError:
            # The event loop's way of saying that the client closed the connection meanwhile.
            self.counters.disconnected += 1

    async def _pour(self, outflow: Outflow, send: Send) -> None:
        try:
            await pour(outflow, send)
        except ClientGone:
            self.counters.disconnected += 1
        except (TooSlow, Corrupt, OSError) as error:
            # The client sees an end short of the length; only this says why.
            self.counters.exports_cut += 1
            _log.warning("export_cut", reason=str(error))

    def take_whole(self, scope: Scope, body: bytes, respond: Callable[[Answer], None]) -> bool:
        """Take an upload as SDKs send it, small and whole and canonical, without a task of its own.

        `respond` is called once, later, when the record is durable or is known not to be. For any
        other request nothing is done and False returned: `__call__` finds out what it is.
        """
        limits = self._limits
        endpoint = self._endpoints.get(scope["path"])
        if endpoint is None or scope["method"] != "POST" or self._rates is not None:
            return False
        if len(body) > min(endpoint.body_bytes_max, limits.inline_bytes_max) or self.budget.is_full:
            return False
        if any(name == b"content-encoding" for name, _ in scope["headers"]):
            return False
        received_micros = self._clock.now_micros()
        opened = open_fast(body, limits)
        if opened is None:
            return False
        share = self.budget.share()
        try:
            owner = self._keys.known(opened.api_key)
            accepted = None if owner is None else opened.accept()
            if owner is None or accepted is None:
                return False
            share.take(len(body))
            share.belongs_to(opened.api_key)
            record = self._record(scope, endpoint.path, owner, accepted, received_micros)
            began_micros = self._clock.steady_micros()
            stamp = asyncio.ensure_future(self._append(record))
        except Exception:
            # Stale keys, no room, a log that takes nothing: `__call__` meets the same and answers.
            share.give_back()
            return False

        def finish(stamp: asyncio.Future[int]) -> None:
            share.give_back()
            try:
                answer = self._durable(record, len(body), stamp.result(), began_micros)
            except Exception as error:
                answer = self._not_durable(record, error)
            self.counters.requests[answer.status] += 1
            try:
                respond(answer)
            except RuntimeError:
                # The event loop's way of saying that the client closed the connection meanwhile.
                self.counters.disconnected += 1

        stamp.add_done_callback(finish)
        return True

    async def _answer(
        self, scope: Scope, headers: dict[bytes, bytes], body: Body, received_micros: int
    ) -> Answer | Outflow:
        if scope["method"] == "OPTIONS":
            return answers.preflight(headers.get(b"access-control-request-headers"))
        endpoint = self._endpoints.get(scope["path"])
        form = self._forms.get(scope["path"])
        if endpoint is not None:
            return await self._guarded(
                scope,
                ("POST",),
                lambda share: self._upload(scope, endpoint, body, share, received_micros),
            )
        if form is None:
            return answers.invalid_path()

        def take(share: Share) -> Awaitable[Answer | Outflow]:
            return form.take(Request(scope, headers, body, share, received_micros))

        answer = await self._guarded(scope, form.methods, take)
        # What a form's own 200 is, text or not, is the form's business.
        if isinstance(answer, Outflow) or answer.status == 200:
            return answer
        return answers.as_text(answer)

    async def _guarded(
        self,
        scope: Scope,
        methods: Sequence[str],
        take: Callable[[Share], Awaitable[Answer | Outflow]],
    ) -> Answer | Outflow:
        """Return what `take` answers, or the answer to what it raises."""
        if scope["method"] not in methods:
            return answers.method_not_allowed(methods)
        try:
            with self.budget.share() as share:
                return await take(share)
        except Refused as refused:
            if refused.project is not None:
                self._note(refused.project, scope["path"], refused.answer)
            return refused.answer
        except Transient as busy:
            return answers.unavailable(str(busy))
        except Disconnected:
            raise
        except Exception:
            # The outermost place: nothing has been handed to the log, whatever this was. The path
            # alone is told: a query holds keys.
            _log.exception("request_failed", path=scope["path"])
            return answers.maybe_stored()

    async def _upload(
        self, scope: Scope, endpoint: Endpoint, body: Body, share: Share, received_micros: int
    ) -> Answer:
        if not self._keys.readable:
            return answers.unavailable("The API keys can't be read; try again later.")
        content = await body.read(share, endpoint.body_bytes_max)
        body_bytes = len(content)
        large = body_bytes > self._limits.inline_bytes_max
        api_key, stored = await self._judge(content, off_loop=large)
        if stored is None:
            # What was decoded is gone: it takes many times its bytes, and many may wait here.
            if await self._keys.owner(api_key) is None:
                return self._unknown_key(api_key)
            api_key, stored = await self._judge(content, off_loop=large)
        if stored is None:
            return self._unknown_key(api_key)
        owner, accepted = stored
        share.belongs_to(api_key)
        share.take(len(accepted.body) - body_bytes)
        del content
        record = self._record(scope, endpoint.path, owner, accepted, received_micros)
        return await self._store(record, body_bytes)

    def _unknown_key(self, api_key: str) -> Answer:
        if not self._keys.is_portfolio(api_key):
            return answers.invalid_api_key(api_key)
        return answers.invalid_api_key(
            api_key,
            "This is a portfolio project, a view over other projects, and can't receive events. "
            "Use an API key of one of the projects that it shows.",
        )

    async def _store_form(
        self, request: Request, owner: Owner, accepted: Accepted, body_bytes: int
    ) -> Answer:
        scope = request.scope
        record = self._record(scope, scope["path"], owner, accepted, request.received_micros)
        return await self._store(record, body_bytes)

    async def _store(self, record: Record, body_bytes: int) -> Answer:
        if self._rates is None:
            return await self._make_durable(record, body_bytes)
        read_ids = partial(event_ids, record.body)
        large = body_bytes > self._limits.inline_bytes_max
        ids = await self._off_loop(read_ids) if large else read_ids()
        return await self._make_durable_in_turn(record, body_bytes, self._rates, ids)

    def _record(
        self,
        scope: Scope,
        path: str,
        owner: Owner,
        accepted: Accepted,
        received_micros: int,
    ) -> Record:
        peer = scope["client"][0] if scope.get("client") else ""
        return Record(
            organization=owner.organization,
            project=owner.project,
            endpoint=path,
            received_micros=received_micros,
            client_upload_micros=client_upload_micros(accepted.client_upload_time),
            client_address=client_address(peer, scope["headers"], self._trusted_proxies),
            events=accepted.events,
            body=accepted.body,
        )

    async def _judge(
        self, content: bytes, *, off_loop: bool
    ) -> tuple[str, tuple[Owner, Accepted] | None]:
        """Return the API key, and its owner with what is accepted; None for a key not known yet.

        The body is decoded and let go in one step, so that of many large ones only one at a time
        is in memory in its decoded form.
        """

        def judge() -> tuple[str, tuple[Owner, Accepted] | None]:
            upload = open_upload(content, self._limits, self.counters)
            owner = self._keys.known(upload.api_key)
            if owner is None:
                return upload.api_key, None
            try:
                return upload.api_key, (owner, upload.accept())
            except Refused as refused:
                refused.project = owner.project
                raise

        return await self._off_loop(judge) if off_loop else judge()

    async def _make_durable_in_turn(
        self, record: Record, body_bytes: int, rates: Rates, ids: Sequence[EventIds]
    ) -> Answer:
        """Refuse those who send too fast; count only what is stored."""
        verdict = rates.admit(record.endpoint, record.project, ids, self._clock.steady_micros())
        self.counters.rates_forgotten = rates.forgotten
        if isinstance(verdict, Throttled):
            self.counters.events_throttled += len(verdict.events)
            return self._note(record.project, record.endpoint, answers.throttled(verdict))
        answer = await self._make_durable(record, body_bytes)
        if answer.status != 200:
            rates.take_back(verdict)
        return answer

    async def _make_durable(self, record: Record, body_bytes: int) -> Answer:
        """Return 200 only after the log said that the record is on disk."""
        began_micros = self._clock.steady_micros()
        try:
            stamp_micros = await self._append(record)
        except Exception as error:
            return self._not_durable(record, error)
        return self._durable(record, body_bytes, stamp_micros, began_micros)

    def _durable(
        self, record: Record, body_bytes: int, stamp_micros: int, began_micros: int
    ) -> Answer:
        """Return the 200 for what is on disk, and count it."""
        killpoints.reached("collect.durable")
        waited_micros = self._clock.steady_micros() - began_micros
        self.counters.append_wait_seconds += waited_micros / 1_000_000
        self.counters.events_accepted += record.events
        self.counters.bytes_accepted += body_bytes
        return answers.accepted(stamp_micros, body_bytes, record.events)

    def _not_durable(self, record: Record, error: Exception) -> Answer:
        """Return the answer to a failed append, and keep it for those who ask."""
        answer = _answer_to(error)
        if answer is None:
            self.counters.log_failures += 1
            self._log_failed(error)
            answer = answers.maybe_stored()
        return self._note(record.project, record.endpoint, answer)

    def _note(self, project: int, path: str, answer: Answer) -> Answer:
        now = self._clock.now_micros()
        self.refusals.note(now, project, path, answer.status, answer.body)
        return answer

    async def _off_loop(self, step: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._large, step)

    async def _ask(self, step: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._asking, step)

    def close(self) -> None:
        """End all threads."""
        if self._exports is not None:
            self._exports.close()
        self._large.shutdown(wait=False, cancel_futures=True)
        self._asking.shutdown(wait=False, cancel_futures=True)


def _answer_to(error: Exception) -> Answer | None:
    """Return the answer to an append that surely stored nothing; None for any other failure."""
    match error:
        case ClockStepped():
            return answers.unavailable("The service's clock stepped; nothing was stored.")
        case DiskReserve():
            return answers.unavailable("The service's disk is nearly full; nothing was stored.")
        case BadRequest():
            return answers.too_large("The log takes no record of this size; nothing was stored.")
        case Transient():
            return answers.unavailable("Nothing was stored; try again later.")
    return None
