"""Connections of an event loop to the owner: many requests under way, answered in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from kvengine.share import calls, wire
from kvengine.share.link import Broken, Link
from kvengine.share.owner import RemoteOwner

MOST_WRITING = 16
"""Connections for commits: one that waits for its sync holds up those behind it."""

MOST_BYTES = 64 * 1024
"""Bytes of a request that goes this way: a longer one would hold up those behind it."""

_PAUSE = 1.0
"""Seconds until one more connection is tried after there was none to be had."""


class Pipeline:
    """A connection on which requests follow each other without a wait. Of one event loop's thread.

    Pipelining as of HTTP/1.1 and Redis: the owner answers in the order in which it was asked.
    """

    def __init__(self, link: Link, loop: asyncio.AbstractEventLoop, owner: RemoteOwner) -> None:
        """``link``: a connection that ``owner`` has lent."""
        self._link = link
        self._loop = loop
        self._owner = owner
        self.waiting: deque[asyncio.Future[bytes | bytearray]] = deque()
        """Answers to come, in order."""
        self._arrived: bytes | bytearray = b""
        self._unsent = bytearray()
        self._since = 0.0
        """When the owner last answered, or was asked while it owed no answer."""
        self._timer: asyncio.TimerHandle | None = None
        self.is_broken: bool = False
        loop.add_reader(link.fileno(), self._receive)

    def ask(self, data: bytes) -> asyncio.Future[bytes | bytearray]:
        """Send a request in its frame, and return the answer to come, without its own frame.

        Instead of an answer there is Broken if the connection ends, or if the owner answers
        nothing for as long as it may.
        """
        answer: asyncio.Future[bytes | bytearray] = self._loop.create_future()
        if self.is_broken:
            answer.set_exception(Broken(False))
            return answer
        if not self.waiting:
            self._since = self._loop.time()
            if self._timer is None:
                self._timer = self._loop.call_later(self._owner.patience, self._look)
        self.waiting.append(answer)
        if self._unsent:
            self._unsent += data
            return answer
        try:
            sent = calls.send(self._link.socket, data)
        except OSError:
            self.end()
            return answer
        if sent < len(data):
            self._unsent += data[sent:]
            self._loop.add_writer(self._link.fileno(), self._send)
        return answer

    def _send(self) -> None:
        """Send what the owner takes now."""
        try:
            del self._unsent[: calls.send(self._link.socket, self._unsent)]
        except OSError:
            self.end()
            return
        if not self._unsent:
            self._loop.remove_writer(self._link.fileno())

    def _receive(self) -> None:
        try:
            piece = calls.receive(self._link.socket)
        except OSError:
            piece = b""
        if piece is None:
            return
        if not piece:
            self.end()
            return
        data: bytes | bytearray = piece
        if self._arrived:
            data = bytearray(self._arrived) if type(self._arrived) is bytes else self._arrived
            data += piece
        self._since = self._loop.time()
        begin, size = 0, wire.LENGTH.size
        while len(data) - begin >= size:
            end = begin + size + wire.LENGTH.unpack_from(data, begin)[0]
            if end > len(data):
                break
            if not self.waiting:  # an answer that nobody asked for
                self.end()
                return
            answer = self.waiting.popleft()
            if not answer.done():  # else who asked was cancelled
                answer.set_result(data[begin + size : end])
            begin = end
        self._arrived = data[begin:] if begin else data

    def _look(self) -> None:
        """End the connection if the owner has been silent for too long."""
        self._timer = None
        if not self.waiting or self.is_broken:
            return
        self._receive()  # a loop that was busy has not read yet what has arrived
        left = self._since + self._owner.patience - self._loop.time()
        if left <= 0:
            self.end(is_slow=True)
        elif self.waiting and not self.is_broken:
            self._timer = self._loop.call_later(left, self._look)

    def end(self, is_slow: bool = False) -> None:
        """Hang up; what waits for an answer gets Broken. May be called again."""
        if self.is_broken:
            return
        self.is_broken = True
        if not self._loop.is_closed():
            self._loop.remove_reader(self._link.fileno())
            self._loop.remove_writer(self._link.fileno())
        if self._timer is not None:
            self._timer.cancel()
        self._owner.take_back(self._link)
        while self.waiting:
            answer = self.waiting.popleft()
            if not (answer.done() or self._loop.is_closed()):
                answer.set_exception(Broken(True, is_slow))

    def drop(self) -> None:
        """Let the event loop hang up, if it ever runs again. May be called in any thread."""
        self._link.shut()

    def __del__(self) -> None:
        if not getattr(self, "is_broken", True):  # its loop has closed
            self._owner.take_back(self._link)


class Pipelines:
    """The connections of one event loop to one owner. Opened when they are wanted, by a thread."""

    def __init__(
        self,
        owner: RemoteOwner,
        loop: asyncio.AbstractEventLoop,
        run: Callable[[Callable[[], Link | None]], asyncio.Future[Link | None]],
    ) -> None:
        """``run``: begins work in a thread."""
        self.owner = owner
        self._loop = loop
        self._run = run
        self._reading: list[Pipeline] = []
        self._writing: list[Pipeline] = []
        self._opening: asyncio.Future[Link | None] | None = None
        self._opens_again = 0.0
        self._is_closed = False

    def reading(self) -> Pipeline | None:
        """Return the connection for what is answered at once, None if there is none yet."""
        return self._of(self._reading, 1)

    def writing(self) -> Pipeline | None:
        """Return the connection on which the fewest commits wait, None if there is none yet."""
        return self._of(self._writing, MOST_WRITING)

    def _of(self, pipelines: list[Pipeline], most: int) -> Pipeline | None:
        least = None
        for each in pipelines:
            if each.is_broken:
                continue
            if not each.waiting:
                return each
            if least is None or len(each.waiting) < len(least.waiting):
                least = each
        if (
            self._opening is None
            and sum(not each.is_broken for each in pipelines) < most
            and self._loop.time() >= self._opens_again
            and not self._is_closed
        ):
            self._opening = self._run(self.owner.lend)
            self._opening.add_done_callback(lambda opened: self._opened(opened, pipelines))
        return least

    def _opened(self, opened: asyncio.Future[Link | None], pipelines: list[Pipeline]) -> None:
        self._opening = None
        failed = opened.cancelled() or opened.exception() is not None
        link = None if failed else opened.result()
        if link is None:  # who asks meanwhile does so in a thread
            self._opens_again = self._loop.time() + _PAUSE
            return
        if self._is_closed or self._loop.is_closed():
            self.owner.take_back(link)
            return
        pipelines[:] = [each for each in pipelines if not each.is_broken]
        pipelines.append(Pipeline(link, self._loop, self.owner))

    async def finish(self) -> None:
        """Wait for all answers to come and for what is just being opened, and hang up.

        Nothing must be asked any more. May be called again.
        """
        waiting = [answer for each in (*self._reading, *self._writing) for answer in each.waiting]
        if waiting:
            await asyncio.wait(waiting)
        self.close()
        if self._opening is not None:
            await asyncio.wait((self._opening,))

    def close(self) -> None:
        """Hang up. May be called again."""
        self._is_closed = True
        for each in (*self._reading, *self._writing):
            each.end()

    def __del__(self) -> None:
        """Hang up for a store that was forgotten: the event loop keeps its connections."""
        for each in (*self._reading, *self._writing):
            if not each.is_broken:
                each.drop()
