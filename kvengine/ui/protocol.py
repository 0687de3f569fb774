"""HTTP over a connection, with a time limit for what uvicorn lets take for ever: the headers."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from kvengine.ui.security import HEADERS


class TimedProtocol(H11Protocol):
    """uvicorn's protocol. A request whose headers take longer than ``head_seconds`` gets 408.

    The time runs from the connection, or from the first byte of a further request.
    """

    head_seconds: float = 10.0

    _limit: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        if self._limit is None and self.conn.their_state is h11.IDLE:
            self._wait()
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._arrived()

    def connection_lost(self, exc: Exception | None) -> None:
        self._arrived()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, msg)

    def _wait(self) -> None:
        self._limit = self.loop.call_later(self.head_seconds, self._late)

    def _arrived(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None

    def _late(self) -> None:
        self._limit = None
        if not self.transport.is_closing():
            self._refuse(408, f"The request did not arrive within {self.head_seconds:g} seconds.")

    def _refuse(self, status: int, reason: str) -> None:
        """An answer where there is no request that a route could answer; then the end."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.close()  # an answer is on its way already
            return
        headers = [(b"content-type", b"application/json"), (b"connection", b"close"), *HEADERS]
        body = json.dumps({"error": reason}).encode()
        headers.append((b"content-length", str(len(body)).encode()))
        for event in (
            h11.Response(status_code=status, headers=headers),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ):
            output = self.conn.send(event)
            if output:
                self.transport.write(output)
        self.transport.close()
