"""A connection to the owner: one request at a time, from any thread."""

from __future__ import annotations

import socket
import threading
from collections import deque
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
        self._left: deque[int] = deque()
        """Numbers of walks that were left, of which the owner was not told yet."""
        self.closed: bool = False

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
            sent, answer = self._exchange(data, patience)
            self._tell_of_left()
        if answer is None:
            # Of a request that was not sent in whole the owner has done nothing.
            doubt = "; whether it was written is not known: read it again" if write and sent else ""
            raise DatabaseClosed(f"{self._owner} closed before it answered{doubt}")
        done, *rest = _parts(answer)
        if wire.decode(done) is not True:
            name, args = map(wire.decode, rest)
            raise wire.raised(name, args)
        return msgspec.msgpack.decode(rest[0], type=kind)

    def _exchange(
        self, data: bytes, patience: float | None
    ) -> tuple[bool, bytes | bytearray | None]:
        """Send a request. Return whether that was done, and the answer, None if none came."""
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
        return sent, answer

    def _tell_of_left(self) -> None:
        """Tell the owner of walks that were left. Call with the lock."""
        while self._left and not self.closed:
            self._exchange(wire.frame(("end", {"walk": self._left.popleft()})), _PATIENCE)

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
            if number is not None:
                self._left.append(number)
                # A finalizer may be here within a request of this very thread, which then tells.
                if self._lock.acquire(blocking=False):
                    try:
                        self._tell_of_left()
                    finally:
                        self._lock.release()

    def close(self) -> None:
        self.closed = True
        self._connection.close()
