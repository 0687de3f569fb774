"""Who may use the page: a launch code, good once and not for long, becomes a session's cookie.

The code stands behind the ``#`` of the printed address, which browsers do not send: it is in no
log, no history of a proxy and no Referer. The page hands it over with one POST.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from typing import NamedTuple

from kvengine.real_time import monotonic

CODE_SECONDS = 600.0
"""How long a launch code is good."""

IDLE_SECONDS = 12 * 3600.0
"""How long a session lasts that nobody uses."""


class Session(NamedTuple):
    """A browser that came with the launch code: its cookie's value, its token for writes."""

    token: str
    csrf: str


class Doorkeeper:
    """The launch codes and sessions of one server. Used from its event loop alone."""

    def __init__(self, port: int, clock: Callable[[], float] = monotonic) -> None:
        """``port``: cookies do not tell the ports of a host apart, so their name must."""
        self.cookie: str = f"kvengine-ui-{port}"
        self._instance = secrets.token_hex(8)
        self._clock = clock
        self._codes: dict[str, float] = {}
        self._sessions: dict[str, tuple[Session, float]] = {}

    def new_code(self) -> str:
        """A launch code: good for one session, within `CODE_SECONDS`."""
        code = secrets.token_urlsafe(32)
        self._codes[code] = self._clock() + CODE_SECONDS
        return code

    def redeem(self, code: str) -> Session | None:
        """The session that a launch code begins; None for a code that is wrong, used or old."""
        now, given = self._clock(), code.encode("utf-8", "surrogatepass")
        good = None
        for known, until in list(self._codes.items()):
            if now >= until:
                del self._codes[known]
            elif hmac.compare_digest(known.encode(), given):
                good = known
        if good is None:
            return None
        del self._codes[good]
        session = Session(
            f"{self._instance}.{secrets.token_urlsafe(32)}", secrets.token_urlsafe(32)
        )
        self._sessions[session.token] = (session, now + IDLE_SECONDS)
        return session

    def find(self, cookies: str) -> Session | None:
        """The session that a Cookie header names; None where it names none, or two."""
        given = [
            value.strip()
            for name, _, value in (one.partition("=") for one in cookies.split(";"))
            if name.strip() == self.cookie
        ]
        if len(given) != 1:
            return None
        found, now, token = None, self._clock(), given[0].encode("utf-8", "replace")
        for known, (session, until) in list(self._sessions.items()):
            if now >= until:
                del self._sessions[known]
            elif hmac.compare_digest(known.encode(), token):
                found = session
        if found is not None:
            self._sessions[found.token] = (found, now + IDLE_SECONDS)
        return found

    def set_cookie(self, session: Session) -> str:
        """The Set-Cookie header of a session. Without an age: it goes with the browser."""
        return f"{self.cookie}={session.token}; Path=/; HttpOnly; SameSite=Strict"
