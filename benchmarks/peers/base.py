"""What a benchmark asks of a store, and the key layout of those that only know flat keys.

Durability is the same on all sides: with `durable=False` a commit has reached the operating
system when it returns and nothing is fsynced; with `durable=True` each commit is fsynced.
Each store has the settings that its documentation recommends for this size of data and is called
through its own Python package in the way its users call it.

Session verbs do what a handler does: load an object, change one entry, commit. Each store has
the fastest way of the same load and the same commit.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol

import msgspec

from benchmarks.workload import FIELDS

Entries = dict[str, bytes]


class Memory(NamedTuple):
    """Bytes that a store may use: for blocks that were read, and for what is not yet in files."""

    cache: int
    write_buffer: int

    def __str__(self) -> str:
        return f"cache {_mebibytes(self.cache)}, write buffer {_mebibytes(self.write_buffer)}"


AMPLE = Memory(256 << 20, 64 << 20)  # the cache holds the whole working set
OURS = Memory(64 << 20, 16 << 20)  # the defaults of kvengine


class Peer(Protocol):
    """One open store."""

    def __init__(self, directory: str, durable: bool, memory: Memory = AMPLE) -> None:
        """Open or create the store in an existing directory."""

    @staticmethod
    def version() -> str:
        """The package and the library beneath it."""

    @staticmethod
    def settings(memory: Memory = AMPLE) -> str:
        """What was set apart from the defaults."""

    def load_object(self, service: str, key: str, entries: Entries, /) -> object:
        """Write all entries of one object in one atomic commit."""

    def get(self, service: str, key: str, state_key: str, /) -> bytes | None:
        """One value, None where there is none."""

    def get_all(self, service: str, key: str, /) -> Entries:
        """All entries of an object (eager load)."""

    def state_keys(self, service: str, key: str, /) -> list[str]:
        """The names of an object's entries, in order."""

    def set(self, service: str, key: str, state_key: str, value: bytes, /) -> object:
        """Write one value, as a commit of its own."""

    def commit(self, service: str, key: str, entries: Entries, /) -> object:
        """Write a few entries of one object in one atomic commit."""

    def commit_shared(self, service: str, key: str, entries: Entries, /) -> object:
        """Do the same as `commit`, called from many threads at once."""

    def clear_all(self, service: str, key: str, /) -> object:
        """Remove all entries of one object in one atomic commit."""

    def session(self, service: str, key: str, state_key: str, value: bytes, /) -> object:
        """Load all entries, read one, set it, commit."""

    def lazy_session(self, service: str, key: str, state_key: str, value: bytes, /) -> object:
        """Load one entry, set it, commit."""

    def count(self, service: str, key: str, /) -> object:
        """Load all entries of a typed object; add one to its field "count", using no other."""

    def review(self, service: str, key: str, /) -> object:
        """The same, with the values of all ten fields in the handler's hands."""

    def scan(self) -> int:
        """Walk all names and values; returns how many entries there are."""

    def scan_loop(self, objects: int, /) -> int:
        """Run the loop of `scan` over as many objects that are ready: its own cost, no store."""

    def scan_objects(self, service: str, start: str, count: int, /) -> object:
        """Return all names and values of so many objects, from the key ``start`` on."""

    def compact(self) -> None:
        """Compact all data by the store's own call; return when it is done."""

    def rewrite(self) -> None:
        """Do the same, without waiting for what may follow from it; other threads go on."""

    def settle(self) -> float:
        """Wait until nothing runs in the background, and a while longer to be sure.

        Return that while in seconds.
        """

    def close(self) -> None:
        """Release the directory."""


def object_prefix(service: str, key: str) -> bytes:
    """What all flat keys of an object begin with; keeps the order of the names."""
    return f"{service}\0{key}\0".encode()


def after_prefix(prefix: bytes) -> bytes:
    """The first flat key behind all that begin with an object's prefix (which ends with NUL)."""
    return prefix[:-1] + b"\1"


def flat_key(service: str, key: str, state_key: str) -> bytes:
    """The flat key of one entry."""
    return f"{service}\0{key}\0{state_key}".encode()


def group_objects(pairs: Iterable[tuple[bytes, bytes]], count: int) -> dict[bytes, Entries]:
    """Return the first ``count`` objects of flat keys in order, by their prefix."""
    objects: dict[bytes, Entries] = {}
    entries: Entries = {}
    last = None
    for name, value in pairs:
        prefix, _, state_key = name.rpartition(b"\0")
        if prefix != last:
            if len(objects) == count:
                break
            entries = objects[prefix] = {}
            last = prefix
        entries[state_key.decode()] = value
    return objects


def count_pairs(pairs: Iterable[tuple[object, object]]) -> int:
    """Walk pairs of a name and a value; return how many there are."""
    count = 0
    for _name, _value in pairs:
        count += 1
    return count


_encode = msgspec.json.Encoder().encode
_decoders = {name: msgspec.json.Decoder(kind).decode for name, kind in FIELDS.items()}
_decode_count = _decoders["count"]


def counted(entries: Entries) -> bytes:
    """The new bytes of "count" where the handler looks at nothing else."""
    return _encode(_decode_count(entries["count"]) + 1)


def reviewed(entries: Entries) -> bytes:
    """The new bytes of "count" where the handler has all ten values, of the right types."""
    values = {name: decode(entries[name]) for name, decode in _decoders.items()}
    return _encode(values["count"] + 1)


def _mebibytes(size: int) -> str:
    return f"{size / (1 << 20):.3g} MiB"
