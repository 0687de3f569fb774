"""Rows, layers and overlay: the one law that reads, flushes and compactions follow.

A `Row` is what one layer says of one object. A `Layer` is range tombstones
and rows. The overlay of a new layer and an old one says what both say::

    drop from old all that new's tombstones cover or new's row clears;
    then new's entries win; expires_at and version are new's.

It is pure, knows no time and is associative, so any neighbours may be
replaced by their overlay and no read changes. Here it is defined for rows; the
code that walks layers applies their tombstones. Times are microseconds since
the epoch, as are stamps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import msgspec

from kvengine.storage.range_tombstones import Tombstones

_T = TypeVar("_T")


class Chunk(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where a part of a large row lies: entries from state key ``first`` on.

    ``offset`` is a byte of the file (on disk: relative to the end of the head's
    block), ``length`` the block's bytes, ``entries`` their number.
    """

    first: str
    offset: int
    length: int
    entries: int


class Row(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What one layer says of one object. Immutable; also the form on disk (format/FORMAT.md).

    ``entries`` maps a state key to its value, or to None for a tombstone.
    ``cleared``: nothing older shows through. ``expires_at`` is the object's
    expiry in full, None for never. ``ttls`` holds the expiry of those entries
    that have their own. ``extends``: some commit in this row lengthened or
    removed an expiry that an older layer may still state. ``chunks``: the
    row is the head of a large one, and its entries lie there.
    """

    version: int
    entries: dict[str, bytes | None]
    cleared: bool = False
    extends: bool = False
    expires_at: int | None = None
    ttls: dict[str, int] | None = None
    chunks: list[Chunk] | None = None


class Layer(NamedTuple):
    """Tombstones, which reach strictly older layers, and rows by encoded object."""

    tombstones: Tombstones
    rows: Mapping[bytes, Row]


def overlay_row(new: Row, old: Row) -> Row:
    """One row that says what ``new`` over ``old`` says. Neither may be a head of chunks."""
    if new.cleared:
        return new
    ttls = new.ttls
    if old.ttls:
        ttls = {name: at for name, at in old.ttls.items() if name not in new.entries}
        ttls.update(new.ttls or {})
    return Row(
        new.version,
        {**old.entries, **new.entries},
        old.cleared,
        new.extends or old.extends,
        new.expires_at,
        ttls or None,
    )


def overlay_rows(rows: Sequence[Row]) -> Row:
    """The overlay of one object's rows, newest first; at least one."""
    result = rows[-1]
    for row in reversed(rows[:-1]):
        result = overlay_row(row, result)
    return result


class Resolved(msgspec.Struct, frozen=True, gc=False):
    """An object as all layers together state it, before time is applied.

    ``entries`` are values in key order, without tombstones; ``soonest`` is the
    first instant at which anything of it expires, None where nothing does.
    Never empty. Shared between readers: nobody changes it.
    """

    version: int
    expires_at: int | None
    entries: dict[str, bytes]
    ttls: dict[str, int] | None
    soonest: int | None

    def at(self, now: int) -> Resolved | None:
        """What is live at ``now``; None where the object does not exist then."""
        if self.soonest is None or self.soonest > now:
            return self
        if self.expires_at is not None and self.expires_at <= now:
            return None
        ttls = self.ttls or {}
        gone = {name for name, at in ttls.items() if at <= now}
        entries = {name: value for name, value in self.entries.items() if name not in gone}
        left = {name: at for name, at in ttls.items() if name not in gone}
        return _resolved(self.version, self.expires_at, entries, left)


def resolve(rows: Sequence[Row]) -> Resolved | None:
    """One object from its rows, newest first; None where no entry has a value."""
    if not rows:
        return None
    row = overlay_rows(rows)
    if row.expires_at is None and row.ttls is None and is_sorted(row.entries):
        values = row.entries.values()
        if values and None not in values:
            return Resolved(row.version, None, row.entries, None, None)  # type: ignore[arg-type]
    return _resolved(row.version, row.expires_at, in_order(row.entries), row.ttls or {})


def extend(base: Resolved | None, row: Row) -> Resolved | None:
    """``row``, a newer commit, over a resolved object."""
    if row.cleared or base is None:
        return resolve((row,))
    timeless = base.soonest is None and row.expires_at is None and row.ttls is None
    if timeless and None not in row.entries.values():
        together: dict[str, bytes] = base.entries | row.entries  # type: ignore[assignment]
        if len(together) != len(base.entries):
            together = in_order(together)
        return Resolved(row.version, None, together, None, None)
    under = Row(base.version, base.entries, True, False, base.expires_at, base.ttls)  # type: ignore[arg-type]
    merged = overlay_row(row, under)
    entries = merged.entries
    if not base.entries.keys() >= row.entries.keys():
        entries = in_order(entries)
    return _resolved(merged.version, merged.expires_at, entries, merged.ttls or {})


def in_order(entries: Mapping[str, _T]) -> dict[str, _T]:
    """The entries in key order."""
    return {name: entries[name] for name in sorted(entries)}


def is_sorted(entries: Mapping[str, object]) -> bool:
    """Whether the entries stand in key order."""
    names = list(entries)
    return names == sorted(names)


def _resolved(
    version: int,
    expires_at: int | None,
    entries: Mapping[str, bytes | None],
    ttls: Mapping[str, int],
) -> Resolved | None:
    values = {name: value for name, value in entries.items() if value is not None}
    if not values:
        return None
    ends: Iterable[int] = ttls.values() if expires_at is None else (expires_at, *ttls.values())
    return Resolved(version, expires_at, values, dict(ttls) or None, min(ends, default=None))
