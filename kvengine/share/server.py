"""The owner's side: a Unix socket in the directory, and a thread that serves all clients.

The socket exists while the owner has the directory open. Only the owner's user (and root) may
connect: the file is 0600 before anybody can, and the peer's user is asked for. A socket that
a killed owner left behind is replaced by the next, who holds the lock. It is made and removed
through a descriptor of the owner's directory, and removed only while the name is still that of
this socket: the path may lead to another owner's by then.

One thread waits for all connections, and answers at once what takes microseconds: reads of one
object, commits that wait for no sync, turns. The rest goes to `Workers`. Commits that wait for a
sync are logged at once, in the order in which they come, and share the syncs. Only that one thread
touches the sockets.

A connection has one request under way; what it sends meanwhile waits, its bytes bounded.
"""

from __future__ import annotations

import logging
import os
import selectors
import socket
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from msgspec import structs

from kvengine.errors import DatabaseClosed, KVEngineError
from kvengine.fs.directory import Descriptor
from kvengine.real_time import monotonic
from kvengine.release import VERSION
from kvengine.share import calls, requests, wire
from kvengine.share.holdings import RECLAIM_SECONDS, Holdings, Reclaiming
from kvengine.share.operations import replay
from kvengine.share.polling import BusyPolling
from kvengine.share.requests import MOST_BYTES, Event, Join, Joined, Request
from kvengine.share.transport import identity, is_allowed, listening_socket
from kvengine.share.verbs import (
    SLOW,
    UPKEEP,
    Served,
    answer,
    begin_commit,
    options_of,
    release_of,
)
from kvengine.share.workers import Workers
from kvengine.storage import filenames
from kvengine.storage.names import Name
from kvengine.storage.state import Commit
from kvengine.storage.syncs import Ended, Syncs
from kvengine.storage.tokens import AlreadyCommitted

log: logging.Logger = logging.getLogger("kvengine")

MOST_CONNECTIONS = 512
MOST_CLIENTS = 256
MOST_OF_A_CLIENT = 64
"""Connections for requests of one client, so that it leaves room for others."""

_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
_LARGE = 256 * 1024
"""Bytes of a request that is so large that another thread answers it."""

_MOST_AT_ONCE = 64
"""Requests of one connection that are answered in a round."""

_SMALL = 4096
"""Bytes of an answer that may be held back until others of the same round are made."""

_GRACE = 2.0
"""Seconds that `stop` gives to requests that have begun."""

_MOMENT = 0.5
_TICK = 1.0
"""Seconds between two looks at connections that may have to go."""

_MOST_UNSENT = 256 * 1024 * 1024
"""Bytes of answers that may wait for clients which do not read them; also, bytes of requests that
have arrived in part."""

_SLOW = 1.0
"""Seconds after which a client that does not read its answer may be dropped for others."""

_STUCK = 60.0
"""Seconds after which a client is dropped whose request, or whose reading, makes no progress."""

_IDLE = 3600.0
"""Seconds after which a client that asks nothing loses its snapshots and walks: they keep files."""

_SILENT = 60.0
"""Seconds after which a client that holds nothing and asks nothing makes room for a new one."""


class _Connection:
    """A connection of a client, once it has joined. ``is_busy``: a request of it is under way.

    ``since``: when its unsent bytes, or its unfinished request, last made progress. ``take_back``:
    what is to be done if the answer that is being sent does not arrive.
    """

    __slots__ = (
        "arrived",
        "client",
        "is_busy",
        "is_open",
        "listens",
        "mask",
        "since",
        "socket",
        "take_back",
        "unsent",
        "unsent_bytes",
    )

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.client: _Client | None = None
        self.listens = self.is_busy = False
        self.is_open = True
        self.arrived = bytearray()
        self.unsent: deque[memoryview] = deque()
        self.unsent_bytes = 0
        self.take_back: Callable[[], object] | None = None
        self.since = monotonic()
        self.mask = _READ


class _Client:
    """A client: its connections, and what it holds."""

    def __init__(self, number: int, holdings: Holdings, listener: _Connection) -> None:
        self.number = number
        self.holdings = holdings
        self.listener = listener
        self.connections: set[_Connection] = {listener}


class Server:
    """Serves a store to other processes until `stop`. It keeps no reference to the store."""

    def __init__(
        self,
        directory: str,
        place: int,
        store: Callable[[], Served | None],
        epoch: int,
        reclaiming: Reclaiming | None = None,
    ) -> None:
        """Make the socket, and start the thread that serves. Raise OSError if there can be none.

        ``directory``: the path, for messages. ``place``: a descriptor of the directory, which is
        duplicated. ``store``: returns the store, or None once it is gone. ``epoch``: of the owner.
        ``reclaiming``: who had objects in sessions under the owner before, after a takeover.
        """
        self._directory = directory
        self._store = store
        self._reclaiming = reclaiming
        self._hello = wire.Hello(wire.PROTOCOL, VERSION, os.getpid(), epoch)
        self._connections: set[_Connection] = set()
        self._clients: dict[int, _Client] = {}
        self._done: deque[Callable[[], object]] = deque()
        """What other threads leave to be done by the one that serves."""
        self._is_awake = False
        self._syncs = Syncs()
        self._unsent = self._unfinished = 0
        self._postponed: list[_Connection] = []
        self._polling = BusyPolling()
        self._holds_back = False
        self._held: list[tuple[_Connection, list[bytes | bytearray]]] = []
        self._is_listening = True
        self.look: Callable[[], object] | None = None
        """Called about once a second, in the thread that serves."""
        self._busy = 0
        self._next_look = monotonic() + _TICK
        self._stopping = self._stopped = False
        self._lock = threading.RLock()  # a finalizer may call `stop` anywhere
        self._workers = Workers("kvengine-share-worker", 16)
        self._syncer = Workers("kvengine-share-sync", 1)  # of its own: no walk holds up a commit
        self._upkeep = Workers("kvengine-share-upkeep", 2)  # nor do compactions hold up a walk
        try:
            self._selector = selectors.DefaultSelector()
            self._waker, self._woken = socket.socketpair()
            for end in (self._waker, self._woken):
                end.setblocking(False)
            self._place = Descriptor(os.dup(place))
            self._listener = listening_socket(directory, place)
            self._socket = identity(place)
            self._selector.register(self._listener, _READ, self._accept)
            self._selector.register(self._woken, _READ, self._drain)
            if reclaiming is not None:
                reclaiming.begin()
            self._thread = threading.Thread(target=self._run, name="kvengine-share", daemon=True)
            self._thread.start()
        except BaseException:
            self._close()
            raise

    def stop(self) -> None:
        """Answer the requests that have begun, and serve nobody any more. May be called again."""
        with self._lock:
            if self._stopped:
                return
            self._stopped = True
        self._soon(self._begin_to_stop)
        if threading.current_thread() is not self._thread:
            self._thread.join(2 * _GRACE)
        for workers in (self._workers, self._syncer, self._upkeep):
            workers.stop(_MOMENT)  # one that compacts ends with the database, which follows

    def abandon(self) -> None:
        """In a forked child: close the copies of the parent's sockets, and serve nobody.

        Clients would take the parent for alive as long as the child is.
        """
        self._stopping = self._stopped = True
        self._close()

    # --- the thread

    def _run(self) -> None:
        try:
            while not self._stopping or self._busy or self._unsent:
                self._serve(self._pause())
                for _ in range(len(self._done)):  # what they add has its turn after the sockets
                    self._do(self._done.popleft())
                if monotonic() >= self._next_look:
                    self._do(self._look)
        finally:
            for connection in list(self._connections):
                self._drop(connection)
            self._close()

    def _serve(self, seconds: float) -> None:
        """Do what the sockets call for; return after so many seconds if that is nothing."""
        self._polling.look(self._selector.fileno(), False)
        ready = self._selector.select(seconds)
        self._holds_back = len(ready) > 1
        for key, mask in ready:
            connection = key.data
            if type(connection) is not _Connection:
                self._do(connection)
            elif mask & _WRITE:
                self._do(self._go_on, connection)
            else:
                self._do(self._receive, connection)
        self._holds_back = False
        self._send_held()

    def _pause(self) -> float:
        """Return the seconds after which something is due, whatever comes."""
        reclaiming = self._reclaiming
        if reclaiming is None:
            return _TICK
        if reclaiming.is_over():
            reclaiming.tell()
            self._reclaiming = None
        return RECLAIM_SECONDS / 20

    def _do(self, work: Callable[..., object], *connection: _Connection) -> None:
        """Do some work. If it raises, log that, drop the connection that it was for, and go on."""
        try:
            work(*connection)
        except Exception:
            log.exception("%s: serving a client failed", self._directory)
            for each in connection:
                self._drop(each)

    def _begin_to_stop(self) -> None:
        """Accept nobody any more, and remove the socket, unless there are clients.

        They may have objects in sessions, and a socket that is left tells the next owner to wait
        for them. Clients that have hung up by now do not count.
        """
        self._serve(0)
        self._stopping = True
        self._end = monotonic() + _GRACE
        with suppress(KeyError, ValueError):
            self._selector.unregister(self._listener)
        with suppress(OSError):
            # No other socket can have this number: ours keeps it until the listener is closed.
            place = self._place.fileno()
            if not self._clients and identity(place) == self._socket:
                os.unlink(filenames.LIVE, dir_fd=place)

    def _close(self) -> None:
        for name in ("_selector", "_waker", "_woken", "_place", "_listener"):
            opened = getattr(self, name, None)  # not all of them if `__init__` failed
            if opened is not None:
                opened.close()
        for connection in list(self._connections):
            connection.socket.close()

    def _soon(self, work: Callable[[], object]) -> None:
        """Let the thread that serves do something. May be called in any thread."""
        self._done.append(work)
        if not self._is_awake:
            self._is_awake = True
            with suppress(OSError):  # it is full, or closed
                self._waker.send(b"\0")

    def _drain(self) -> None:
        with suppress(BlockingIOError):
            self._woken.recv(1024)
        # Last: who adds something before is served by this very round, and who adds it from now on
        # wakes again. The other way round, a byte sent in between was lost, and each round that
        # followed came a tick late.
        self._is_awake = False

    # --- connections

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except BlockingIOError:
            return
        except OSError:  # out of descriptors, most likely: until the next look
            self._selector.unregister(self._listener)
            self._is_listening = False
            return
        if self._stopping or not is_allowed(connection):
            connection.close()
            return
        if len(self._connections) >= MOST_CONNECTIONS and not self._make_room():
            self._turn_away(connection, f"it has {len(self._connections)} connections already")
            return
        connection.setblocking(False)
        added = _Connection(connection)
        self._connections.add(added)
        self._selector.register(connection, _READ, added)
        self._send(added, [wire.frame(self._hello)])

    def _turn_away(self, connection: socket.socket, reason: str) -> None:
        """Tell a client why it is not served, and close its connection."""
        with connection, suppress(OSError):
            connection.setblocking(False)
            connection.send(wire.frame(structs.replace(self._hello, refused=reason)))

    def _make_room(self) -> bool:
        """Drop a connection that has not joined, else a silent client. Return whether one went."""
        now = monotonic()
        for connection in self._connections:
            if connection.client is None and now - connection.since >= _MOMENT:
                self._drop(connection)
                return True
        return self._drop_silent()

    def _drop_silent(self) -> bool:
        """Drop the longest silent client of those that hold nothing. Return whether one went."""
        now = monotonic()
        silent = [
            client
            for client in self._clients.values()
            if client.holdings.is_empty
            and now - client.holdings.heard >= _SILENT
            and not any(each.is_busy or each.arrived for each in client.connections)
        ]
        if not silent:
            return False
        self._drop(min(silent, key=lambda client: client.holdings.heard).listener)
        return True

    def _drop(self, connection: _Connection) -> None:
        """Close a connection. The client is gone if it is the one that listens. May be repeated."""
        if not connection.is_open:
            return
        connection.is_open = False
        self._connections.discard(connection)
        self._unsent -= connection.unsent_bytes
        self._unfinished -= len(connection.arrived)
        connection.unsent_bytes = 0
        connection.unsent.clear()
        connection.arrived = bytearray()
        with suppress(KeyError, ValueError):
            self._selector.unregister(connection.socket)
        connection.socket.close()
        if connection.take_back is not None:
            connection.take_back()
        client = connection.client
        if client is None:
            return
        client.connections.discard(connection)
        if connection is client.listener:
            del self._clients[client.number]
            for other in list(client.connections):
                self._drop(other)
            client.holdings.close()
            self._soon(self._tell_members)

    def _look(self) -> None:
        """Drop connections that are stuck, and close snapshots and walks of idle clients."""
        if self.look is not None:
            self.look()
        now = self._next_look = monotonic()
        self._next_look += _TICK
        for connection in list(self._connections):
            waits = connection.unsent or connection.arrived or connection.client is None
            if waits and not connection.is_busy and now - connection.since >= _STUCK:
                self._drop(connection)
        for client in list(self._clients.values()):
            if now - client.holdings.heard >= _IDLE:
                client.holdings.let_go()
        if not (self._is_listening or self._stopping):
            self._selector.register(self._listener, _READ, self._accept)
            self._is_listening = True
        if self._stopping and now >= self._end:
            for connection in list(self._connections):
                self._drop(connection)
            self._busy = 0
        self._resume()

    def _resume(self) -> None:
        """Handle the requests that were postponed while too much was unsent."""
        if not self._postponed:
            return
        if self._unsent > _MOST_UNSENT:
            self._drop_slowest()
        if self._unsent <= _MOST_UNSENT:
            postponed, self._postponed = self._postponed, []
            for connection in postponed:
                if connection.is_open:  # not here: one of them may be what is being taken
                    self._soon(partial(self._take, connection))

    def _drop_slowest(self) -> None:
        slow = [each for each in self._connections if each.unsent]
        first = min(slow, key=lambda each: each.since, default=None)
        if first is not None and monotonic() - first.since >= _SLOW:
            self._drop(first)

    # --- requests

    def _receive(self, connection: _Connection) -> None:
        try:
            data = calls.receive(connection.socket)  # then it is the turn of the others
        except OSError:
            data = b""
        if data is None:
            return
        if not data:
            self._drop(connection)
            return
        arrived = connection.arrived
        if not (arrived or self._unsent > _MOST_UNSENT or self._postponed) and _is_whole(data):
            self._handle(connection, memoryview(data)[wire.LENGTH.size :])  # nearly always
            return
        arrived += data
        self._unfinished += len(data)
        if connection.client is not None:  # else it counts from when it came
            connection.since = monotonic()
        self._take(connection)
        if self._unfinished > _MOST_UNSENT:
            first = max(self._connections, key=lambda each: len(each.arrived))
            self._drop(first)

    def _take(self, connection: _Connection) -> None:
        """Handle the requests that have arrived, until one cannot be answered at once.

        Of many that came together some are left for the next round, so that others have their turn.
        """
        arrived = connection.arrived
        taken = 0
        left = _MOST_AT_ONCE
        while (
            connection.is_open
            and not (connection.is_busy or connection.unsent)
            and len(arrived) - taken >= wire.LENGTH.size
        ):
            (length,) = wire.LENGTH.unpack_from(arrived, taken)
            if length > MOST_BYTES:
                self._drop(connection)
                return
            if len(arrived) - taken - 4 < length:
                break
            if self._unsent > _MOST_UNSENT:
                self._postponed.append(connection)
                break
            if not left:
                self._soon(partial(self._take, connection))
                break
            left -= 1
            request = bytes(memoryview(arrived)[taken + 4 : taken + 4 + length])
            taken += 4 + length
            self._handle(connection, request)
        if taken and connection.is_open:
            del arrived[:taken]
            self._unfinished -= taken
        self._want(connection)

    def _want(self, connection: _Connection) -> None:
        """Register a connection for what can be done on it now: to read, to send, or nothing.

        It is not read while a request is under way or an answer is unsent. The system keeps what
        arrives then, and makes the client wait once it keeps enough.
        """
        if not connection.is_open:
            return
        mask = _WRITE if connection.unsent else 0
        if not mask and not connection.is_busy and connection not in self._postponed:
            mask = _READ
        if mask == connection.mask:
            return
        if not connection.mask:
            self._selector.register(connection.socket, mask, connection)
        elif not mask:
            self._selector.unregister(connection.socket)
        else:
            self._selector.modify(connection.socket, mask, connection)
        connection.mask = mask

    def _handle(self, connection: _Connection, data: bytes | memoryview) -> None:
        """Answer a request, or begin to do so in another thread."""
        try:
            request = requests.decode(data)
            client = connection.client
            if client is None or type(request) is Join or connection.listens:
                self._answer(connection, wire.answer(self._join(connection, request)))
                return
            client.holdings.heard = monotonic()
            store = self._living()
            kind = type(request)
            if kind is requests.Write or kind is requests.Commit:
                if len(data) < _LARGE and self._begin_write(store, connection, request):
                    return
            elif isinstance(request, requests.Begin) and len(data) < _LARGE:
                self._begin_session(store, connection, request)
                return
            elif kind not in SLOW and len(data) < _LARGE:
                self._answer(connection, wire.answer(answer(store, client.holdings, request)))
                return
        except Exception as error:
            self._answer(connection, wire.refusal(error))
            return
        self._in_thread(connection, client.holdings, request)

    def _begin_session(self, store: Served, connection: _Connection, asked: requests.Begin) -> None:
        """Answer a session that begins, if anybody is there to hear it.

        Whoever has given up on this connection has given the object back on another one, maybe
        before this request was read. So what nobody hears of must not stay claimed.
        """
        holdings, name = self._of(connection), (asked.service, asked.key)
        was_known = holdings.knows(name)
        parts = wire.answer(answer(store, holdings, asked))
        self._send_held()
        self._send(connection, parts)
        if not (was_known or connection.is_open):
            holdings.leave(name)

    def _in_thread(self, connection: _Connection, client: Holdings, request: Request) -> None:
        """Answer a request in another thread."""

        def work() -> None:
            take_back = None
            try:
                result = answer(self._living(), client, request)
                take_back = release_of(client, request, result)
                parts = wire.answer(result)
            except Exception as error:
                parts = wire.refusal(error)
            self._soon(partial(self._finish, connection, parts, take_back))

        workers = self._upkeep if isinstance(request, UPKEEP) else self._workers
        try:
            workers.submit(work)
        except RuntimeError as error:
            self._answer(connection, wire.refusal(error))
            return
        self._begin(connection)

    def _begin(self, connection: _Connection) -> None:
        """Note that a request is under way, which `_finish` ends."""
        connection.is_busy = True
        self._busy += 1
        self._want(connection)

    def _finish(
        self,
        connection: _Connection,
        parts: list[bytes | bytearray],
        take_back: Callable[[], object] | None = None,
    ) -> None:
        """Send the answer of a request that was begun, and go on with the next.

        ``take_back`` is called if the connection ends before the whole answer is sent.
        """
        self._busy -= 1
        connection.is_busy = False
        if connection.is_open:
            connection.take_back = take_back
            self._send(connection, parts)
            self._sent(connection)
        elif take_back is not None:
            take_back()

    def _begin_write(self, store: Served, connection: _Connection, asked: Any) -> bool:
        """Answer a commit, or log it and let it wait for its sync.

        Return False, with nothing done, if this could keep other clients waiting.
        """
        durable = (asked.durability or store.options.durability) == "sync"
        if not store._may_wait(asked.durability):
            parts = wire.answer(answer(store, self._of(connection), asked))
            self._answer(connection, parts)
            return True
        if not durable or not store._may_begin():
            return False
        batch = replay(asked.operations)
        if type(asked) is requests.Commit:
            begin_commit(store, self._of(connection), asked)
            expect: Mapping[Name, int] | None = {(asked.service, asked.key): asked.version}
        else:
            expect = wire.expected(asked.expect)
        try:
            commit = store._committer.begin(batch, expect, asked.token, asked.since)
        except AlreadyCommitted:
            self._ended(connection, asked, False)
            return False
        except BaseException:
            self._ended(connection, asked, False)
            raise
        if commit is None:
            self._ended(connection, asked, True)
            self._answer(connection, wire.answer(batch.stamp or 0))
            return True
        self._begin(connection)
        synced = partial(self._synced, connection, asked, commit.stamp)
        self._syncs.add(commit, partial(self._sync, store), synced)
        return True

    def _sync(self, store: Served, commit: Commit, ended: Ended) -> None:
        """Make a commit durable, and all before it, in a thread."""

        def work() -> None:
            failed = None
            try:
                store._finish_write(commit)
            except Exception as error:
                failed = error
            self._soon(partial(ended, failed))

        try:
            self._syncer.submit(work)
        except RuntimeError:  # no thread: here, for they are in the log
            work()

    def _synced(
        self, connection: _Connection, asked: Any, stamp: int, failed: BaseException | None
    ) -> None:
        self._ended(connection, asked, failed is None)
        self._finish(connection, wire.answer(stamp) if failed is None else wire.refusal(failed))

    def _ended(self, connection: _Connection, asked: Any, is_done: bool) -> None:
        """Note that a commit has ended. One of a session may have asked to give its object back.

        ``is_done``: whether it is made, so that there is nothing to repeat.
        """
        if type(asked) is requests.Commit:
            name = asked.service, asked.key
            self._of(connection).end_commit(name, is_done and asked.leaves)

    def _of(self, connection: _Connection) -> Holdings:
        assert connection.client is not None
        return connection.client.holdings

    def _living(self) -> Served:
        store = self._store()
        if store is None:
            raise DatabaseClosed(f"{self._directory} is closed")
        return store

    # --- clients

    def _join(self, connection: _Connection, request: Request) -> Joined | None:
        if type(request) is not Join or connection.client is not None:
            raise KVEngineError("a connection joins first, and once; on the first one nothing more")
        client = self._clients.get(request.client)
        if not request.listens:
            if client is None:
                raise KVEngineError("this client has not joined, or was dropped: connect again")
            if len(client.connections) > MOST_OF_A_CLIENT:
                raise KVEngineError(f"a client may have {MOST_OF_A_CLIENT} connections")
            connection.client = client
            client.connections.add(connection)
            return None
        if client is not None:
            raise KVEngineError("this client has joined already")
        if len(self._clients) >= MOST_CLIENTS and not self._drop_silent():
            raise KVEngineError(f"the owner serves {len(self._clients)} clients already")
        store = self._living()
        tell = partial(self._tell, connection)
        reclaiming = self._reclaiming
        holdings = Holdings(request.name, store._host.turns, tell, reclaiming)
        connection.client = self._clients[request.client] = _Client(
            request.client, holdings, connection
        )
        connection.listens = True
        lost = [name for name in request.claims if not holdings.reclaim(name)]
        if reclaiming is not None:
            reclaiming.joined(request.client)
        self._soon(self._tell_members)
        return Joined(store._db.published, options_of(store.options), store.retentions(), lost)

    def _tell(self, connection: _Connection, event: Event) -> None:
        """Send an event to a client, soon. May be called in any thread."""
        self._soon(partial(self._send_event, connection, event))

    def _send_event(self, connection: _Connection, event: Event) -> None:
        if not connection.is_open or connection.client is None:
            return
        if type(event) is requests.Changes:
            # Its bell has rung. Nothing is taken while the client does not read: the feed is
            # bounded, and tells of a gap.
            if connection.unsent:
                return
            holdings = connection.client.holdings
            while not connection.unsent:
                found = holdings.changes(event.watch)
                if found is None:
                    return
                self._send(connection, [wire.frame(found)])
            return
        self._send(connection, [wire.frame(event)])

    def _tell_members(self) -> None:
        store = self._store()
        if store is None or self._stopping:
            return
        event = requests.Members(store._db.published, [*self._clients])
        for client in list(self._clients.values()):
            self._send(client.listener, [wire.frame(event)])

    # --- sending

    def _answer(self, connection: _Connection, parts: list[bytes | bytearray]) -> None:
        """Send the answer to a request, or hold it back until those that came with it are done.

        A client that is woken may get the core of this thread: better once, after all of them.
        """
        if (
            self._holds_back
            and len(parts) == 1
            and len(parts[0]) <= _SMALL
            and not connection.unsent
        ):
            self._held.append((connection, parts))
            return
        self._send_held()
        self._send(connection, parts)

    def _send_held(self) -> None:
        """Send the answers that were held back, in the order of their requests."""
        if self._held:
            held, self._held = self._held, []
            for connection, parts in held:
                self._send(connection, parts)

    def _send(self, connection: _Connection, parts: list[bytes | bytearray]) -> None:
        if not connection.is_open:
            return
        if not connection.unsent and len(parts) == 1:
            try:
                sent = calls.send(connection.socket, parts[0])
            except OSError:
                self._drop(connection)
                return
            if sent == len(parts[0]):
                return
            parts = [parts[0][sent:]]
        if not connection.unsent:  # else it has made no progress
            connection.since = monotonic()
        for part in parts:
            connection.unsent.append(memoryview(part))
            connection.unsent_bytes += len(part)
            self._unsent += len(part)
        self._flush(connection)

    def _go_on(self, connection: _Connection) -> None:
        """Send what the client takes now; if that is all, handle what it has asked meanwhile."""
        self._flush(connection)
        self._sent(connection)

    def _sent(self, connection: _Connection) -> None:
        """Handle the next request, if the answer to the last one is sent."""
        if not connection.unsent:
            connection.take_back = None
            self._take(connection)

    def _flush(self, connection: _Connection) -> None:
        """Send what the client takes now."""
        while connection.unsent:
            part = connection.unsent[0]
            try:
                sent = calls.send(connection.socket, part[: 1 << 20])
            except OSError:
                self._drop(connection)
                return
            if not sent:
                break
            connection.since = monotonic()
            connection.unsent_bytes -= sent
            self._unsent -= sent
            if sent == len(part):
                connection.unsent.popleft()
            else:
                connection.unsent[0] = part[sent:]
        self._want(connection)
        if not connection.unsent:
            if connection.listens and connection.client is not None:
                for watch in connection.client.holdings.watches:
                    self._send_event(connection, requests.Changes(watch, []))
            self._resume()


def _is_whole(data: bytes) -> bool:
    """Return whether these bytes are one frame."""
    size = wire.LENGTH.size
    return len(data) >= size and len(data) == wire.LENGTH.unpack_from(data)[0] + size
