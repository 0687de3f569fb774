"""Files and directories in memory, and what a power cut makes of them.

A file has two contents: the one that programs see and the durable one, which lags behind by the
`unsynced` changes, oldest first. A directory likewise has its entries, its durable entries, and for
each name the unsynced states it went through. Nodes are compared and hashed by identity, as inodes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from random import Random

SECTOR_SIZE: Final = 512
"""What a disk writes whole or not at all, in bytes."""


class Write(NamedTuple):
    offset: int
    data: bytes

    def apply(self, content: bytearray) -> None:
        if self.data:
            Allocate(self.offset).apply(content)
            content[self.offset : self.offset + len(self.data)] = self.data


class Truncate(NamedTuple):
    size: int

    def apply(self, content: bytearray) -> None:
        del content[self.size :]
        Allocate(self.size).apply(content)


class Allocate(NamedTuple):
    """The file becomes at least this long."""

    size: int

    def apply(self, content: bytearray) -> None:
        if len(content) < self.size:
            content.extend(bytes(self.size - len(content)))


Change: TypeAlias = Write | Truncate | Allocate


class FileNode:
    __slots__ = ("content", "durable", "unsynced")

    def __init__(self, content: bytes | bytearray = b"") -> None:
        self.content: bytearray = bytearray(content)
        self.durable: bytearray = bytearray(content)
        self.unsynced: list[Change] = []

    def __deepcopy__(self, _memo: object) -> FileNode:
        """Changes are immutable and shared: there may be very many."""
        node = FileNode(self.content)
        node.durable = bytearray(self.durable)
        node.unsynced = list(self.unsynced)
        return node

    def change(self, change: Change) -> None:
        change.apply(self.content)
        self.unsynced.append(change)

    def sync(self) -> None:
        for change in self.unsynced:
            change.apply(self.durable)
        self.unsynced.clear()

    def forget_unsynced(self) -> None:
        """Leave the changes visible, as a failed sync does: no later one makes them durable."""
        self.unsynced.clear()

    def settle(self) -> None:
        """Make the durable content the visible one, damage included."""
        self.durable = bytearray(self.content)
        self.unsynced.clear()

    def after_power_cut(self, rng: Random | None) -> FileNode:
        content = bytearray(self.durable)
        if rng is not None:
            for change in _surviving(self.unsynced, rng):
                change.apply(content)
        return FileNode(content)


class DirectoryNode:
    __slots__ = ("durable", "entries", "unsynced")

    def __init__(self, entries: dict[str, Node] | None = None) -> None:
        self.entries: dict[str, Node] = dict(entries or {})
        self.durable: dict[str, Node] = dict(self.entries)
        self.unsynced: dict[str, list[Node | None]] = {}

    def put(self, name: str, node: Node | None) -> None:
        """Let name show node, or nothing; not durable before `sync`."""
        _show(self.entries, name, node)
        self.unsynced.setdefault(name, []).append(node)

    def put_durably(self, name: str, node: Node) -> None:
        self.entries[name] = self.durable[name] = node
        self.unsynced.pop(name, None)

    def sync(self) -> None:
        for name, states in self.unsynced.items():
            _show(self.durable, name, states[-1])
        self.unsynced.clear()

    def after_power_cut(self, rng: Random | None) -> dict[str, Node]:
        """Each name shows its durable node or one of its later states, whatever the others show."""
        entries = dict(self.durable)
        if rng is not None:
            probability = rng.choice((0.0, 0.25, 0.5, 0.75, 1.0))
            for name, states in self.unsynced.items():
                for node in states:
                    if rng.random() < probability:
                        _show(entries, name, node)
        return entries


Node: TypeAlias = FileNode | DirectoryNode


def _show(entries: dict[str, Node], name: str, node: Node | None) -> None:
    if node is None:
        entries.pop(name, None)
    else:
        entries[name] = node


def _surviving(changes: list[Change], rng: Random) -> Iterator[Change]:
    """The changes that reached the disk, in two ways that a power cut is seen to take.

    Either all up to a point, the one there torn; or each by itself kept, dropped or torn.
    """
    if rng.random() < 0.4:
        end = rng.randint(0, len(changes))
        yield from changes[:end]
        for change in changes[end : end + 1]:
            yield from _torn(change, rng)
        return
    kept, torn = rng.random(), rng.random() / 2
    for change in changes:
        if rng.random() < kept:
            yield change
        elif rng.random() < torn:
            yield from _torn(change, rng)


def _torn(change: Change, rng: Random) -> Iterator[Change]:
    """A part of a write: a prefix that ends at any byte, some sectors of the disk, or no data.

    The new size may have reached the disk all the same: what is missing then reads as zeros.
    """
    if not isinstance(change, Write):
        return
    offset, data = change
    end = offset + len(data)
    kind = rng.choice(("prefix", "sectors", "size"))
    if kind == "prefix":
        yield Write(offset, data[: rng.randint(0, len(data))])
    elif kind == "sectors":
        start = offset
        while start < end:
            stop = min(end, start - start % SECTOR_SIZE + SECTOR_SIZE)
            if rng.random() < 0.5:
                yield Write(start, data[start - offset : stop - offset])
            start = stop
    if kind == "size" or rng.random() < 0.25:
        yield Allocate(end)
