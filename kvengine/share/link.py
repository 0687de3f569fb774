"""A connection to the owner: one request at a time."""

from __future__ import annotations

import select
import socket
from contextlib import suppress

import msgspec

from kvengine.share import wire
from kvengine.share.transport import at_path

GREETING = 3.0
"""Seconds for the owner to greet."""

_PIECE = 65536
_LARGE_PIECE = 1024 * 1024
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
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._rest: bytes | bytearray = b""
        try:
            self._socket.settimeout(patience)
            with at_path(directory) as place:
                self._socket.connect(place)
            try:
                self.hello: wire.Hello = _greeting(self.receive())
            except (Broken, msgspec.MsgspecError):
                raise ConnectionResetError("no owner greets here") from None
        except BaseException:
            self.close()
            raise

    def ask(self, data: bytes, patience: float | None) -> bytes | bytearray:
        """Send a request in its frame, and return the answer without its own.

        Raise Broken if there is none within ``patience`` seconds; the connection is closed then, as
        after any other exception: what came next would be the answer to this.
        """
        sent = False
        try:
            self._socket.settimeout(patience)
            self._socket.sendall(data)
            sent = True
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
        data: bytes | bytearray = self._rest or self._more(_PIECE)
        while len(data) < wire.LENGTH.size:
            data += self._more(_PIECE)
        (length,) = wire.LENGTH.unpack_from(data)
        end: int = length + wire.LENGTH.size
        if len(data) < end:
            data = bytearray(data)
            while len(data) < end:
                data += self._more(min(max(end - len(data), _PIECE), _LARGE_PIECE))
        self._rest = data[end:]  # of events, which come one after the other
        return data[wire.LENGTH.size : end]

    def arrives(self, seconds: float) -> bool:
        """Return whether something arrives, or the other side ends, within so long."""
        if self._rest:
            return True
        poll = select.poll()
        try:
            poll.register(self._socket, select.POLLIN)
        except ValueError:  # another thread has closed it
            return True
        return bool(poll.poll(seconds * 1000))

    def listen(self) -> None:
        """Let `receive` wait for ever."""
        self._socket.settimeout(None)

    def _more(self, most: int) -> bytes:
        piece = self._socket.recv(most)
        if not piece:
            raise Broken(True)
        return piece

    def hang_up(self) -> None:
        """End the connection; one who waits for it is woken."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self.close()

    def close(self) -> None:
        self._socket.close()

    @property
    def is_closed(self) -> bool:
        return self._socket.fileno() < 0
