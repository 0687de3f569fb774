"""Answers that say no: one sentence of JSON, with the status that browsers and scripts know."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from kvengine.errors import (
    CorruptionError,
    DatabaseClosed,
    DatabaseLocked,
    KVEngineError,
    ReadOnly,
    ValueTooLarge,
    WriteFailed,
)
from kvengine.passwords import without_passwords

log: logging.Logger = logging.getLogger("kvengine.ui")

_encode = msgspec.json.Encoder().encode

_STATUS: tuple[tuple[type[Exception], int], ...] = (
    (ReadOnly, 403),
    (ValueTooLarge, 413),
    (DatabaseClosed, 503),
    (DatabaseLocked, 503),
    (WriteFailed, 503),
    (CorruptionError, 500),
    (KVEngineError, 503),
    (OSError, 503),
    (ValueError, 400),
)
"""The first class that fits counts."""


class Refused(Exception):
    """A request that is not carried out. ``more`` goes into the answer beside the reason."""

    def __init__(
        self,
        status: int,
        reason: str,
        *,
        headers: dict[str, str] | None = None,
        more: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason
        self.headers = headers
        self.more: dict[str, Any] = more or {}

    def answer(self) -> Response:
        return answer({"error": self.reason, **self.more}, self.status, self.headers)


def answer(data: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A response of JSON."""
    return Response(_encode(data), status, headers, "application/json")


def refused(error: Exception) -> Refused:
    """What to answer where a verb raised ``error``."""
    if isinstance(error, Refused):
        return error
    for kind, status in _STATUS:
        if isinstance(error, kind):
            reason = without_passwords(str(error)) or type(error).__name__
            return Refused(status, reason[:1].upper() + reason[1:] + "." * (reason[-1:] != "."))
    log.error("a request failed", exc_info=error)
    return Refused(500, "This request failed here; the terminal of kvengine ui says more.")


RAISED: tuple[type[Exception], ...] = (Refused, KVEngineError, OSError, ValueError, Exception)
"""What a route may raise, for starlette: all but the last without a traceback in the terminal."""


async def on_error(request: Request, error: Exception) -> Response:
    """For starlette: any exception of a route."""
    del request
    return refused(error).answer()


async def on_http_error(request: Request, error: Exception) -> Response:
    """For starlette: addresses and methods that no route takes."""
    status = getattr(error, "status_code", 500)
    headers = getattr(error, "headers", None)
    if status == 404:
        reason = "There is nothing at this address."
    elif status == 405:
        reason = f"{request.method} is not what this address takes."
    else:
        reason = f"The request was refused ({status})."
    return Refused(status, reason, headers=headers).answer()
