"""Who may talk to the desk: the browser of the person who opened it, and no other page, program or machine.

The server listens on the loopback interface alone. Its address carries a token once, in the part behind the # that
browsers do not send; the page trades it for a cookie that other sites cannot use. Requests with another Host (a name
that somebody pointed at this machine) are refused, and so are writes that another page began (Origin). Nothing that is
asked for with GET changes anything. Bodies are JSON of a limited size.

References:
    OWASP Cheat Sheet Series: Cross-Site Request Forgery Prevention; HTTP Security Response Headers.
    W3C Content Security Policy Level 3.
"""

from __future__ import annotations

import hmac
import json
import logging
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

COOKIE = "frazil_desk"
MOST_BYTES = 8 * 2**20  #: of a request's body
_POLICY = (
    b"default-src 'self'; img-src 'self' blob: data:; style-src 'self'; script-src 'self'; connect-src 'self'; "
    b"object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = (
    (b"content-security-policy", _POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
_OPEN = ("/", "/session")  # before there is a cookie; and what the page itself is made of
log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Guard:
    """An ASGI application that lets through to another what the module says.

    Args:
        app: the other one.
        port: that the server listens on.
        token: of the address; drawn if not given.

    Attributes:
        token: likewise.
        cookie: that stands for it from then on.
    """

    def __init__(self, app: App, port: int, token: str | None = None) -> None:
        self.app, self.port = app, port
        self.token = token or secrets.token_urlsafe(24)
        self.cookie = secrets.token_urlsafe(24)

    @property
    def hosts(self) -> tuple[str, ...]:
        """What a browser on this machine writes as Host."""
        return tuple(f"{name}:{self.port}" for name in ("127.0.0.1", "localhost"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the class."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        path, method = scope["path"], scope["method"]
        why = self._why_not(headers, path, method)
        if why is not None:
            log.info("refused %s %.80s: %s", method, path, why[1])
            await _answer(send, *why)
            return
        body = b""
        if method == "POST":
            body = await _body(receive)
            if len(body) > MOST_BYTES:
                await _answer(send, 413, f"A request may have {MOST_BYTES} bytes at most.")
                return
            if path == "/session":
                await self._trade(body, send)
                return
            log.info("%s %.80s, %d bytes", method, path, len(body))
        sent = False

        async def once() -> Message:
            nonlocal sent
            if sent:
                return await receive()
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *HEADERS]
            await send(message)

        await self.app(scope, once, with_headers)

    def _why_not(self, headers: dict[str, str], path: str, method: str) -> tuple[int, str] | None:
        """Status and reason of a request that is refused."""
        if headers.get("host", "") not in self.hosts:
            return 400, "This desk answers to the address that it printed alone."
        if method not in ("GET", "HEAD", "POST"):
            return 405, "GET and POST alone are answered."
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return 403, "Another site asked for this."
        if method == "POST":
            if headers.get("origin", "") not in [f"http://{host}" for host in self.hosts]:
                return 403, "Another page, or none, asked for this."
            if headers.get("content-type", "").partition(";")[0].strip() != "application/json":
                return 415, "JSON alone is read."
            length = headers.get("content-length", "0")
            if not length.isdigit() or int(length) > MOST_BYTES:
                return 413, f"A request may have {MOST_BYTES} bytes at most."
        if path in _OPEN or path.startswith("/static/"):
            return None
        if not _has_cookie(headers.get("cookie", ""), self.cookie):
            return 401, "Open the desk by the address that it printed."
        return None

    async def _trade(self, body: bytes, send: Send) -> None:
        """Give the cookie for the token, once: who reads the address later gets nothing."""
        try:
            given = json.loads(body)["token"]
            right = isinstance(given, str) and hmac.compare_digest(given.encode(), self.token.encode())
        except (ValueError, KeyError, TypeError):
            right = False
        if not right:
            await _answer(
                send, 401, "This address was used already, or is another's. Start the desk again for a new one."
            )
            return
        self.token = secrets.token_urlsafe(24)
        cookie = f"{COOKIE}={self.cookie}; Path=/; HttpOnly; SameSite=Strict"
        await _answer(send, 200, "", ((b"set-cookie", cookie.encode()),))


def _has_cookie(text: str, wanted: str) -> bool:
    for part in text.split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE and hmac.compare_digest(value.encode("latin-1"), wanted.encode()):
            return True
    return False


async def _body(receive: Receive) -> bytes:
    """The body; of one that is longer than allowed a little more than that."""
    parts, length = [], 0
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        length += len(parts[-1])
        if length > MOST_BYTES or not message.get("more_body", False):
            return b"".join(parts)


async def _answer(send: Send, status: int, text: str, more: tuple[tuple[bytes, bytes], ...] = ()) -> None:
    body = json.dumps({"error": text} if text else {"ok": True}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *HEADERS, *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
