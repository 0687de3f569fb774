"""The guard before every route: who asks, from where, in what form. Plain ASGI.

Checked in this order, each with an answer of its own: the form of the address and of the headers
(400), Host (421), the method (405), where the request comes from (403), the form of a write (415),
its length (413), the session (401), the token of a write (403). Nothing of the body is read, and
no store is asked, before all of it holds.

A page of another site cannot get past Host, Origin and Sec-Fetch-Site; one of another port of
this host (the same site, for cookies) neither, for both name the port.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kvengine.inspection import escape
from kvengine.ui import audit
from kvengine.ui.launch import Doorkeeper, Session
from kvengine.ui.limits import Limits
from kvengine.ui.refusal import Refused

CSRF = b"x-kvengine-csrf"
LAUNCH = "/api/launch"
METHODS = "GET, HEAD, POST"

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)

HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-embedder-policy", b"require-corp"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=()"),
    (b"cache-control", b"no-store"),
)
"""Of every answer, refusals too."""

_ONCE = (b"host", b"origin", b"sec-fetch-site", b"content-type", b"content-length", b"cookie", CSRF)
_LONGEST_SHOWN = 200


class Guard:
    """Middleware: refuses what `security` lists, and puts the headers on every answer."""

    def __init__(
        self, app: ASGIApp, hosts: frozenset[str], door: Doorkeeper, limits: Limits
    ) -> None:
        """``hosts``: what Host may say, with the port."""
        self._app = app
        self._hosts = hosts
        self._door = door
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"the page speaks HTTP alone, not {scope['type']}")
        guarded = _with_headers(send)
        try:
            scope["session"] = self._check(scope)
        except Refused as no:
            if scope["method"] == "POST":
                audit.refused(_shown(scope), no.status, no.reason)
            await no.answer()(scope, receive, guarded)
            return
        await self._app(scope, receive, guarded)

    def _check(self, scope: Scope) -> Session | None:
        """The session of a request, None where it needs none. Refused where it is not let in."""
        headers = _headers(scope)
        method, path = scope["method"], scope["path"]
        if not path.startswith("/") or not scope["raw_path"].startswith(b"/"):
            raise Refused(400, "The address must begin with a slash: this is no proxy.")
        host = headers.get(b"host", "")
        if host not in self._hosts:
            known = ", ".join(sorted(self._hosts))
            raise Refused(421, f"This page is served as {known} and under no other name.")
        if method not in ("GET", "HEAD", "POST"):
            raise Refused(405, f"Only {METHODS} are served here.", headers={"Allow": METHODS})
        api = path.startswith("/api/")
        _check_origin(method, api, host, headers)
        if method == "POST":
            self._check_form(headers)
        if not api or path == LAUNCH:
            return None
        session = self._door.find(headers.get(b"cookie", ""))
        if session is None:
            raise Refused(
                401, "Open the link that kvengine ui printed: this browser has no session."
            )
        if method == "POST" and not _same(headers.get(CSRF, ""), session.csrf):
            raise Refused(403, "The request does not carry the token of this page; reload it.")
        return session

    def _check_form(self, headers: dict[bytes, str]) -> None:
        kind = [part.strip().lower() for part in headers.get(b"content-type", "").split(";")]
        if kind not in (["application/json"], ["application/json", "charset=utf-8"]):
            raise Refused(415, "Writes are application/json.")
        if b"content-encoding" in headers:
            raise Refused(415, "Writes are not compressed.")
        if b"transfer-encoding" in headers and b"content-length" in headers:
            raise Refused(400, "A body has a length or comes in chunks, not both.")
        length = headers.get(b"content-length", "0")
        if not (length.isascii() and length.isdigit()):
            raise Refused(400, "Content-Length is not a number.")
        if len(length) > 18 or int(length) > self._limits.body:
            raise Refused(413, f"The body is over the limit of {self._limits.body:,} bytes.")


def _headers(scope: Scope) -> dict[bytes, str]:
    """The headers; Refused where one that decides anything comes twice."""
    found: dict[bytes, str] = {}
    for name, value in scope["headers"]:
        if name in found and name in _ONCE:
            raise Refused(400, f"The header {name.decode('ascii', 'replace')} comes twice.")
        found[name] = value.decode("latin-1")
    return found


def _check_origin(method: str, api: bool, host: str, headers: dict[bytes, str]) -> None:
    """Data goes to this page alone, and writes come from it alone."""
    site = headers.get(b"sec-fetch-site")
    if method == "POST":
        if headers.get(b"origin") != f"http://{host}":
            raise Refused(403, "Writes come from this page, and Origin says otherwise.")
        if site not in (None, "same-origin"):
            raise Refused(403, "Writes come from this page, and Sec-Fetch-Site says otherwise.")
    elif api:
        if headers.get(b"origin", f"http://{host}") != f"http://{host}":
            raise Refused(403, "Data goes to this page alone, and Origin says otherwise.")
        if site not in (None, "same-origin", "none"):
            raise Refused(403, "Data goes to this page alone, and Sec-Fetch-Site says otherwise.")


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())


def _shown(scope: Scope) -> str:
    return escape.text(str(scope["path"]), _LONGEST_SHOWN)


def _with_headers(send: Send) -> Callable[[Message], Awaitable[None]]:
    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            own: list[Any] = [tuple(one) for one in message.get("headers", [])]
            given = {name.lower() for name, _ in own}
            message["headers"] = own + [one for one in HEADERS if one[0] not in given]
        await send(message)

    return guarded
