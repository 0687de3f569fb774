"""What may be dropped, and when. Pure; knows no files.

`overlay` knows no time, so forgetting is a policy of its own, applied to a row
that a flush or a compaction has already overlaid. The rules, each of which
some plausible shortcut breaks:

1.  An expired *entry* is final: in any layer it may become a tombstone.
2.  An expired *row* may become a tombstone only if no newer layer extends that
    object's expiry ("held"): a newer row may state a later expiry and rely on
    the entries here. The caller looks after it has taken ``horizon`` and behind
    every commit already begun; later commits see the row as expired and clear it.
3.  Tombstones go only at the bottom: where nothing older lies beneath.
4.  A row without live entries stays until its expiry has passed: a newer row
    may have carried that expiry along, and the object starts anew only after it.
5.  A segment goes unread only if all its rows are expired by rule 2 *and*
    nothing older overlaps it, since its rows hide what lies beneath.
"""

from __future__ import annotations

from kvengine.storage.row import Row


def retain(row: Row, horizon: int, *, held: bool, bottom: bool) -> Row | None:
    """What is left of ``row`` in a rewritten layer; None for nothing.

    ``horizon``: what expired by this time (microseconds) may go. ``held``: a
    newer layer extends the object's expiry. ``bottom``: nothing older lies
    beneath the object. ``row`` holds its entries (is no head of chunks).
    """
    if row.expires_at is not None and row.expires_at <= horizon and not held:
        return None if bottom else Row(row.version, {}, True, row.extends)
    hides_nothing = bottom or row.cleared
    entries, ttls = row.entries, row.ttls
    if ttls and min(ttls.values()) <= horizon:
        gone = {name for name, at in ttls.items() if at <= horizon}
        entries = {name: None if name in gone else value for name, value in entries.items()}
        ttls = {name: at for name, at in ttls.items() if name not in gone} or None
    if hides_nothing and None in entries.values():
        entries = {name: value for name, value in entries.items() if value is not None}
    if not bottom:
        return Row(row.version, entries, row.cleared, row.extends, row.expires_at, ttls)
    if not entries and row.expires_at is None:
        return None
    return Row(row.version, entries, False, False, row.expires_at, ttls)


def segment_may_go(last_expiry: int | None, horizon: int, *, held: bool, bottom: bool) -> bool:
    """Whether a whole segment may go without being read (rule 5), its range tombstones included.

    ``last_expiry``: when the last of its rows expires, None where some row
    never does. ``held``: a newer layer may extend some object in its range.
    ``bottom``: nothing older overlaps its range, so its tombstones hide nothing.
    """
    return last_expiry is not None and last_expiry <= horizon and bottom and not held


def drop_horizon(now: int, *, grace: int, in_doubt: bool, last_trusted: int) -> int:
    """Up to which expiry data may be dropped from disk; 0 for nothing yet. Microseconds.

    ``grace`` after its expiry. While the clock is ``in_doubt`` (clock.py) nothing
    goes that was not already due at the last trusted time: long enough to notice
    a wrong clock, and to open the database again under the right one.
    """
    return max((min(now, last_trusted) if in_doubt else now) - grace, 0)
