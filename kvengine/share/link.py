"""A connection to the owner: one request at a time, from any thread."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec

from kvengine.errors import DatabaseClosed
from kvengine.share import wire
from kvengine.share.transport import BadFrame, receive, send

_T = TypeVar("_T")

_PATIENCE = 120.0
"""Seconds for an answer. Verbs that may take any time wait for ever."""

_MOST = 2**32 - 1
_parts = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode


class Link:
    """A connection: one request at a time, from any thread."""

    def __init__(self, connection: socket.socket, owner: str) -> None:
        self._connection = connection
        self._owner = owner
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
        """The answer to a request, as a ``kind``; raises what the owner's verb raised."""
        data = wire.frame((verb, arguments))
        with self._lock:
            if self.closed:
                raise DatabaseClosed(f"{self._owner} is no longer connected")
            answer = None
            try:
                send(self._connection, data)
                answer = receive(self._connection, _MOST, patience)
            except (OSError, BadFrame):
                pass
            finally:
                if answer is None:  # an interrupt, too: what comes next would be the answer to this
                    self.close()
        if answer is None:
            doubt = "; whether it was written is not known: read it again" if write else ""
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
