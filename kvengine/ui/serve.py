"""Serving the page: `serve` until a signal, or `Site` for as long as a ``with`` block."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

import uvicorn

from kvengine.inspection import escape
from kvengine.inspection.access import reach
from kvengine.ui import audit
from kvengine.ui.app import make_app
from kvengine.ui.launch import CODE_SECONDS, Doorkeeper
from kvengine.ui.limits import LONGEST_HEAD, Limits
from kvengine.ui.protocol import TimedProtocol
from kvengine.ui.source import Source

_LAST_SECONDS = 3
"""For requests that have begun when the server stops."""


class CannotServe(Exception):
    """The address or the port is not to be had; the text says why, and what else to give."""


def serve(site: Site, *, say: Callable[[str], None] = print) -> None:
    """Serve a page until SIGINT or SIGTERM, and let go of its database.

    ``say`` gets the lines for the person who started it, the link with the launch code among them.
    """
    with site:
        to_terminal = audit.to_terminal()
        try:
            for line in site.greeting():
                say(line)
            site.serve()
        finally:
            audit.log.removeHandler(to_terminal)


class Site:
    """A page that is served, by `serve` here or by `start` in a thread. A context manager."""

    def __init__(
        self,
        path: str,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        write: bool = False,
        limits: Limits | None = None,
    ) -> None:
        """Bind and open; nothing is answered yet.

        ``path``: a directory, or a PostgreSQL URL. ``port`` 0: any that is free. ``write``: edits
        are allowed. ValueError for a host that is no single address; CannotServe where it cannot
        be bound; as `reach` where the database cannot be opened.
        """
        limits = limits or Limits()
        self.address: ipaddress.IPv4Address | ipaddress.IPv6Address = _address(host)
        self._socket = _bind(self.address, port)
        try:
            self._source = Source(reach(path, write=write, serves=True), write=write)
        except BaseException:
            self._socket.close()
            raise
        self.port: int = self._socket.getsockname()[1]
        self.hosts: frozenset[str] = _hosts(self.address, self.port)
        self.door: Doorkeeper = Doorkeeper(self.port)
        app = make_app(self._source, self.hosts, self.door, limits)
        self._server = _Server(_config(app, limits))
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where the page is, without a launch code."""
        shown = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        return f"http://{shown}:{self.port}"

    def launch_url(self) -> str:
        """A link with a new launch code."""
        return f"{self.url}/#launch={self.door.new_code()}"

    def greeting(self) -> Iterator[str]:
        """What to tell the person who starts it."""
        source = self._source
        how = {
            "live": f"through process {source.pid}, which owns it",
            "own": "owned by this page as long as it runs",
            "files": "from its files",
            "server": "on its server",
        }[source.mode]
        edits = "edits allowed" if source.writable else "read-only"
        yield f"{escape.text(source.path)}: {how}; {edits}"
        if not self.address.is_loopback:
            yield "Not a loopback address: others can reach it, and nothing is encrypted."
        yield ""
        yield f"    {self.launch_url()}"
        yield ""
        yield f"The link is good once, within {CODE_SECONDS / 60:g} minutes. Ctrl-C stops the page."

    def serve(self) -> None:
        """Answer requests until a signal, or `stop` from another thread."""
        asyncio.run(self._server.serve(sockets=[self._socket]))

    def start(self) -> None:
        """Answer requests in a thread; returns when it does."""
        self._thread = threading.Thread(target=self.serve, name="kvengine-ui-server", daemon=True)
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            threading.Event().wait(0.005)

    def stop(self) -> None:
        """Stop answering, and let go of the database. May be called again."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join()
        self._socket.close()
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


class _Server(uvicorn.Server):
    """uvicorn's server. A signal ends it as its work is done, and is not raised again."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {each: signal.signal(each, self._end) for each in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    def _end(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.force_exit = self.should_exit  # the second time: at once
        self.should_exit = True


def _config(app: Any, limits: Limits) -> uvicorn.Config:
    protocol = type("Protocol", (TimedProtocol,), {"head_seconds": limits.head_seconds})
    return uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=limits.connections,
        h11_max_incomplete_event_size=LONGEST_HEAD,
        timeout_graceful_shutdown=_LAST_SECONDS,
    )


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The one address to serve at: the Host check needs to know its name."""
    try:
        found = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host.strip("[]"))
    except ValueError:
        raise ValueError(f"host must be an IP address or localhost, not {host!r}") from None
    if found.is_unspecified or found.is_multicast:
        raise ValueError(
            f"host must be one address, not {host!r}; from elsewhere use ssh -L PORT:127.0.0.1:PORT"
        )
    return found


def _hosts(address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> frozenset[str]:
    """What a Host header may say."""
    if address.is_loopback:
        names = {"127.0.0.1", "localhost", "[::1]"}
    else:
        names = set()
    names.add(f"[{address}]" if address.version == 6 else str(address))
    return frozenset(f"{name}:{port}" for name in names) | (names if port == 80 else set())


def _bind(address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> socket.socket:
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    # By its protocol's number: only such sockets get TCP_NODELAY from asyncio, and without it
    # every answer waits for the browser's delayed acknowledgement.
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((str(address), port))
        found.listen(128)
    except BaseException as error:
        found.close()
        if isinstance(error, OSError):
            raise CannotServe(_refused(address, port, error)) from error
        raise
    return found


def _refused(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int, error: OSError
) -> str:
    """Why the page cannot be served there, and what to do."""
    return {
        errno.EADDRINUSE: f"port {port} of {address} is in use: choose another --port,"
        " or give none for one that is free",
        errno.EACCES: f"port {port} is for privileged programs: choose a --port above 1023",
        errno.EADDRNOTAVAIL: f"{address} is no address of this machine: choose another --host",
        errno.EAFNOSUPPORT: f"this machine has no addresses like {address}: choose another --host",
    }.get(error.errno or 0, f"the page cannot be served at {address}: {error.strerror or error}")
