"""Clients of an owner, for tests: whole ones, and connections that speak the wire by hand."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from types import TracebackType
from typing import Any, Self

import kvengine
from kvengine.share import wire
from kvengine.share.opening import reach
from kvengine.share.store import SharedStore

_numbers = count(1000)


def reached(path: str) -> SharedStore:
    """Return a tool's way to an owner that is there."""
    found = reach(path)
    assert found is not None, "no owner answers"
    return found


def eventually(condition: Callable[[], object], seconds: float = 10) -> bool:
    """Return whether a condition comes true within so many seconds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


@contextmanager
def standing_still(owner: kvengine.Engine) -> Iterator[None]:
    """Let the thread that serves do nothing in the block, as that of a stopped owner."""
    serving: Any = owner._access
    held, go = threading.Event(), threading.Event()

    def hold() -> None:
        held.set()
        assert go.wait(60)

    serving._soon(hold)
    assert held.wait(60)
    try:
        yield
    finally:
        go.set()


class Raw:
    """A connection that has been greeted, and says what the test wants. A context manager."""

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.hello: dict[str, Any]
        try:
            self.socket.settimeout(20)
            self.socket.connect(f"{path}/LIVE")
            self.hello = wire.decode(self.receive())
        except BaseException:
            self.close()
            raise

    def send(self, *request: Any) -> None:
        self.socket.sendall(wire.frame(request))

    def receive(self) -> bytes:
        """Return a frame, or what came of it before the end."""
        length = self.socket.recv(4, socket.MSG_WAITALL)
        if len(length) < 4:
            return length
        data = bytearray()
        (wanted,) = wire.LENGTH.unpack(length)
        while len(data) < wanted and (piece := self.socket.recv(wanted - len(data))):
            data += piece
        return bytes(data)

    def answer(self) -> Any:
        """Return the result of the next answer. Raise the error that it tells of.

        Events that come before it, where the connection listens, are passed over.
        """
        while (data := self.receive())[:1] not in (b"\xc2", b"\xc3"):
            if not data:
                raise ConnectionResetError
        return wire.result_of(data, wire.decode)

    def ask(self, *request: Any) -> Any:
        self.send(*request)
        return self.answer()

    def event(self) -> list[Any]:
        """Return the next event, on a connection that listens."""
        found: list[Any] = wire.decode(self.receive())
        return found

    def is_over(self) -> bool:
        """Return whether the owner hangs up, whatever it says before."""
        with suppress(ConnectionResetError):
            while self.socket.recv(65536):
                pass
        return True

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class RawClient(Raw):
    """A client that has joined: a connection for requests, and one that listens."""

    def __init__(self, path: str, number: int | None = None) -> None:
        self.path = path
        self.number = next(_numbers) if number is None else number
        self.listener = Raw(path)
        try:
            self.joined = self.listener.ask("join", self.number, "raw", True, [])
            super().__init__(path)
            self.ask("join", self.number, "raw", False, [])
        except BaseException:
            self.listener.close()
            raise

    def another(self) -> Raw:
        """Return one more connection of this client."""
        found = Raw(self.path)
        try:
            found.ask("join", self.number, "raw", False, [])
        except BaseException:
            found.close()
            raise
        return found

    def close(self) -> None:
        super().close()
        self.listener.close()
