"""What a request may take: bytes of its body, seconds to arrive. Past either it is refused."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request

from kvengine.ui.refusal import Refused

_T = TypeVar("_T")

KIB = 1024
MIB = 1024 * KIB

INLINE = 64 * KIB
"""A larger value is sent only when its entry is asked for."""

EDITABLE = 4 * MIB
"""A larger value is shown by its beginning, and not edited here: its hexadecimal form would not
fit into a request."""

LONGEST_HEAD = 1 * MIB
"""Bytes of a request line and headers: names of 64 KiB, percent-encoded, stand in addresses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of requests. Sizes in bytes, times in seconds.

    ``body``: of a write. ``head_seconds``, ``body_seconds``: until request line and headers, and
    until the whole body, have arrived. ``connections``: open at a time; others get 503.
    """

    body: int = 8 * MIB
    head_seconds: float = 10.0
    body_seconds: float = 20.0
    connections: int = 64


async def read_body(request: Request, limits: Limits) -> bytes:
    """The body, counted as it arrives: Refused with 413 past the limit, 408 past the time."""
    body = bytearray()
    try:
        async with asyncio.timeout(limits.body_seconds):
            async for piece in request.stream():
                body += piece
                if len(body) > limits.body:
                    raise Refused(413, f"The body is over the limit of {limits.body:,} bytes.")
    except TimeoutError:
        seconds = f"{limits.body_seconds:g}"
        raise Refused(408, f"The body did not arrive within {seconds} seconds.") from None
    except ClientDisconnect:
        raise Refused(400, "The request broke off within its body.") from None
    return bytes(body)


def read_json(body: bytes, kind: type[_T]) -> _T:
    """The body as a ``kind``; Refused with 400 for anything else."""
    try:
        return msgspec.json.decode(body, type=kind)
    except RecursionError:
        raise Refused(400, "The JSON of the body is nested too deeply.") from None
    except (msgspec.MsgspecError, UnicodeError, ValueError) as error:
        raise Refused(400, f"The body is not what this address takes: {error}.") from None
