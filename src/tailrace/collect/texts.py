"""The endpoints that take forms and answer with plain text (3.3 to 3.5, D15, D36).

Called by `server`, which turns its own refusals on these paths into text too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from functools import partial
from typing import Any, Protocol, TypeVar

import msgspec

from tailrace.accounts.mappings import UserMapping
from tailrace.collect import answers
from tailrace.collect.answers import Answer, Refused
from tailrace.collect.basic_auth import authenticated
from tailrace.collect.bodies import Body
from tailrace.collect.budget import Share
from tailrace.collect.forms import BadForm, Fields, UnknownForm, read_form
from tailrace.collect.identify import accept_group_identify, accept_identify
from tailrace.collect.keys import Keys, Owner
from tailrace.collect.legacy import accept_legacy
from tailrace.collect.limits import Limits
from tailrace.collect.outflow import Outflow
from tailrace.collect.rules import Accepted
from tailrace.collect.strict import stored_id
from tailrace.collect.usermap import (
    MappingRates,
    UserMappings,
    found_answer,
    mappings_of,
    users_asked,
)
from tailrace.errors import BadRequest, DiskReserve, Transient

# Servers commonly end a request's first line at 8 to 32 KiB.
QUERY_BYTES_MAX = 32_768
# A form above this is taken apart in a thread: its percent signs and its JSON are slow to read.
INLINE_BYTES_MAX = 65_536

Result = TypeVar("Result")

_decode_mappings = msgspec.json.Decoder(list[UserMapping]).decode


class Request(msgspec.Struct, frozen=True):
    """One request with the bytes that it holds so far."""

    scope: MutableMapping[str, Any]
    headers: Mapping[bytes, bytes]
    body: Body
    share: Share
    received_micros: int


class OffLoop(Protocol):
    """Run a call in a thread."""

    def __call__(self, step: Callable[[], Result]) -> Awaitable[Result]: ...


class Desk(msgspec.Struct, frozen=True):
    """What every form needs of the collector.

    `store` makes an accepted upload durable and answers; its last number is the body's bytes.
    """

    keys: Keys
    limits: Limits
    off_loop: OffLoop
    store: Callable[[Request, Owner, Accepted, int], Awaitable[Answer]]


class Form(Protocol):
    """One path that takes forms."""

    methods: tuple[str, ...]

    async def take(self, request: Request) -> Answer | Outflow:
        """Answer the request; raise `Refused`, `Disconnected` or a `Transient`."""
        ...


class UploadForm:
    """A form that stands for an upload; `key_field` holds the API key."""

    def __init__(
        self,
        desk: Desk,
        accept: Callable[[str, Fields, Limits], Accepted],
        *,
        key_field: str = "api_key",
        methods: tuple[str, ...] = ("POST", "GET"),
    ) -> None:
        self.methods = methods
        self._desk = desk
        self._accept = accept
        self._key_field = key_field

    async def take(self, request: Request) -> Answer:
        """Answer 200 once the upload is durable."""
        desk = self._desk
        fields, size = await _fields_of(request, desk)
        api_key, owner = await _owner(fields, self._key_field, desk.keys)
        accept = partial(self._accept, api_key, fields, desk.limits)
        accepted = await _of(owner, _in_place(desk, size, accept))
        request.share.belongs_to(api_key)
        request.share.take(len(accepted.body) - size)
        del fields, accept
        return answers.as_text(await desk.store(request, owner, accepted, size))


class UserMapForm:
    """`/usermap`."""

    methods: tuple[str, ...] = ("POST", "GET")

    def __init__(
        self, desk: Desk, mappings: UserMappings, ask: OffLoop, rates: MappingRates | None
    ) -> None:
        self._desk = desk
        self._mappings = mappings
        self._ask = ask
        self._rates = rates

    async def take(self, request: Request) -> Answer:
        """Answer 200 once the mappings are durable."""
        fields, size = await _fields_of(request, self._desk)
        api_key, owner = await _owner(fields, "api_key", self._desk.keys)
        # As bytes they take what the share counts, while others' mappings are stored.
        encoded = _in_place(self._desk, size, partial(_encoded_mappings, fields))
        count, stored = await _of(owner, encoded)
        request.share.belongs_to(api_key)
        request.share.take(len(stored) - size)
        del fields
        organization, rates = owner.organization, self._rates
        if rates is None:
            return await self._store(organization, stored)
        counted_micros = rates.admit(organization, count)
        if counted_micros is None:
            return answers.text(429, answers.THROTTLED)
        answer = await self._store(organization, stored)
        if answer.status != 200:
            rates.take_back(organization, counted_micros, count)
        return answer

    async def _store(self, organization: int, stored: bytes) -> Answer:
        try:
            await self._ask(lambda: self._mappings.store(organization, _decode_mappings(stored)))
        except DiskReserve:
            return answers.unavailable("The service's disk is nearly full; nothing was stored.")
        except Transient:
            return answers.unavailable("Nothing was stored; try again later.")
        return answers.text(200, answers.SUCCESS)


class UserMapLookUp:
    """`GET /api/2/usermap`; its 200 is JSON."""

    methods: tuple[str, ...] = ("GET",)

    def __init__(self, desk: Desk, mappings: UserMappings, ask: OffLoop) -> None:
        self._desk = desk
        self._mappings = mappings
        self._ask = ask

    async def take(self, request: Request) -> Answer:
        """Answer with what is mapped from and to each of the users."""
        owner = await authenticated(request.headers, self._desk.keys, self._secret_key_is)
        fields, _ = await _fields_of(request, self._desk)
        asked = users_asked(fields)
        try:
            stored = [stored_id(user) for user in asked]
            found = await self._ask(partial(self._mappings.of_users, owner.organization, stored))
        except BadRequest as error:
            return answers.text(413, str(error))
        except Transient:
            return answers.unavailable("The mappings can't be read; try again later.")
        return found_answer(asked, found)

    async def _secret_key_is(self, project: int, secret_key: str) -> bool:
        return await self._ask(partial(self._mappings.secret_key_is, project, secret_key))


def forms(
    desk: Desk, mappings: UserMappings | None, ask: OffLoop, rates: MappingRates | None
) -> dict[str, Form]:
    """Return the forms by path; without a place for mappings, those for mappings are left out."""
    found: dict[str, Form] = {
        "/": UploadForm(desk, accept_legacy, key_field="client", methods=("POST",)),
        "/identify": UploadForm(desk, accept_identify),
        "/groupidentify": UploadForm(desk, accept_group_identify),
    }
    if mappings is not None:
        found["/usermap"] = UserMapForm(desk, mappings, ask, rates)
        found["/api/2/usermap"] = UserMapLookUp(desk, mappings, ask)
    return found


async def _fields_of(request: Request, desk: Desk) -> tuple[Fields, int]:
    """Return the form's fields and the bytes that it took, which the share has counted."""
    query: bytes = request.scope.get("query_string", b"")
    if len(query) > QUERY_BYTES_MAX:
        raise Refused(answers.too_long())
    content = await request.body.read_any(request.share, desk.limits.httpapi_bytes_max)
    request.share.take(len(query))
    size = len(query) + len(content)
    read = partial(read_form, query, request.headers.get(b"content-type", b""), content)
    try:
        return await _in_place(desk, size, read), size
    except BadForm as error:
        raise Refused(answers.text(400, str(error))) from error
    except UnknownForm as error:
        raise Refused(answers.no_form(str(error))) from error


async def _owner(fields: Fields, name: str, keys: Keys) -> tuple[str, Owner]:
    try:
        api_key = fields.get(name, b"").decode()
    except UnicodeDecodeError:
        api_key = ""
    owner = await keys.owner(api_key) if api_key else None
    if owner is None:
        raise Refused(answers.text(400, answers.INVALID_KEY))
    return api_key, owner


async def _of(owner: Owner, taken: Awaitable[Result]) -> Result:
    """Return what is taken of a form; a refusal says whose it is."""
    try:
        return await taken
    except Refused as refused:
        refused.project = owner.project
        raise


def _encoded_mappings(fields: Fields) -> tuple[int, bytes]:
    found = mappings_of(fields)
    return len(found), msgspec.json.encode(found)


async def _in_place(desk: Desk, size: int, step: Callable[[], Result]) -> Result:
    return await desk.off_loop(step) if size > INLINE_BYTES_MAX else step()
