"""A connection to the owner: one request at a time, from any thread."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, TypeVar

import msgspec

from kvengine.errors import DatabaseClosed, ValueTooLarge
from kvengine.share import wire
from kvengine.share.transport import BadFrame, receive, send

_T = TypeVar("_T")

_PATIENCE = 120.0
"""Seconds for an answer. Verbs that may take any time wait for ever."""

_MOST = 2**32 - 1
_parts = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode


class Link:
    """A connection: one request at a time, from any thread."""

    def __init__(self, connection: socket.socket, owner: str, most: int) -> None:
        """``most``: bytes that the owner takes in a request."""
        self._connection = connection
        self._owner = owner
        self._most = most
        self._lock = threading.Lock()
        self.closed = False

    def ask(
        self,
        verb: str,
        kind: Any,
        arguments: dict[str, Any],
        *,
        write: bool = False,
        patience: float | None = _PATIENCE,
    ) -> Any:
        """The answer to a request, as a ``kind``; raises what the owner's verb raised.

        ValueTooLarge for a request that is larger than the owner takes; nothing is sent then.
        """
        data = wire.frame((verb, arguments))
        if len(data) - wire.LENGTH.size > self._most:
            raise ValueTooLarge(
                f"{verb} has {len(data):,} bytes; {self._owner} takes {self._most:,} in a request,"
                " so that its own threads need not wait long: ask for less at a time, or end that"
                " process and open the directory itself"
            )
        with self._lock:
            if self.closed:
                raise DatabaseClosed(f"{self._owner} is no longer connected")
            answer, sent = None, False
            try:
                with suppress(BrokenPipeError):  # what the owner said before it left can be read
                    send(self._connection, data)
                    sent = True
                answer = receive(self._connection, _MOST, patience)
            except (OSError, BadFrame):
                pass
            finally:
                if answer is None:  # an interrupt, too: what comes next would be the answer to this
                    self.close()
        if answer is None:
            # Of a request that was not sent in whole the owner has done nothing.
            doubt = "; whether it was written is not known: read it again" if write and sent else ""
            raise DatabaseClosed(f"{self._owner} closed before it answered{doubt}")
        done, *rest = _parts(answer)
        if wire.decode(done) is not True:
            name, args = map(wire.decode, rest)
            raise wire.raised(name, args)
        return msgspec.msgpack.decode(rest[0], type=kind)

    def walk(self, page: tuple[int | None, list[_T]], kind: Any) -> Iterator[_T]:
        """The items of a walk that the owner holds, page by page."""
        number, items = page
        try:
            while True:
                yield from items
                if number is None:
                    return
                following, number = number, None
                number, items = self.ask("next", kind, {"walk": following})
        finally:
            if number is not None and not self.closed:
                self.ask("end", None, {"walk": number})

    def close(self) -> None:
        self.closed = True
        self._connection.close()
