"""Frames: blocks of segments kept in memory as they were read and checked, up to a budget.

A frame is keyed by its open segment, never by a file number, so a number that is used again cannot
bring back another file's bytes. Eviction is by second chance (the clock of Corbató, 1968, over a
queue): a frame that was used since it was last looked at stays for another round.

A frame does not keep its segment open. One that was replaced is still read by snapshots and walks
that began before, which may add frames to it; it is closed with the last of them, and its frames
count until their turn comes, or a further segment is replaced.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Protocol
from weakref import ref

from kvengine.storage.row import Row
from kvengine.storage.segment.block import RowBlock

OVERHEAD = 560
"""Bytes that a frame costs beside those of its block, about: slots and objects."""

_HEAD_CHUNK = 240
"""Bytes of memory that a chunk costs in a decoded head, about."""


class Frame:
    """A block in memory: of rows, or a chunk as the row that it is.

    ``head``: of a block that holds the head of a large row, that head, decoded.
    """

    __slots__ = ("block", "head", "offset", "size", "used")

    def __init__(self, offset: int, block: RowBlock | bytes, size: int) -> None:
        self.offset = offset
        self.block = block
        self.size = size + OVERHEAD
        self.used = False
        self.head: Row | None = None


class Holder(Protocol):
    """An open segment: its frames by the offset of their block."""

    frames: dict[int, Frame]


class Frames:
    """The budget of all frames. ``capacity`` in bytes. Thread-safe."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.bytes = 0
        self._queue: deque[tuple[ref[Holder], Frame]] = deque()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, holder: Holder, frame: Frame) -> None:
        """Keep a frame, and let others go until the budget holds.

        A block of more than an eighth of the budget is not kept. Nor is one that comes while
        another thread adds a frame: a reader does not wait.
        """
        # `acquire` without waiting would stay taken at an interrupt.
        if frame.size * 8 > self.capacity or self._lock.locked():
            return
        with self._lock:
            if holder.frames.setdefault(frame.offset, frame) is not frame:
                return
            self._queue.append((ref(holder), frame))
            self.bytes += frame.size
            while self.bytes > self.capacity and self._queue:
                self._let_one_go()

    def keep_head(self, holder: Holder, frame: Frame, head: Row) -> None:
        """Keep the head of a large row with its block, so that it is decoded once.

        As in `add`: not if it is large, or another thread is just here.
        """
        size = _HEAD_CHUNK * len(head.chunks or ())
        if size * 8 > self.capacity or self._lock.locked():
            return
        with self._lock:
            if frame.head is None and holder.frames.get(frame.offset) is frame:
                frame.head = head
                frame.size += size
                self.bytes += size
                while self.bytes > self.capacity and self._queue:
                    self._let_one_go()

    def _let_one_go(self) -> None:
        of, frame = self._queue.popleft()
        holder = of()
        if frame.used and holder is not None:
            frame.used = False
            self._queue.append((of, frame))
        else:
            self.bytes -= frame.size
            if holder is not None:
                holder.frames.pop(frame.offset, None)

    def forget(self, holder: Holder) -> None:
        """Let all frames of a segment go, which is no longer part of the database."""
        with self._lock:
            gone = (holder, None)
            kept = [each for each in self._queue if each[0]() not in gone]
            self._queue = deque(kept)
            self.bytes = sum(frame.size for _, frame in kept)
            holder.frames.clear()

    def clear(self) -> None:
        """Let all frames go. Waits for nobody."""
        queue, self._queue = self._queue, deque()
        self.bytes = 0
        for of, _ in list(queue):
            holder = of()
            if holder is not None:
                holder.frames.clear()
