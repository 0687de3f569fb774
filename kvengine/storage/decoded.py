"""Rows decoded: their fields, entries and flags, and the decoder that takes any valid MessagePack.

packed.py says what rows are as bytes.
"""

from __future__ import annotations

from typing import Final

import msgspec

Entry = bytes | None | tuple[int, bytes]
"""A value, a tombstone, or (expires_at, value)."""

# Flags of a row, frozen: the numbers are on disk.
CLEARED: Final = 1
"""Nothing older shows through."""
EXPIRES: Final = 2
"""The row states an expiry of the object."""
EXTENDS: Final = 4
"""Some commit in the row lengthened or removed an expiry that an older layer may still state."""
ENTRY_TTLS: Final = 8
"""Some entry may have an expiry of its own."""
TOMBSTONES: Final = 16
"""Some entry may be a tombstone."""
LARGE: Final = 32
"""The row is the head of a large one: its entries lie in chunks."""

TABLE_ENTRIES: Final = 32
"""A row with more entries carries a table of their offsets."""

LEAST_VERSION: Final = 1 << 32
"""Versions are at least this, so that MessagePack encodes each in eight bytes."""


class Missing:
    """The type of `MISSING`."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = Missing()
"""What `find` returns where a row says nothing of an entry."""


class Chunk(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where a part of a large row lies: entries from state key ``first`` on.

    ``offset`` is a byte of the file (on disk: relative to the end of the head's block), ``length``
    the bytes of the chunk with its trailer, ``entries`` their number.
    """

    first: str
    offset: int
    length: int
    entries: int


class Row(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A decoded row. Immutable. ``expires_at`` is the object's expiry in full, None for never.

    ``offsets`` is made anew when the row is encoded.
    """

    flags: int
    version: int
    expires_at: int | None
    entries: dict[str, Entry]
    completed_at: int | None = None
    chunks: list[Chunk] | None = None
    offsets: bytes = b""

    @property
    def cleared(self) -> bool:
        """Whether nothing older shows through."""
        return self.flags & CLEARED != 0

    @property
    def extends(self) -> bool:
        """Whether a commit in the row lengthened or removed an expiry."""
        return self.flags & EXTENDS != 0


class _RawRow(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A row whose entries are still bytes: views of the row, not copies."""

    flags: int
    version: int
    expires_at: int | None
    entries: dict[str, msgspec.Raw]


_decode = msgspec.msgpack.Decoder(Row).decode
_decode_array = msgspec.msgpack.Decoder(list[Row]).decode
_decode_raw = msgspec.msgpack.Decoder(_RawRow).decode
_decode_entry = msgspec.msgpack.Decoder(Entry).decode
_BAD = (msgspec.MsgspecError, UnicodeDecodeError, MemoryError, RecursionError)


def decode(data: bytes | memoryview) -> Row:
    """Return the row that these bytes are; ValueError if they are none."""
    try:
        return _decode(data)
    except _BAD as error:
        raise ValueError(f"not a row: {error}") from None


def decode_array(data: bytes | memoryview) -> list[Row]:
    """Return the rows of a MessagePack array, decoded in one call; ValueError if it is none."""
    try:
        return _decode_array(data)
    except _BAD as error:
        raise ValueError(f"not rows: {error}") from None


def find_raw(data: bytes, state_key: str) -> Entry | Missing:
    """Return what an encoded row says of one entry, and copy no other; `MISSING` for nothing."""
    try:
        found = _decode_raw(data).entries.get(state_key)
        return MISSING if found is None else _decode_entry(found)
    except _BAD as error:
        raise ValueError(f"not a row: {error}") from None
