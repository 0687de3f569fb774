"""A proxy that counts what a client asks: how often it waits for an answer of the server."""

from __future__ import annotations

import select
import socket
import threading
from typing import Self
from urllib.parse import urlsplit

from tests.postgres.servers import Postgres

_ASKS = (b"S", b"Q")
"""Messages of a client that wait for an answer: Sync, which ends a round, and a simple Query."""


class Wire:
    """A port that passes on to a server. ``asked``: how many answers clients waited for."""

    def __init__(self, postgres: Postgres) -> None:
        found = urlsplit(postgres.url)
        self._server = (found.hostname, found.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.asked = 0
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """Break all connections."""
        for each in self._sockets:
            each.close()
        self._sockets.clear()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._server)
            self._sockets += [client, server]
            threading.Thread(target=self._pass_on, args=(client, server), daemon=True).start()

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        messages = _Messages()
        try:
            while True:
                readable, _, _ = select.select([client, server], [], [])
                if client in readable:
                    data = client.recv(1 << 16)
                    self.asked += sum(kind in _ASKS for kind in messages.kinds(data))
                    server.sendall(data)
                    if not data:
                        return
                if server in readable:
                    data = server.recv(1 << 16)
                    client.sendall(data)
                    if not data:
                        return
        except (OSError, ValueError):
            return
        finally:
            client.close()
            server.close()


class _Messages:
    """Cuts what a client sends into messages: a kind, and a length that counts itself."""

    def __init__(self) -> None:
        self._rest = b""
        self._started = False

    def kinds(self, data: bytes) -> list[bytes]:
        """Return the kinds of the messages that are complete by now."""
        self._rest += data
        found = []
        while True:
            head = 1 if self._started else 0  # the first messages have no kind
            if len(self._rest) < head + 4:
                return found
            size = head + int.from_bytes(self._rest[head : head + 4], "big")
            if len(self._rest) < size:
                return found
            message, self._rest = self._rest[:size], self._rest[size:]
            if self._started:
                found.append(message[:1])
            elif message[4:8] == (196_608).to_bytes(4, "big"):  # protocol 3.0
                self._started = True
