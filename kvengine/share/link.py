"""A connection to the owner: one request at a time, from any thread."""

from __future__ import annotations

import socket
import threading
from collections import deque
from contextlib import suppress
from typing import Any, Generic, Self, TypeVar

import msgspec

from kvengine.errors import DatabaseClosed, ValueTooLarge
from kvengine.share import wire
from kvengine.share.transport import BadFrame, receive, send

T = TypeVar("T")

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
        self._abandoned: deque[int] = deque()
        """Numbers of walks abandoned here that the owner does not know about yet."""
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
            self._end_abandoned()
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
        """Send a request. Return whether it was sent in full, and the answer, if one came."""
        answer, sent = None, False
        try:
            with suppress(BrokenPipeError):  # an answer sent before the owner hung up can be read
                send(self._connection, data)
                sent = True
            answer = receive(self._connection, _MOST, patience)
        except (OSError, BadFrame):
            pass
        finally:
            if answer is None:  # an interrupt, too: what comes next would be the answer to this
                self.close()
        return sent, answer

    def _end_abandoned(self) -> None:
        """Tell the owner of abandoned walks. Call with the lock."""
        while self._abandoned and not self.closed:
            self._exchange(wire.frame(("end", {"walk": self._abandoned.popleft()})), _PATIENCE)

    def abandon(self, number: int) -> None:
        """Let the owner forget a walk: now, or at the end of the request that is under way.

        A finalizer may call this within a request of its own thread.
        """
        self._abandoned.append(number)
        if not self._lock.locked():
            with self._lock:
                self._end_abandoned()

    def close(self) -> None:
        self.closed = True
        self._connection.close()


class RemoteWalk(Generic[T]):
    """What a walk finds that the owner holds, page by page. Dropped or closed, it ends there too.

    No generator: one that was never begun would end nothing.
    """

    def __init__(self, link: Link, page: tuple[int | None, list[T]], kind: Any) -> None:
        """``page``: the number of the walk, None if these items are its last, and items."""
        self._link = link
        self._kind = kind
        self._number, items = page
        self._items = iter(items)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        while True:
            for item in self._items:
                return item
            if self._number is None:
                raise StopIteration
            number, self._number = self._number, None  # one that fails has ended in the owner too
            self._number, items = self._link.ask("next", self._kind, {"walk": number})
            self._items = iter(items)

    def close(self) -> None:
        """End the walk. May be called again."""
        number, self._number = self._number, None
        self._items = iter(())
        if number is not None:
            self._link.abandon(number)

    def __del__(self) -> None:
        if hasattr(self, "_items"):
            self.close()
