"""Rows: what one layer says of one object, and the law by which rows are overlaid.

A row is encoded once, by the commit that makes it, and the same bytes lie in the WAL, in the
memtable and in a segment. packed.py has their form, and what is done with bytes alone. Here is what
needs them decoded.

``overlay(new, old)`` is the row that says what both say. If new is cleared, it is new. Otherwise it
has new's entries over old's, and the expiry and the version of new. It is pure, knows no time, and
is associative, so neighbours may be replaced by their overlay and no read changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeVar, cast

import msgspec

from kvengine.storage.decoded import (
    CLEARED,
    ENTRY_TTLS,
    EXPIRES,
    EXTENDS,
    LARGE,
    LEAST_VERSION,
    MISSING,
    TABLE_ENTRIES,
    TOMBSTONES,
    Chunk,
    Entry,
    Missing,
    Row,
    decode_array,
)
from kvengine.storage.packed import (
    WITH_TABLE,
    check_prefix,
    check_prefixes,
    decode,
    entry_count,
    expires_at_of,
    find,
    items,
    pack,
    pack_entries,
    version_of,
)
from kvengine.storage.resolved import Resolved, with_ttls

# What others import from here, wherever it is defined.
__all__ = [
    "BARRIER",
    "CLEARED",
    "ENTRY_TTLS",
    "EXPIRES",
    "EXTENDS",
    "LARGE",
    "LEAST_VERSION",
    "MISSING",
    "TABLE_ENTRIES",
    "TOMBSTONES",
    "VALUES_ONLY",
    "WITH_TABLE",
    "Chunk",
    "Entry",
    "Missing",
    "Resolved",
    "Row",
    "check",
    "check_prefix",
    "check_prefixes",
    "completed_at_of",
    "decode",
    "decode_array",
    "decode_many",
    "encode",
    "encode_head",
    "entry_count",
    "expires_at_of",
    "extend",
    "find",
    "has_sound_numbers",
    "has_values",
    "in_order",
    "is_sorted",
    "items",
    "make",
    "overlay",
    "overlay_all",
    "pack",
    "pack_entries",
    "resolve",
    "version_of",
]

T = TypeVar("T")

BARRIER: Final = CLEARED | EXPIRES | EXTENDS
"""A row with one of these changes what older layers say, even of entries that it does not name."""

_INHERITED: Final = CLEARED | EXTENDS | ENTRY_TTLS | TOMBSTONES
"""Flags that a row keeps when a newer one is laid over it."""

VALUES_ONLY: Final = (0, CLEARED)
"""The possible flags of a row whose entries are all values, without any expiry."""

_NUMBERS_END: Final = 1 << 63
"""Versions and times are below this, so that there is room for the versions that follow."""

_NOT_COMPLETED: Final = 0x94
"""The first byte of the rows that have no place for ``completed_at``: nearly all."""

_encode = msgspec.msgpack.Encoder().encode


def make(
    version: int,
    entries: Mapping[str, Entry],
    *,
    cleared: bool = False,
    extends: bool = False,
    expires_at: int | None = None,
    completed_at: int | None = None,
) -> Row:
    """Return a row of these entries, in the order of their keys, with the flags that follow."""
    flags = CLEARED * cleared | EXTENDS * extends
    if expires_at is not None:
        flags |= EXPIRES
    values = entries.values()
    if None in values:
        flags |= TOMBSTONES
    if any(value.__class__ is tuple for value in values):
        flags |= ENTRY_TTLS
    return Row(flags, version, expires_at, in_order(entries), completed_at)


def encode(row: Row) -> bytes:
    """Return the bytes of a decoded row that is not the head of a large one."""
    return pack(row.flags, row.version, row.expires_at, row.entries, row.completed_at)


def encode_head(row: Row, chunks: Sequence[Chunk]) -> bytes:
    """Return the bytes of the head of a large row, whose entries lie in ``chunks``."""
    without_chunks = pack(row.flags | LARGE, row.version, row.expires_at, {})
    return b"".join((b"\x96", without_chunks[1:], _encode(row.completed_at), _encode(chunks)))


def decode_many(rows: Sequence[bytes]) -> list[Row]:
    """Return the rows that these bytes are; ValueError if one is none."""
    return decode_array(b"".join((b"\xdd", len(rows).to_bytes(4, "big"), *rows)))


def check(data: bytes) -> Row:
    """Return the row of bytes that nobody has checked; ValueError unless they are as `pack` writes.

    A row is valid if and only if (1) its fields have the right types and its numbers are in range,
    (2) its flags are known, state an expiry if and only if there is one, and a tombstone and an
    entry's expiry if there are any, (3) it names chunks if and only if its flags say so, and
    then holds no entries, (4) encoding it again gives the same bytes: so the numbers in front have
    their fixed width, each state key stands once, and a table is there if needed, and is right.
    """
    row = decode(data)
    flags, chunks = row.flags, row.chunks
    if not 0 <= flags < LARGE * 2:
        raise ValueError("not a row: its flags are not known")
    if not has_sound_numbers(row):
        raise ValueError("not a row: a version or a time is out of range")
    if (row.expires_at is not None) != (flags & EXPIRES != 0) or not _flags_cover(row):
        raise ValueError("not a row: it is not what its flags say")
    if (chunks is not None) != (flags & LARGE != 0):
        raise ValueError("not a row: it names chunks, or none, against its flags")
    if chunks is not None and (row.entries or not chunks):
        raise ValueError("not a row: the head of a large one holds entries, or names no chunks")
    written = encode(row) if chunks is None else encode_head(row, chunks)
    if written != data:
        raise ValueError("not a row: it is not written as rows are")
    return row


def has_sound_numbers(row: Row) -> bool:
    """Return whether version and times are in the range that a commit can write."""
    if not LEAST_VERSION <= row.version < _NUMBERS_END:
        return False
    if row.flags & ENTRY_TTLS:
        values = row.entries.values()
        if not all(0 <= entry[0] < _NUMBERS_END for entry in values if isinstance(entry, tuple)):
            return False
    times = (row.expires_at, row.completed_at)
    return all(time is None or 0 <= time < _NUMBERS_END for time in times)


def _flags_cover(row: Row) -> bool:
    """Return whether the flags state each kind of entry that the row holds; they may state more."""
    values = row.entries.values()
    return (row.flags & TOMBSTONES != 0 or None not in values) and (
        row.flags & ENTRY_TTLS != 0 or tuple not in map(type, values)
    )


def completed_at_of(data: bytes) -> int | None:
    """Return when an encoded row says that its workflow was completed, None if it was not."""
    return None if data[0] == _NOT_COMPLETED else decode(data).completed_at


def has_values(data: bytes) -> bool:
    """Return whether the fixed fields alone show that an encoded row has an entry with a value.

    If it is False, the row may still have one: it must be decoded to know.
    """
    return data[1] in VALUES_ONLY and data[12] != 0x80


# --- the law


def overlay(new: Row, old: Row) -> Row:
    """Return the row that says what ``new`` over ``old`` says.

    Neither may be the head of a large row.
    """
    if new.flags & CLEARED:
        return new
    return Row(
        new.flags | (old.flags & _INHERITED),
        new.version,
        new.expires_at,
        {**old.entries, **new.entries},
        new.completed_at,
    )


def overlay_all(rows: Sequence[Row]) -> Row:
    """Return the overlay of one object's rows, newest first; at least one.

    The result is that of repeated `overlay`, made in one pass.
    """
    newest = rows[0]
    if len(rows) == 1 or newest.flags & CLEARED:
        return newest
    shown = 0
    flags = newest.flags
    for row in rows:
        shown += 1
        flags |= row.flags & _INHERITED
        if row.flags & CLEARED:
            break
    entries: dict[str, Entry] = {}
    for row in reversed(rows[:shown]):
        entries.update(row.entries)
    return Row(flags, newest.version, newest.expires_at, entries, newest.completed_at)


# --- objects: rows with the time applied


def resolve(rows: Sequence[Row]) -> Resolved | None:
    """Return one object from its rows, newest first; None if no entry has a value."""
    if not rows:
        return None
    row = rows[0] if len(rows) == 1 else overlay_all(rows)
    entries = row.entries
    if not is_sorted(entries):
        entries = in_order(entries)
    if row.flags in VALUES_ONLY:
        values = cast("dict[str, bytes]", entries)
        return Resolved(row.version, None, values, None, None) if values else None
    ttls: dict[str, int] = {}
    values = {}
    for name, entry in entries.items():
        if isinstance(entry, tuple):
            ttls[name], values[name] = entry
        elif entry is not None:
            values[name] = entry
    return with_ttls(row.version, row.expires_at, values, ttls, row.completed_at)


def extend(base: Resolved | None, row: Row) -> Resolved | None:
    """Return ``row``, of a newer commit, laid over a resolved object."""
    if base is None or row.flags & CLEARED:
        return resolve((row,))
    if base.ttls is None and row.flags == 0 and base.expires_at is None:
        together = base.entries | cast("dict[str, bytes]", row.entries)
        if len(together) != len(base.entries):
            together = in_order(together)
        return Resolved(row.version, None, together, None, None)
    entries: dict[str, Entry] = dict(base.entries)
    for name, at in (base.ttls or {}).items():
        entries[name] = (at, base.entries[name])
    return resolve((row, make(base.version, entries, cleared=True)))


def in_order(entries: Mapping[str, T]) -> dict[str, T]:
    """Return the entries in key order."""
    return {name: entries[name] for name in sorted(entries)}


def is_sorted(entries: Iterable[str]) -> bool:
    """Return whether the state keys stand in order."""
    names = list(entries)
    return names == sorted(names)
