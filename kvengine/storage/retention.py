"""What may be dropped, and when. Pure; knows no files.

`overlay` knows no time, so dropping is a policy of its own, applied to a row
that a flush or a compaction has already overlaid. Some plausible shortcut breaks
each of these rules:

1.  An expired *entry* is final: in any layer it may become a tombstone.
2.  An expired *row* may become a tombstone only if no newer layer extends that
    object's expiry ("extended"): a newer row may state a later expiry and rely on
    the entries here. The caller looks for that after it has taken ``horizon``, and
    after every commit that had begun by then; later commits find the row expired
    and clear it.
3.  Tombstones go only at the bottom, where nothing older lies beneath.
4.  A row without live entries stays until its expiry has passed: a newer row
    may have carried that expiry along, and the object starts anew only after it.
5.  A segment goes unread only if all its rows are expired by rule 2 *and*
    nothing older overlaps it, since its rows hide what lies beneath.
"""

from __future__ import annotations

from kvengine.storage.row import CLEARED, ENTRY_TTLS, EXTENDS, VALUES_ONLY, Row, make


def retain(row: Row, horizon: int, *, extended: bool, bottom: bool) -> Row | None:
    """Return what is left of ``row`` in a rewritten layer, None for nothing.

    ``horizon``: what expired by this time (microseconds) may go. ``extended``: a
    newer layer extends the object's expiry. ``bottom``: nothing older lies
    beneath the object. ``row`` holds its entries: it is not the head of a large one.
    """
    if row.expires_at is not None and row.expires_at <= horizon and not extended:
        return None if bottom else Row(CLEARED | row.flags & EXTENDS, row.version, None, {})
    if row.flags in VALUES_ONLY and row.entries and not (bottom and row.cleared):
        return row
    entries = row.entries
    if row.flags & ENTRY_TTLS:
        entries = {
            name: None if isinstance(entry, tuple) and entry[0] <= horizon else entry
            for name, entry in entries.items()
        }
    if bottom or row.cleared:
        entries = {name: entry for name, entry in entries.items() if entry is not None}
    if bottom and not entries and row.expires_at is None:
        return None
    return make(
        row.version,
        entries,
        cleared=row.cleared and not bottom,
        extends=row.extends and not bottom,
        expires_at=row.expires_at,
        completed_at=row.completed_at,
    )


def segment_may_go(last_expiry: int | None, horizon: int, *, extended: bool, bottom: bool) -> bool:
    """Return whether a segment, its range tombstones included, may go unread (rule 5).

    ``last_expiry``: when the last of its rows expires, None if some row
    never does. ``extended``: a newer layer may extend some object in its range.
    ``bottom``: nothing older overlaps its range, so its tombstones hide nothing.
    """
    return last_expiry is not None and last_expiry <= horizon and bottom and not extended


def drop_horizon(now: int, *, grace: int, in_doubt: bool, last_trusted: int) -> int:
    """Return up to which expiry data may be dropped from disk, 0 for nothing yet.

    All times are in microseconds. Data may go ``grace`` after its expiry. While the
    clock is ``in_doubt`` (clock.py) nothing goes that was not already due at the last
    trusted time. That leaves time to notice a wrong clock, and to open the database
    again under the right one.
    """
    return max((min(now, last_trusted) if in_doubt else now) - grace, 0)
