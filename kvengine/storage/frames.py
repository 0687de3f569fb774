"""Frames: blocks of segments kept in memory as they were read and checked, up to a budget.

A frame is keyed by its open segment, never by a file number, so a number that is used again cannot
bring back another file's bytes. Eviction is by second chance (the clock of Corbató, 1968, over a
queue): a frame that was used since it was last looked at stays for another round.

A frame does not keep its segment open. One that was replaced is still read by snapshots and walks
that began before, which may add frames to it; it is closed with the last of them, and its frames
count until their turn comes, or a further segment is replaced.

A block becomes a frame when it is read again while its last read is remembered (the doorkeeper of
TinyLFU; Einziger, Friedman and Manes, 2017). So a block that is read once, by a uniform load or a
listing, neither displaces one that is in use nor takes memory that was never touched before: to
read it again from the page cache costs less. The block that was read last is at hand in any case,
for a session that loads its object and then commits.
"""

from __future__ import annotations

import threading
from array import array
from collections import deque
from weakref import ref

from kvengine.storage.row import Row
from kvengine.storage.segment.block import RowBlock

OVERHEAD = 560
"""About how many bytes a frame costs beside those of its block: slots and objects."""

_BLOCK = 8192
"""About how many bytes a block has. One read is remembered for so many bytes of the budget."""

_HEAD_CHUNK = 240
"""About how many bytes of memory a chunk costs in a decoded head."""


class Frame:
    """A block in memory: a block of rows, or a chunk as its encoded row.

    ``head``: the decoded head of a large row, if the block holds one and it was decoded.
    """

    __slots__ = ("block", "head", "offset", "size", "used")

    def __init__(self, offset: int, block: RowBlock | bytes, size: int) -> None:
        self.offset = offset
        self.block = block
        self.size = size + OVERHEAD
        self.used = False
        self.head: Row | None = None


class OpenSegment:
    """An open segment: its identity, and its frames by the offset of their block."""

    __slots__ = ("__weakref__", "file_id", "frames")

    def __init__(self, file_id: int) -> None:
        self.file_id = file_id
        self.frames: dict[int, Frame] = {}


class Frames:
    """The budget of all frames. ``capacity`` in bytes. Thread-safe."""

    def __init__(self, capacity: int, mapped: bool = False) -> None:
        """``mapped``: segments are mapped to memory, and blocks without a frame read there."""
        self.capacity = capacity
        self.mapped = mapped
        self.bytes = 0
        self._queue: deque[tuple[ref[OpenSegment], Frame]] = deque()
        self._lock = threading.Lock()
        self._reads = array("q", bytes(8 * (capacity // _BLOCK + 1)))
        """Reads that are remembered, each in the slot that its file and offset hash to."""
        self._last: tuple[int, int, RowBlock | bytes] = (0, 0, b"")

    def __len__(self) -> int:
        return len(self._queue)

    def last(self, segment: OpenSegment, offset: int) -> RowBlock | bytes | None:
        """Return a block without a frame if it is the one that was read last."""
        file_id, at, block = self._last
        return block if at == offset and file_id == segment.file_id else None

    def note(self, segment: OpenSegment, offset: int, block: RowBlock | bytes, size: int) -> None:
        """Make a block a frame if an earlier read of it is remembered, else remember this read.

        If two threads call this at once, one may forget what the other remembers.
        """
        file_id = segment.file_id
        trace = hash((file_id, offset))
        slot = trace % len(self._reads)
        if self._reads[slot] == trace:
            self.add(segment, Frame(offset, block, size))
        else:
            self._reads[slot] = trace
            if size * 8 <= self.capacity:
                self._last = (file_id, offset, block)

    def add(self, segment: OpenSegment, frame: Frame) -> None:
        """Keep a frame, and evict others until the budget holds.

        A block of more than an eighth of the budget is not kept. Nor is one that is added while
        another thread adds a frame: a reader does not wait.
        """
        # `acquire` without waiting would stay taken at an interrupt.
        if frame.size * 8 > self.capacity or self._lock.locked():
            return
        with self._lock:
            if segment.frames.setdefault(frame.offset, frame) is not frame:
                return
            self._queue.append((ref(segment), frame))
            self.bytes += frame.size
            while self.bytes > self.capacity and self._queue:
                self._evict_one()

    def keep_head(self, segment: OpenSegment, frame: Frame, head: Row) -> None:
        """Keep the head of a large row with its block, so that it is decoded once.

        As in `add`, it is not kept if it is large, or if another thread adds a frame just now.
        """
        size = _HEAD_CHUNK * len(head.chunks or ())
        if size * 8 > self.capacity or self._lock.locked():
            return
        with self._lock:
            if frame.head is None and segment.frames.get(frame.offset) is frame:
                frame.head = head
                frame.size += size
                self.bytes += size
                while self.bytes > self.capacity and self._queue:
                    self._evict_one()

    def _evict_one(self) -> None:
        reference, frame = self._queue.popleft()
        segment = reference()
        if frame.used and segment is not None:
            frame.used = False
            self._queue.append((reference, frame))
        else:
            self.bytes -= frame.size
            if segment is not None:
                segment.frames.pop(frame.offset, None)

    def forget(self, segment: OpenSegment) -> None:
        """Drop all frames of a segment that is no longer part of the database."""
        with self._lock:
            gone = (segment, None)
            kept = [queued for queued in self._queue if queued[0]() not in gone]
            self._queue = deque(kept)
            self.bytes = sum(frame.size for _, frame in kept)
            segment.frames.clear()
            self._last = (0, 0, b"")

    def clear(self) -> None:
        """Drop all frames. Never waits for a lock."""
        self._last = (0, 0, b"")
        queue, self._queue = self._queue, deque()
        self.bytes = 0
        for reference, _ in list(queue):
            segment = reference()
            if segment is not None:
                segment.frames.clear()
