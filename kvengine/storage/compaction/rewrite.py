"""The work of a job: its layers are walked in order, and what is left of each object is written.

Beside this stands a compiled twin, which does it without the interpreter lock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from kvengine.storage import names
from kvengine.storage.compaction.job import Abandoned, Layer
from kvengine.storage.fold import fold
from kvengine.storage.memtable import Memtable
from kvengine.storage.merge import Block, Source, merge
from kvengine.storage.segment.reader import LiveSegment

if TYPE_CHECKING:
    from kvengine.storage.compaction.run import Outputs, Policy

_CHECK_EVERY = 64
_BLOCK = 256


def rewrite(
    layers: Sequence[Layer], policy: Policy, outputs: Outputs, wanted: Callable[[], bool]
) -> None:
    """Write the overlay of ``layers`` (newest first), and of each object what ``policy`` retains.

    ``wanted`` is asked now and then whether to go on. If it says no, `Abandoned` is raised.
    """
    sources = [Source(_blocks(layer), layer.tombstones) for layer in layers]
    for count, (name, pieces) in enumerate(merge(sources, b"", names.END)):
        if count % _CHECK_EVERY == 0 and not wanted():
            raise Abandoned
        row, encoded = policy.retained(name, pieces)
        if row is not None:
            outputs.add(name, row, encoded)


def _blocks(layer: Layer) -> Iterator[Block]:
    if layer.table is not None:
        return _memtable_blocks(layer.table)
    return _segment_blocks(layer.segments)


def _segment_blocks(segments: Sequence[LiveSegment]) -> Iterator[Block]:
    """Yield the blocks of disjoint segments, each checked whole.

    Raise CorruptionError if a block is damaged, even where a newer layer hides it, or if objects do
    not ascend through the blocks.
    """
    last = b""
    for segment in segments:
        for block in segment.blocks_from(b"", names.END):
            objects = block.names
            try:
                if objects[0] <= last:
                    raise ValueError("objects are out of order")
                rows = block.rows
            except ValueError as error:
                raise segment.damaged(objects[0], error) from None
            last = objects[-1]
            yield Block(objects, rows, segment)


def _memtable_blocks(table: Memtable) -> Iterator[Block]:
    objects: list[bytes] = []
    rows: list[bytes] = []
    for name, found in table.rows():
        objects.append(name)
        rows.append(fold(found))
        if len(rows) == _BLOCK:
            yield Block(objects, rows, None)
            objects, rows = [], []
    if rows:
        yield Block(objects, rows, None)
