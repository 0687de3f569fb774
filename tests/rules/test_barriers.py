"""Filters pass layers over; what these say of the whole object must still count."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import kvengine
from kvengine.storage.clock import ManualClock

KEYS = [f"{n:02}" for n in range(40)]
"""So many that the filter passes over the upper layer for most, whatever the seed."""

OLD = b"of the lower layer"


def lower(db: kvengine.Engine, ttl: float | None = None) -> None:
    """Write the layer in which the entry is found."""
    for key in KEYS:
        db.set("s", key, "n", OLD)
        if ttl is not None:
            db.expire("s", key, ttl=ttl)
    db.flush()


def upper(db: kvengine.Engine, write: Callable[[str], object]) -> None:
    """Write a layer above it, which does not name the entry."""
    for key in KEYS:
        write(key)
    db.flush()


def found(db: kvengine.Engine) -> list[bytes | None]:
    """Read the entry of each object by one get, which is what filters are asked for."""
    return [db.get("s", key, "n") for key in KEYS]


def test_a_cleared_row_that_was_passed_over_hides_the_entry(db: kvengine.Engine) -> None:
    """An object was cleared and written anew. Its new row does not name the old entry, so the
    filter passes the layer over, and the entry turns up below. The barrier says: it is gone.
    """

    def anew(key: str) -> None:
        db.clear_all("s", key)
        db.set("s", key, "other", b"new")

    lower(db)
    upper(db, anew)
    assert found(db) == [None] * len(KEYS)
    assert db.get_many("s", "00", ["n", "other"]) == {"other": b"new"}


def test_an_expiry_that_was_passed_over_counts(db: kvengine.Engine, clock: ManualClock) -> None:
    """An object was given an expiry after its entry had been flushed. The entry's own layer knows
    of no end; the layer above, passed over, does.
    """
    lower(db)
    upper(db, lambda key: db.expire("s", key, ttl=10))
    assert found(db) == [OLD] * len(KEYS)
    clock.advance(11)
    assert found(db) == [None] * len(KEYS)


@pytest.mark.parametrize("ttl", [None, 100.0])
def test_an_expiry_that_was_lifted_no_longer_counts(
    db: kvengine.Engine, clock: ManualClock, ttl: float | None
) -> None:
    """The entry's layer says that the object ends soon; a layer above, passed over, says later, or
    never. A row that says "never" holds no time, and is a barrier all the same.
    """
    lower(db, ttl=10)
    upper(db, lambda key: db.expire("s", key, ttl=ttl))
    clock.advance(11)
    assert found(db) == [OLD] * len(KEYS)


def test_the_newest_of_several_barriers_counts(db: kvengine.Engine, clock: ManualClock) -> None:
    """Two layers are passed over, one with a short expiry and above it one with a long one."""
    lower(db)
    upper(db, lambda key: db.expire("s", key, ttl=10))
    upper(db, lambda key: db.expire("s", key, ttl=100))
    clock.advance(11)
    assert found(db) == [OLD] * len(KEYS)
    clock.advance(100)
    assert found(db) == [None] * len(KEYS)


def test_a_tombstone_is_no_layer_to_pass_over(db: kvengine.Engine) -> None:
    """An entry was cleared. A tombstone is an item of the filter as a value is: the layer that
    holds it names the entry, or the old value would come back.
    """
    lower(db)
    upper(db, lambda key: db.clear("s", key, "n"))
    assert found(db) == [None] * len(KEYS)


def test_plain_rows_are_no_barriers(db: kvengine.Engine) -> None:
    """Other entries, and ttls of theirs, say nothing of this one: such layers are passed over."""
    lower(db)
    upper(db, lambda key: db.set("s", key, "other", b"new", ttl=5))
    assert [segment.properties.barriers for segment in db._db.view.version] == [0, 0]
    assert found(db) == [OLD] * len(KEYS)
