"""Headers of every answer: what a browser may load, frame and tell others."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tailrace.accounts.first_run import first_run_path
from tailrace.accounts.sign_in_links import join_path

POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'self'"
)

HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

# From addresses that begin so, a browser tells the next page and whatever is between only the host,
# never the token behind it. "no-referrer" would have it send forms as if from elsewhere.
_OF_TOKENS = (join_path(""), first_run_path("").partition("?")[0])
HEADERS_OF_TOKENS = {**HEADERS, "Referrer-Policy": "strict-origin"}


class SecureHeaders:
    """Add the headers to every answer, errors too; pages are kept by nobody, static files are."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        added = HEADERS_OF_TOKENS if scope["path"].startswith(_OF_TOKENS) else HEADERS

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in added.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self._app(scope, receive, send_with_headers)
