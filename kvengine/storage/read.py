"""Reading one object: overlay the layers newest to oldest, then apply now.

How a get travels:

1. The active memtable, then the frozen ones: states, found by a dict look-up.
2. The segments whose range includes the object, newest first. The filter says which of them may
   name the entry; the others are passed over, and remembered.
3. In a segment that may name it: index, frame (or one pread), bisection in the block. A value in a
   row that states no expiry is taken from where it lies; any other row is cut out and looked into.
4. Once an entry is found, the segments that were passed over are asked for a barrier; where one
   answers its row is read, since it may hide what was found, or state another expiry.
5. The clock is read last. If it were read before the layers, a compaction in between could drop
   what was still alive at that time.

It stops at a row that is cleared, or below a layer whose tombstone covers the object. Rows are
searched as bytes; only what was asked for is decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from heapq import merge
from typing import NamedTuple

from kvengine.storage import range_tombstones
from kvengine.storage import row as rows
from kvengine.storage.memtable import States
from kvengine.storage.names import Name, encode_object
from kvengine.storage.packed import find, values_of
from kvengine.storage.resolved import Resolved, plain_object
from kvengine.storage.row import (
    CLEARED,
    ENTRY_TTLS,
    EXPIRES,
    LARGE,
    MISSING,
    TOMBSTONES,
    Entry,
    Missing,
    Row,
    completed_at_of,
    entry_count,
    expires_at_of,
    resolve,
    version_of,
)
from kvengine.storage.segment.block import RowBlock
from kvengine.storage.segment.filter import barrier_digest, entry_digest, object_digest
from kvengine.storage.segment.reader import LiveSegment, SegmentReader
from kvengine.storage.version import View

_MAY_BE_DEAD = ENTRY_TTLS | TOMBSTONES
"""Flags of a row that may have an entry without a live value."""

HEAVY = 1024
"""An object with more entries than this is not resolved as a whole to read a part of it."""


class Piece:
    """What one layer says of an object: a row, and the segment that it was found in, if any."""

    __slots__ = ("name", "row", "segment")

    def __init__(self, row: bytes, segment: SegmentReader | None = None, name: bytes = b"") -> None:
        self.row: bytes = row
        self.segment: SegmentReader | None = segment
        self.name: bytes = name

    def load(self) -> Row:
        """Return the row, decoded, with all of its entries."""
        if self.segment is None:
            return rows.decode(self.row)
        return self.segment.load(self.row, self.name)

    def values(self) -> dict[str, bytes] | None:
        """Return the entries in key order if all are values without an expiry, else None."""
        try:
            return values_of(self.row)
        except ValueError as error:
            if self.segment is None:
                raise
            raise self.segment.damaged(self.name, error) from None

    def find(self, state_key: str) -> Entry | Missing:
        """Return what the row says of an entry, `MISSING` for nothing."""
        if self.segment is None:
            return find(self.row, state_key)
        return self.segment.find_in(self.row, self.name, state_key)

    def items(self, start: str) -> Iterator[tuple[str, Entry]]:
        """Yield the entries of the row in key order, from ``start`` on."""
        if self.segment is None:
            return rows.items(self.row, start)
        return self.segment.items_of(self.row, self.name, start)


class Summary(NamedTuple):
    """The version and expiry of an object that exists, and when it was completed."""

    version: int
    expires_at: int | None
    completed_at: int | None


# --- one entry


def get(  # noqa: C901, PLR0912 - one path, to be read from top to bottom
    view: View, name: Name, state_key: str, stamp: int | None, now: Callable[[], int]
) -> bytes | None:
    """Return the value of one entry, None if there is none. ``stamp``: of a snapshot, or None."""
    newest: bytes | None = None  # the newest row, which states the object's expiry
    for memtable in view.tables:
        if not memtable.states:
            continue
        state, hides = memtable.find(name, stamp)
        if state is not None:
            newest = newest or state.row
            while state is not None:
                entry = find(state.row, state_key)
                if entry is not MISSING:
                    return _live(entry, newest, now)
                state = state.below
        if hides:
            return None
    version = view.version
    encoded = encode_object(name[0], name[1])
    segments = version.segments_for(encoded)
    if not segments:
        return None
    digest = object_digest(encoded, version.seed)
    wanted = entry_digest(state_key, digest)
    passed: list[SegmentReader] | None = None
    for segment in segments:
        if segment.may_hold(wanted):
            found = segment.value_of(encoded, state_key)
            entry = MISSING
            row: bytes | None = None  # is looked at only if it may say more than the value
            if isinstance(found, RowBlock):
                row = segment.row_in(found, encoded)
                entry = segment.find_in(row, encoded, state_key)
            elif found is not None:
                entry = found
            if entry is not MISSING:
                if passed is not None:
                    for above in _barriers(passed, encoded, digest):
                        if above[1] & CLEARED:
                            return None
                        newest = newest or above
                return _live(entry, newest or row, now)
            if row is not None and row[1] & CLEARED:
                return None
        if segment.has_barriers:
            passed = [segment] if passed is None else [*passed, segment]
        if segment.tombstones and range_tombstones.covering(segment.tombstones, encoded):
            return None
    return None


def _barriers(passed: Sequence[SegmentReader], name: bytes, digest: int) -> Iterator[bytes]:
    """Yield the rows of an object in segments that were passed over and have a barrier for it."""
    barrier = barrier_digest(digest)
    for segment in passed:
        if segment.may_hold(barrier):
            row = segment.find(name)
            if row is not None:
                yield row


def _live(entry: Entry | Missing, newest: bytes | None, now: Callable[[], int]) -> bytes | None:
    """Return the value of an entry that was found, None if it or its object has expired.

    ``newest``: the newest row of the object, None if that is known to state no expiry.
    """
    expires_at = expires_at_of(newest) if newest is not None else None
    if isinstance(entry, tuple):
        at, value = entry
        expires_at = at if expires_at is None else min(at, expires_at)
    else:
        value = entry  # type: ignore[assignment]
    if expires_at is not None and expires_at <= now():
        return None
    return value


# --- one object


def collect(
    view: View,
    name: Name,
    stamp: int | None = None,
    unpublished: States | None = None,
    known: list[Piece] | None = None,
) -> list[Piece]:
    """Return what each layer says of an object, newest first, until nothing older shows through.

    ``unpublished``: states of commits not yet visible, for a commit that follows them. ``known``:
    what the memtables say, if they hide nothing: then the segments' pieces are added to that.
    """
    pieces: list[Piece] = [] if known is None else known
    if known is None and _add_states(pieces, view, name, stamp, unpublished):
        return pieces
    version = view.version
    encoded = encode_object(name[0], name[1])
    segments = version.segments_for(encoded)
    if not segments:
        return pieces
    digest = object_digest(encoded, version.seed)
    for segment in segments:
        if segment.may_hold(digest):
            row = segment.find(encoded)
            if row is not None:
                pieces.append(Piece(row, segment, encoded))
                if row[1] & CLEARED:
                    break
        if segment.tombstones and range_tombstones.covering(segment.tombstones, encoded):
            break
    return pieces


def _add_states(
    pieces: list[Piece], view: View, name: Name, stamp: int | None, unpublished: States | None
) -> bool:
    """Add what the memtables say of an object. Return whether they hide everything older."""
    for memtable in view.tables:
        ours = unpublished if memtable is view.active else None
        if not memtable.states and not ours:
            continue
        state, hides = memtable.find(name, stamp, ours)
        while state is not None:
            pieces.append(Piece(state.row))
            state = state.below
        if hides:
            return True
    return False


def whole(view: View, name: Name, stamp: int | None) -> Resolved | None:
    """Return an object before time is applied, None if there is none.

    What one segment alone says of it, by values only, is decoded where it lies.
    """
    known: list[Piece] = []
    if _add_states(known, view, name, stamp, None):
        return resolved(known)
    if not known:
        version = view.version
        encoded = encode_object(name[0], name[1])
        digest = object_digest(encoded, version.seed)
        only: LiveSegment | None = None
        alone = True
        for segment in version.segments_for(encoded):
            if segment.tombstones:
                alone = False
            if segment.may_hold(digest):
                alone = alone and only is None
                only = segment
        if only is None:
            return None
        found = only.values_of(encoded) if alone else None
        if found is not None:
            return plain_object(found[0], found[1])
    return resolved(collect(view, name, stamp, None, known))


def is_heavy(pieces: Sequence[Piece]) -> bool:
    """Return whether an object is too large to be decoded for a part of it."""
    entries = 0
    for piece in pieces:
        if piece.row[1] & LARGE:
            return True
        entries += entry_count(piece.row)
    return entries > HEAVY


def resolved(pieces: Sequence[Piece]) -> Resolved | None:
    """Return the object that pieces make, before time is applied."""
    if len(pieces) == 1:
        piece = pieces[0]
        values = piece.values()
        if values is not None:
            return plain_object(version_of(piece.row), values)
    return resolve([piece.load() for piece in pieces])


def entry_of(pieces: Sequence[Piece], state_key: str, now: int) -> bytes | None:
    """Return the value of one entry of an object that was collected, None if there is none."""
    for piece in pieces:
        entry = piece.find(state_key)
        if entry is not MISSING:
            return _live(entry, pieces[0].row, lambda: now)
    return None


def expiry_of(pieces: Sequence[Piece], state_key: str, now: int) -> int | None:
    """Return when a live entry of an object that was collected expires by a ttl of its own."""
    for piece in pieces:
        entry = piece.find(state_key)
        if entry is not MISSING:
            if isinstance(entry, tuple) and _live(entry, pieces[0].row, lambda: now) is not None:
                return entry[0]
            return None
    return None


def live_entries(
    pieces: Sequence[Piece], start: str, now: int
) -> Iterator[tuple[str, bytes, int | None]]:
    """Yield the live entries of an object in key order, from state key ``start`` on.

    Each is (state_key, value, expires_at). Nothing is decoded beyond the entries that are taken.
    """
    if not pieces or _has_expired(pieces, now):
        return
    last: str | None = None
    for state_key, _, entry in _overlaid(pieces, start):
        if state_key == last:
            continue
        last = state_key
        if isinstance(entry, tuple):
            at, value = entry
            if at > now:
                yield state_key, value, at
        elif entry is not None:
            yield state_key, entry, None


def _overlaid(pieces: Sequence[Piece], start: str) -> Iterator[tuple[str, int, Entry]]:
    """Yield (state key, rank, entry) in key order; for one state key the newest comes first."""
    if len(pieces) == 1:
        return ((key, 0, entry) for key, entry in pieces[0].items(start))
    return merge(*(_ranked(piece, rank, start) for rank, piece in enumerate(pieces)))


def _ranked(piece: Piece, rank: int, start: str) -> Iterator[tuple[str, int, Entry]]:
    return ((key, rank, entry) for key, entry in piece.items(start))


def summary(pieces: Sequence[Piece], now: int) -> Summary | None:
    """Return what is known of an object as a whole, None if it is absent at ``now``.

    Only so much is decoded as shows that an entry lives.
    """
    if not pieces or _has_expired(pieces, now):
        return None
    newest = pieces[0].row
    flags = newest[1]
    # What the newest row says of its own entries is final: no older row changes it.
    completed_at = completed_at_of(newest) if flags & EXPIRES else None
    lives = completed_at is not None or (
        not flags & _MAY_BE_DEAD and (flags & LARGE != 0 or entry_count(newest) > 0)
    )
    if lives or any(next(live_entries(part, "", now), None) for part in (pieces[:1], pieces)):
        return Summary(version_of(newest), expires_at_of(newest), completed_at)
    return None


def _has_expired(pieces: Sequence[Piece], now: int) -> bool:
    expires_at = expires_at_of(pieces[0].row)
    return expires_at is not None and expires_at <= now


def in_memory(view: View, name: Name, stamp: int | None) -> bool:
    """Return whether one object can be read without touching a file.

    It can if a memtable hides all that is older, or if each segment whose range and filter let the
    object through has its block as a frame. A compaction between this answer and the read may make
    it wrong, which costs a wait and nothing else.
    """
    for memtable in view.tables:
        if memtable.states and memtable.find(name, stamp)[1]:
            return True
    encoded = encode_object(name[0], name[1])
    segments = view.version.segments_for(encoded)
    if not segments:
        return True
    digest = object_digest(encoded, view.version.seed)
    return all(segment.has_in_memory(encoded) for segment in segments if segment.may_hold(digest))
