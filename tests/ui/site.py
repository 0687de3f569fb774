"""What the tests of the page share: requests as bytes over a socket, a client that is let in."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

import httpx

from kvengine.ui.serve import Site

Header = tuple[str, str]


class Client(httpx.Client):
    """A browser's stand-in: it has come with a launch code and sends what the page would."""

    def __init__(self, site: Site) -> None:
        headers = {"Origin": site.url, "Sec-Fetch-Site": "same-origin"}
        super().__init__(base_url=site.url, headers=headers, timeout=30)
        code = site.launch_url().partition("#launch=")[2]
        answer = self.post("/api/launch", json={"code": code})
        assert answer.status_code == 200, answer.text
        self.csrf: str = answer.json()["csrf"]
        self.headers["X-KVEngine-CSRF"] = self.csrf

    def __enter__(self) -> Self:
        return self  # open since it was let in

    @property
    def cookie(self) -> str:
        """The session as a Cookie header says it."""
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items())

    def read(self, path: str, **query: object) -> Any:
        answer = self.get(f"/api/{path}", params={k: str(v) for k, v in query.items()})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def edit(self, service: str, key: str, version: str, *changes: object, **more: object) -> Any:
        """The answer to an edit, whatever its status."""
        body = {"service": service, "key": key, "version": version, "changes": changes, **more}
        return self.post("/api/edit", json=body)


@dataclass
class Answer:
    """A response, parsed no further than tests need."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> str:
        found = json.loads(self.body)["error"]
        assert isinstance(found, str)
        return found


def request(
    method: str,
    target: str,
    headers: Iterable[Header],
    body: bytes = b"",
    *,
    version: str = "1.1",
) -> bytes:
    """A request as it goes over the wire; nothing is added to what is given."""
    lines = [f"{method} {target} HTTP/{version}", *(f"{n}: {v}" for n, v in headers)]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def send(port: int, *pieces: bytes, timeout: float = 20) -> Answer:
    """Send the pieces on a connection of its own, and read the answer until its end."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
        except OSError:
            pass  # refused before all of it was sent: what matters is the answer
        return read_answer(connection, body=not pieces or not pieces[0].startswith(b"HEAD "))


def read_answer(connection: socket.socket, *, body: bool = True) -> Answer:
    """One response; the connection may stay open behind it."""
    with connection.makefile("rb") as stream:
        status = stream.readline().split()
        assert status, "the server closed the connection without an answer"
        headers: dict[str, str] = {}
        while line := stream.readline().decode("latin-1").strip():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        length = int(headers.get("content-length", 0)) if body else 0
        return Answer(int(status[1]), headers, stream.read(length))
