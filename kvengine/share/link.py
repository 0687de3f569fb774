"""A connection to the owner: one request at a time."""

from __future__ import annotations

import select
import socket
from contextlib import suppress

import msgspec

from kvengine.share import calls, wire
from kvengine.share.polling import BusyPolling
from kvengine.share.transport import at_path

GREETING = 3.0
"""Seconds for the owner to greet."""

_greeting = msgspec.msgpack.Decoder(wire.Hello).decode


class Broken(Exception):
    """The connection is gone, or of no use any more.

    ``sent``: whether the owner may have got the request in whole. ``is_slow``: the owner is there,
    and did not answer in time.
    """

    def __init__(self, sent: bool, is_slow: bool = False) -> None:
        super().__init__(sent, is_slow)
        self.sent = sent
        self.is_slow = is_slow


class Link:
    """A connection. Of one thread at a time."""

    def __init__(self, directory: str, patience: float) -> None:
        """Connect to whoever serves the directory, and read the greeting: within ``patience``.

        Raise OSError if nobody does, or not this process; TimeoutError if somebody does not greet.
        """
        self.socket: socket.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._patience: float | None = patience
        self._polling = BusyPolling()
        self._rest: bytes | bytearray = b""
        try:
            self.socket.settimeout(patience)
            with at_path(directory) as place:
                self.socket.connect(place)
            self.socket.setblocking(False)
            try:
                self.hello: wire.Hello = _greeting(self.receive())
            except (Broken, msgspec.MsgspecError):
                raise ConnectionResetError("no owner greets here") from None
        except BaseException:
            self.close()
            raise

    def ask(self, data: bytes, patience: float | None, is_alone: bool = True) -> bytes | bytearray:
        """Send a request in its frame, and return the answer without its own.

        ``is_alone``: no other thread of this client waits for an answer. Then the others may be
        kept from running for some microseconds, which is better than to be kept by them for 5 ms.

        Raise Broken if there is no answer within ``patience`` seconds; the connection is closed
        then, as after any other exception: what came next would be the answer to this.
        """
        sent = False
        self._patience = patience
        try:
            done = calls.send(self.socket, data)
            while done < len(data):
                self._wait(select.POLLOUT)
                done += calls.send(self.socket, memoryview(data)[done:])
            sent = True
            self._polling.look(self.socket.fileno(), is_alone)
            return self.receive()
        except Broken:
            self.close()
            raise Broken(sent) from None
        except OSError as error:
            self.close()
            raise Broken(sent, isinstance(error, TimeoutError)) from None
        except BaseException:
            self.close()
            raise

    def receive(self) -> bytes | bytearray:
        """Return the next frame, without its length. Raise Broken at the end, OSError."""
        data: bytes | bytearray = self._rest or self._more()
        while len(data) < wire.LENGTH.size:
            data += self._more()
        (length,) = wire.LENGTH.unpack_from(data)
        end: int = length + wire.LENGTH.size
        if len(data) < end:
            data = bytearray(data)
            while len(data) < end:
                data += self._more()
        self._rest = data[end:]  # of events, which come one after the other
        return data[wire.LENGTH.size : end]

    def arrives(self, seconds: float) -> bool:
        """Return whether something arrives, or the other side ends, within so long."""
        return bool(self._rest) or self._is_ready(select.POLLIN, seconds)

    def listen(self) -> None:
        """Let `receive` wait for ever."""
        self._patience = None

    def _more(self) -> bytes:
        while (piece := calls.receive(self.socket)) is None:
            self._wait(select.POLLIN)
        if not piece:
            raise Broken(True)
        return piece

    def _wait(self, event: int) -> None:
        if not self._is_ready(event, self._patience):
            raise TimeoutError("the owner does not answer")

    def _is_ready(self, event: int, seconds: float | None) -> bool:
        poll = select.poll()
        try:
            poll.register(self.socket, event)
        except ValueError:  # another thread has closed it
            return True
        return bool(poll.poll(None if seconds is None else seconds * 1000))

    def fileno(self) -> int:
        return self.socket.fileno()

    def shut(self) -> None:
        """End the connection; who waits for it is woken, and closes it."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.socket.close()

    @property
    def is_closed(self) -> bool:
        return self.socket.fileno() < 0
