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

from array import array
from collections import deque
from weakref import ref

from kvengine.storage.machine import Lock
from kvengine.storage.row import Row
from kvengine.storage.segment.block import RowBlock

OVERHEAD = 560
"""About how many bytes a frame costs beside those of its block: slots and objects."""

_BLOCK = 4096
"""About how many bytes a block has. One read is remembered for so many bytes of the budget."""

_HEAD_CHUNK = 240
"""About how many bytes of memory a chunk costs in a decoded head."""


_ODD = 0x9E3779B97F4A7C15  # any large odd constant, which spreads offsets over all bits
_BITS = 0xFFFFFFFFFFFFFFFF


class Frame:
    """A block in memory: a block of rows, or a chunk as its encoded row.

    ``offset``: where it was read. ``head``: the decoded head of a large row, if the block holds one
    and it was decoded.
    """

    __slots__ = ("block", "head", "offset", "size", "used")

    offset: int
    block: RowBlock | bytes
    size: int
    used: bool
    head: Row | None


def new_frame(offset: int, block: RowBlock | bytes, size: int) -> Frame:
    """Return a frame. Compiled, this costs less than a call of the class."""
    frame = Frame.__new__(Frame)
    frame.offset = offset
    frame.block = block
    frame.size = size + OVERHEAD
    frame.used = False
    frame.head = None
    return frame


class OpenSegment:
    """An open segment: its identity, and its frames by the offset of their block."""

    __slots__ = ("__weakref__", "file_id", "frames")

    def __init__(self, file_id: int) -> None:
        self.file_id: int = file_id
        self.frames: dict[int, Frame] = {}


class Frames:
    """The budget of all frames. ``capacity`` in bytes. Thread-safe."""

    def __init__(self, capacity: int, mapped: bool = False) -> None:
        """``mapped``: segments are mapped to memory, and blocks without a frame read there."""
        self.capacity = capacity
        self.mapped = mapped
        self.bytes: int = 0
        self._queue: deque[tuple[ref[OpenSegment], Frame]] = deque()
        self._lock = Lock()
        self._reads = array("Q", bytes(8 * (capacity // _BLOCK + 1)))
        """Reads that are remembered, each in the slot that its file and offset hash to."""
        self._last: RowBlock | None = None

    def __len__(self) -> int:
        return len(self._queue)

    def last(self, segment: OpenSegment, offset: int) -> RowBlock | None:
        """Return a block of rows if it is the one that was read last, and make it a frame."""
        block = self._last
        if block is None or block.offset != offset or block.file_id != segment.file_id:
            return None
        self.add(segment, new_frame(offset, block, len(block.data)))
        return block

    def note(self, segment: OpenSegment, offset: int, block: RowBlock | bytes, size: int) -> None:
        """Make a block that was read a frame if an earlier read of it is remembered.

        Else remember this read.

        If two threads call this at once, one may forget what the other remembers.
        """
        trace = (segment.file_id ^ offset * _ODD) & _BITS
        slot = (trace >> 32) % len(self._reads)
        if self._reads[slot] == trace:
            self.add(segment, new_frame(offset, block, size))
        else:
            self._reads[slot] = trace
            if size * 8 <= self.capacity and isinstance(block, RowBlock):
                self._last = block

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
            self._last = None

    def clear(self) -> None:
        """Drop all frames. Never waits for a lock."""
        self._last = None
        queue, self._queue = self._queue, deque()
        self.bytes = 0
        for reference, _ in list(queue):
            segment = reference()
            if segment is not None:
                segment.frames.clear()
