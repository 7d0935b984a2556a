"""Forms: reading them within limits, and telling our own from those of other sites.

A form's token is made from a cookie that only our pages and their browser know; and a browser that
says where a request comes from is believed.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import Request

from tailrace.errors import BadRequest, NotAllowed
from tailrace.ids import Ids
from tailrace.web.cookies import FORM, SESSION, read_cookie

# The largest form is a bucket's with a note; what is above it was not typed.
BODY_BYTES_MAX = 64 * 1024
FIELDS_MAX = 500

TOKEN_FIELD = "form_token"  # noqa: S105
_MAC_BYTES = 16
_COOKIE_BYTES = 16


async def read_form(request: Request) -> Mapping[str, tuple[str, ...]]:
    """Return the fields of a urlencoded body; raise `BadRequest` for another or a larger one."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > BODY_BYTES_MAX:
            raise BadRequest(
                f"Cannot take this form: it has more than {BODY_BYTES_MAX} bytes. Shorten it."
            )
    if body and kind != "application/x-www-form-urlencoded":
        raise BadRequest("Cannot take this form: send it as application/x-www-form-urlencoded.")
    fields: dict[str, tuple[str, ...]] = {}
    try:
        pairs = parse_qsl(
            body.decode("utf-8"), keep_blank_values=True, max_num_fields=FIELDS_MAX, errors="strict"
        )
    except ValueError as error:
        raise BadRequest(
            f"Cannot read this form: it is no UTF-8, or has more than {FIELDS_MAX} fields."
        ) from error
    for name, value in pairs:
        fields[name] = (*fields.get(name, ()), value)
    return fields


def new_form_cookie(ids: Ids) -> str:
    """Return a cookie for a browser that nobody is signed in with."""
    return ids.random_bytes(_COOKIE_BYTES).hex()


def form_token(secret: str, ids: Ids) -> str:
    """Return a token for one answer's forms. `secret` is the cookie that they are tied to.

    It differs each time, so that its compressed length tells nothing of it.
    """
    mask = ids.random_bytes(_MAC_BYTES)
    return (mask + _xor(mask, _mac(secret))).hex()


def tied_to(request: Request) -> str:
    """Return the cookie that this browser's forms are tied to; empty if it has none yet."""
    return read_cookie(request, SESSION) or read_cookie(request, FORM)


def require_own_form(
    request: Request, form: Mapping[str, tuple[str, ...]], public_url: str
) -> None:
    """Raise `NotAllowed` unless one of our pages, shown in this browser, sent the form."""
    if not _is_same_origin(request, public_url):
        raise NotAllowed("This form was sent by another site, so nothing was changed.")
    secret = tied_to(request)
    sent = (form.get(TOKEN_FIELD) or ("",))[-1]
    try:
        decoded = bytes.fromhex(sent)
    except ValueError:
        decoded = b""
    mac = _xor(decoded[:_MAC_BYTES], decoded[_MAC_BYTES:])
    if not secret or len(decoded) != 2 * _MAC_BYTES or not hmac.compare_digest(mac, _mac(secret)):
        raise NotAllowed(
            "This form is of an earlier visit, so nothing was changed. Go back, reload the page "
            "and send it again."
        )


def _is_same_origin(request: Request, public_url: str) -> bool:
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        # "none" is a person's own doing, such as a form that is sent again by reloading.
        return site in ("same-origin", "none")
    # Browsers leave it out where there is no TLS; then they say the origin of every POST.
    origin = request.headers.get("origin")
    if origin is None:
        return True
    hosts = {request.headers.get("host", "").lower()}
    if public_url:
        hosts.add(urlsplit(public_url).netloc.lower())
    return urlsplit(origin).netloc.lower() in hosts


def _mac(secret: str) -> bytes:
    key = secret.encode("utf-8", "surrogatepass")
    return hmac.new(key, b"tailrace form", hashlib.sha256).digest()[:_MAC_BYTES]


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=False))
