"""The law of layers, and what may be dropped from them, as properties."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import pytest

from kvengine.storage import range_tombstones as tombstones
from kvengine.storage.names import END, encode_object
from kvengine.storage.resolved import Resolved
from kvengine.storage.retention import retain, segment_may_go
from kvengine.storage.row import Entry, Row, make, overlay_all, resolve
from tests.model.layers import Layer, overlay

OBJECTS = [encode_object(service, key) for service in ("", "a", "a\0b") for key in ("", "k", "k1")]
BOUNDS = sorted([*OBJECTS, b"", END, *(name + b"\0" for name in OBJECTS)])
STATE_KEYS = ("", "n", "p")
TIMES = (3, 5, 9)


def random_row(random: Random, version: int) -> Row:
    entries: dict[str, Entry] = {}
    for name in random.sample(STATE_KEYS, random.randrange(len(STATE_KEYS) + 1)):
        value = random.choice((None, b"", b"%d" % version))
        entries[name] = value
        if value is not None and random.random() < 0.3:
            entries[name] = (random.choice(TIMES), value)
    return make(
        version,
        entries,
        cleared=random.random() < 0.3,
        extends=random.random() < 0.3,
        expires_at=random.choice((None, None, *TIMES)),
    )


def random_layer(random: Random, stamp: int) -> Layer:
    """A layer whose stamps lie in ``[stamp, stamp + 10)``."""
    found: tombstones.Tombstones = ()
    for at in range(random.choice((0, 0, 1, 2))):
        found = tombstones.add(found, *sorted(random.sample(BOUNDS, 2)), stamp + at)
    chosen = random.sample(OBJECTS, random.randrange(6))
    return Layer(found, {name: random_row(random, stamp + 5) for name in chosen})


def read(layers: Sequence[Layer], name: bytes) -> Resolved | None:
    """An object through layers, newest first, as every reader goes."""
    rows = []
    for layer in layers:
        if name in layer.rows:
            rows.append(layer.rows[name])
            if rows[-1].cleared:
                break
        if tombstones.covering(layer.tombstones, name):
            break
    return resolve(rows)


def view(layers: Sequence[Layer], name: bytes, now: int) -> Any:
    found = read(layers, name)
    live = found.at(now) if found is not None else None
    return None if live is None else (live.version, live.expires_at, live.entries, live.ttls)


def test_overlay_is_associative() -> None:
    """(a over b) over c is a over (b over c), in structure and in every read at every time."""
    random = Random(1)
    for _ in range(10_000):
        a, b, c = (random_layer(random, stamp) for stamp in (40, 20, 0))
        left, right = overlay(overlay(a, b), c), overlay(a, overlay(b, c))
        assert left == right
        name, now = random.choice(OBJECTS), random.choice((0, *TIMES))
        wanted = view([a, b, c], name, now)
        assert view([left], name, now) == view([a, overlay(b, c)], name, now) == wanted


def test_overlay_knows_no_time() -> None:
    """What has expired is laid over as what has not: an overlay that dropped it would not be."""
    new = Layer((), {OBJECTS[0]: make(2, {"n": b"new"}, expires_at=100)})
    old = Layer((), {OBJECTS[0]: make(1, {"p": b"old"}, expires_at=3)})
    assert view([overlay(new, old)], OBJECTS[0], 0) == view([new, old], OBJECTS[0], 0)
    found = read([new, old], OBJECTS[0])
    assert found is not None
    assert found.entries == {"n": b"new", "p": b"old"}


class Told:
    """One object told by commits, each resolved as commits are, cut into layers at random."""

    def __init__(self, random: Random) -> None:
        self.rows: list[Row] = []
        self.now = 0
        ends: int | None = None
        for version in range(1, random.randrange(5, 12)):
            self.now += random.choice((0, 1, 1, 2))
            cleared = ends is not None and ends <= self.now
            if cleared or random.random() < 0.1:
                cleared, ends = True, None
            extends = False
            entries: dict[str, Entry] = {}
            if not cleared and random.random() < 0.6:
                after = random.choice((None, self.now + 1, self.now + 2, self.now + 4))
                extends = ends is not None and (after is None or after > ends)
                ends = after
            else:
                name, value = random.choice(STATE_KEYS), random.choice((None, b"%d" % version))
                entries[name] = value
                if value is not None and random.random() < 0.3:
                    entries[name] = (self.now + random.choice((1, 3)), value)
            self.rows.append(
                make(version, entries, cleared=cleared, extends=extends, expires_at=ends)
            )
        self.now += random.choice((0, 1, 3))
        self.layers: list[Row] = []
        at = 0
        while at < len(self.rows):
            size = random.randrange(1, 4)
            self.layers.insert(0, overlay_all(self.rows[at : at + size][::-1]))
            at += size


def at(rows: Sequence[Row], now: int) -> Any:
    shown: list[Row] = []
    for row in rows:
        shown.append(row)
        if row.cleared:
            break
    found = resolve(shown)
    live = found.at(now) if found is not None else None
    return None if live is None else (live.version, live.expires_at, live.entries)


def written(rows: Sequence[Row], now: int) -> Row:
    """What a write of one entry at ``now`` states, as commits resolve it."""
    ends = rows[0].expires_at if rows else None
    if ends is not None and ends <= now:
        return make(99, {"n": b"later"}, cleared=True)
    return make(99, {"n": b"later"}, expires_at=ends)


def test_retain_changes_no_read_between_newer_and_older_layers() -> None:
    """Whatever goes by the rules, no read at or after the horizon tells, whatever lies around.

    The layer rewritten is any run of neighbours; newer ones may extend the
    expiry, older ones may hold what the rewritten row hides.
    """
    dropped = kept_for_newer = 0
    for seed in range(20_000):
        random = Random(seed)
        told = Told(random)
        horizon = told.now - random.choice((0, 0, 1))
        low = random.randrange(len(told.layers))
        high = random.randrange(low, len(told.layers)) + 1
        newer, older = told.layers[:low], told.layers[high:]
        row = overlay_all(told.layers[low:high])
        extended = any(one.extends for one in newer)
        left = retain(row, horizon, extended=extended, bottom=not older)
        dropped += left != row
        kept_for_newer += extended and row.expires_at is not None and row.expires_at <= horizon
        rewritten = [*newer, *([left] if left is not None else []), *older]
        for now in range(told.now, told.now + 7):
            assert at(rewritten, now) == at(told.layers, now), (seed, now, row, left)
        # A write that comes later carries the expiry that the layers state, or starts anew.
        later = [written(told.layers, told.now), written(rewritten, told.now)]
        for now in range(told.now, told.now + 7):
            assert at([later[1], *rewritten], now) == at([later[0], *told.layers], now), seed
    assert dropped > 5000
    assert kept_for_newer > 500


@pytest.mark.parametrize("extended", [False, True])
@pytest.mark.parametrize("bottom", [False, True])
@pytest.mark.parametrize("last", [None, 4, 5, 6])
def test_a_segment_goes_unread_only_where_its_rows_would(
    last: int | None, bottom: bool, extended: bool
) -> None:
    """All its rows expired, nothing newer that extends one, nothing older that they hide."""
    may = segment_may_go(last, 5, extended=extended, bottom=bottom)
    assert may == (last in (4, 5) and bottom and not extended)
    if may:
        assert last is not None
        assert (
            retain(make(1, {"n": b""}, expires_at=last), 5, extended=extended, bottom=bottom)
            is None
        )
