"""The owner's side: a Unix socket in the directory, a thread that waits, one for each tool.

The socket exists while the owner has the directory open. Only the owner's user (and root) may
connect: the file is 0600 before anybody can, and the peer's user is asked for. A socket that
a killed owner left behind is replaced by the next, who holds the lock. It is made and removed
through a descriptor of the owner's directory, and removed only while the name is still that of
this socket: the path may lead to another owner's by then.
"""

from __future__ import annotations

import os
import socket
import stat
import struct
import threading
from collections.abc import Callable
from contextlib import suppress

from msgspec import structs

from kvengine.errors import DatabaseClosed
from kvengine.fs.directory import Descriptor
from kvengine.real_time import monotonic
from kvengine.release import VERSION
from kvengine.share import wire
from kvengine.share.requests import MOST_BYTES
from kvengine.share.transport import BadFrame, arrives, at_descriptor, has_gone, receive, send
from kvengine.share.verbs import Caller, Served
from kvengine.storage import filenames

_MOST_TOOLS = 64
_GRACE = 2.0
"""Seconds that `stop` gives to requests that have begun."""

_MOMENT = 0.5

_MOST_UNSENT = 256 * 1024 * 1024
"""Bytes of large answers that may wait for tools that do not read them."""

_LARGE = 1024 * 1024
"""From so many bytes on an answer counts as large."""

_SLOW = 1.0
"""Seconds after which a tool that does not read a large answer may be dropped for others."""

_IDLE = 3600.0
"""Seconds after which a tool that asks nothing loses its snapshots and walks: they keep files."""

_DROPPED = (
    "this process had asked nothing for long, and its place was given to another tool; nothing was"
    " done of this request: connect again"
)
_SILENT = 60.0
"""Seconds after which a tool that has asked nothing is dropped if another one wants its place."""


class _Tool:
    """A connection. ``heard``: when its last request ended; ``asking``: whether one has begun.

    ``unsent``: bytes of a large answer that it is being sent, ``since`` when. ``dropped``: its
    place was given to another tool.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.heard = self.since = monotonic()
        self.asking = self.dropped = False
        self.unsent = 0

    def drop(self) -> None:
        """Take no more requests. Its thread tells it so."""
        self.dropped = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RD)

    def hang_up(self) -> None:
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


class Server:
    """Serves a store to other processes until `stop`. Keeps no reference to the store."""

    def __init__(self, directory: str, place: int, store: Callable[[], Served | None]) -> None:
        """Bind the socket and listen. OSError where it cannot.

        ``directory`` is the path that people know, ``place`` a descriptor of the directory, of
        which a copy is kept. ``store`` gives the store, or None once it is gone.
        """
        self._directory = directory
        self._store = store
        self._hello = wire.Hello(wire.PROTOCOL, VERSION, os.getpid(), MOST_BYTES)
        self._tools: dict[threading.Thread, _Tool] = {}
        self._lock = threading.RLock()  # a finalizer may call `stop` anywhere
        self._idle = threading.Condition(self._lock)
        self._busy = 0
        self._unsent = 0
        self._stopping = self._stopped = False
        self._place = Descriptor(os.dup(place))
        self._listener = _listen(directory, place)
        self._socket = _identity(place)
        self._thread = threading.Thread(
            target=self._accept, name="kvengine-live", args=(self._listener,), daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Serve nobody any more: requests that have begun are answered first. Idempotent."""
        if self._stopped:
            return
        self._stopping = True
        with suppress(OSError):
            # No other socket can have this number: ours keeps it until the listener is closed.
            place = self._place.fileno()
            if _identity(place) == self._socket:
                os.unlink(filenames.LIVE, dir_fd=place)
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        with self._idle:
            tools = dict(self._tools)
            if threading.current_thread() not in tools:
                self._idle.wait_for(lambda: not self._busy, _GRACE)
        for tool in tools.values():
            tool.hang_up()
        for thread in (self._thread, *tools):
            if thread is not threading.current_thread():
                thread.join(_MOMENT)  # one that compacts ends with the database, which follows
        self._listener.close()
        self._place.close()
        self._stopped = True

    def abandon(self) -> None:
        """In a forked child: let go of the parent's sockets, so that nobody waits for the child."""
        self._stopping = self._stopped = True
        self._listener.close()
        for tool in list(self._tools.values()):
            tool.connection.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                if self._stopping:
                    return
                threading.Event().wait(0.1)  # out of descriptors, most likely
                continue
            tool = _Tool(connection)
            thread = threading.Thread(
                target=self._serve, name="kvengine-live-tool", args=(tool,), daemon=True
            )
            with self._lock:
                if self._stopping or not _is_ours(connection):
                    connection.close()
                    continue
                if not self._has_room():
                    self._turn_away(connection, f"it serves {len(self._tools)} tools already")
                    continue
                self._tools[thread] = tool
                try:
                    thread.start()
                except RuntimeError as error:  # no more threads
                    del self._tools[thread]
                    self._turn_away(connection, str(error))

    def _has_room(self) -> bool:
        """Return whether one more tool can be served, after one that is of no use was dropped.

        Which is one that has gone while its request is done, else the one that has been silent for
        longest. A tool whose request is just arriving is not silent.
        """
        if len(self._tools) < _MOST_TOOLS:
            return True
        pairs = self._tools.items()
        gone = [pair for pair in pairs if has_gone(pair[1].connection)]
        silent = [
            pair
            for pair in sorted(pairs, key=lambda pair: pair[1].heard)
            if not pair[1].asking
            and monotonic() - pair[1].heard >= _SILENT
            and not arrives(pair[1].connection, 0)
        ]
        for thread, tool in (*gone, *silent)[:1]:
            del self._tools[thread]
            tool.drop()
        return len(self._tools) < _MOST_TOOLS

    def _turn_away(self, connection: socket.socket, reason: str) -> None:
        """Greet a tool with the reason why it is not served."""
        with connection, suppress(OSError):
            connection.setblocking(False)
            connection.send(wire.frame(structs.replace(self._hello, refused=reason)))

    def _serve(self, tool: _Tool) -> None:
        caller = Caller(self._living)
        connection = tool.connection
        try:
            with connection:
                send(connection, wire.frame(self._hello))
                while True:
                    while not arrives(connection, _IDLE):
                        caller.close()
                    tool.asking = True
                    request = receive(connection, MOST_BYTES)
                    if request is None or not self._begin():
                        break
                    try:
                        self._answer(tool, caller, request)
                    finally:
                        self._done(tool)
                if tool.dropped:
                    send(connection, wire.frame(wire.error_answer(DatabaseClosed(_DROPPED))))
        except (OSError, BadFrame):
            pass  # the tool has gone, or is none
        finally:
            caller.close()
            with self._lock:
                self._tools.pop(threading.current_thread(), None)

    def _answer(self, tool: _Tool, caller: Caller, request: bytes | bytearray) -> None:
        try:
            parts = wire.answer(caller.answer(request))
        except Exception as error:
            parts = [wire.frame(wire.error_answer(error))]
        size = sum(map(len, parts))
        if size >= _LARGE:
            with self._lock:
                self._note_unsent(tool, size)
        for part in parts:
            send(tool.connection, part)

    def _living(self) -> Served:
        store = self._store()
        if store is None:
            raise DatabaseClosed(f"{self._directory} is closed")
        return store

    def _begin(self) -> bool:
        """Return whether a request that was read will be answered: not once we stop.

        Where answers to other tools have filled the memory that they may, wait until those are
        read, or hang up on those that do not read.
        """
        with self._idle:
            while not self._stopping and self._unsent > _MOST_UNSENT:
                slow = [other for other in self._tools.values() if other.unsent]
                first = min(slow, key=lambda other: other.since, default=None)
                if first is not None and monotonic() - first.since >= _SLOW:
                    first.hang_up()
                    self._note_unsent(first, 0)
                else:
                    self._idle.wait(_SLOW / 10)
            if self._stopping:
                return False
            self._busy += 1
            return True

    def _note_unsent(self, tool: _Tool, size: int) -> None:
        self._unsent += size - tool.unsent
        tool.unsent, tool.since = size, monotonic()

    def _done(self, tool: _Tool) -> None:
        with self._idle:
            tool.asking, tool.heard = False, monotonic()
            self._note_unsent(tool, 0)
            self._busy -= 1
            self._idle.notify_all()


def _listen(directory: str, place: int) -> socket.socket:
    """A listening socket in the directory, for its owner alone. What had its name goes."""
    path = f"{directory}/{filenames.LIVE}"
    with suppress(FileNotFoundError):
        if stat.S_ISDIR(_status(place).st_mode):
            raise IsADirectoryError(f"{path} is a directory, not the socket of live access")
        os.unlink(filenames.LIVE, dir_fd=place)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(at_descriptor(directory, place))
        # Before `listen`: until then nobody can connect. FileNotFoundError where the path has
        # led elsewhere, on a system that binds by path.
        os.chmod(filenames.LIVE, 0o600, dir_fd=place)
        listener.listen(16)
    except BaseException:
        listener.close()
        raise
    return listener


def _status(place: int) -> os.stat_result:
    return os.stat(filenames.LIVE, dir_fd=place, follow_symlinks=False)


def _identity(place: int) -> tuple[int, int]:
    """Which file has the socket's name in the directory."""
    found = _status(place)
    return found.st_dev, found.st_ino


def _is_ours(connection: socket.socket) -> bool:
    """Whether the peer is of this user, or root."""
    kind = getattr(socket, "SO_PEERCRED", None)
    if kind is None:
        return True  # the mode of the socket says it
    given = connection.getsockopt(socket.SOL_SOCKET, kind, struct.calcsize("3i"))
    return struct.unpack("3i", given)[1] in (0, os.geteuid())
