"""What is noted in two places, and what an interrupt or another thread finds between them."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from itertools import count
from typing import Any

import pytest

import kvengine
from kvengine.storage.frames import Frames, OpenSegment, new_frame
from kvengine.storage.memtable import Memtable
from kvengine.storage.row import Chunk, Row, pack_entries
from kvengine.storage.snapshots import Snapshots
from kvengine.storage.state import Change, State
from tests.durability.tripwire import Tripwire
from tests.rules.place import pending

STAMP = 1 << 40


class Interrupting(list[Any]):
    """A list that an interrupt follows at once when something was deleted from it."""

    armed = True

    def __delitem__(self, at: Any) -> None:
        super().__delitem__(at)
        if self.armed:
            self.armed = False
            raise KeyboardInterrupt


@pytest.mark.plain
def test_the_last_pending_commit_leaves_no_unpublished_states(db: kvengine.Engine) -> None:
    """A sync publishes the last pending commit, and an interrupt comes before the
    unpublished states are forgotten. Commits that follow were laid over these: the second of them
    over the first one's past, so that the first was gone.
    """
    with pytest.raises(KeyboardInterrupt):
        with pending(db, lambda batch: batch.set("s", "k", "a", b"1")):
            db._db.pending = Interrupting(db._db.pending)
    db.set("s", "k", "b", b"2")
    db.set("s", "k", "c", b"3")
    assert db.get_all("s", "k") == {"a": b"1", "b": b"2", "c": b"3"}


@pytest.mark.plain
def test_an_order_made_anew_knows_names_that_are_about_to_be_published() -> None:
    """An interrupt has broken off an update of a memtable's order, so the next walk makes it anew.
    A commit in another thread has noted its name and not published it yet. No walk and no flush
    found that object any more.
    """
    memtable = Memtable(1)

    def change(key: str, stamp: int) -> Change:
        made = Change(("s", key), None, pack_entries(stamp, {"n": b"1"}))
        made.state = State(stamp, made.row, None, 1, None)
        return made

    memtable.publish([change("a", STAMP)])
    memtable._torn = True

    class Published(dict[Any, Any]):
        """The states, into which a state goes only after a walk."""

        def __setitem__(self, name: Any, state: Any) -> None:
            assert memtable.names_from(("", ""), 10)
            super().__setitem__(name, state)

    memtable.states = Published(memtable.states)
    memtable.publish([change("b", STAMP + 1)])
    assert memtable.names_from(("", ""), 10) == [("s", "a"), ("s", "b")]


@pytest.mark.plain
def test_snapshots_counted_anew_show_no_bound_of_a_part_of_them() -> None:
    """An interrupt has broken off a change of the counts, so they are made anew, while a commit in
    another thread reads the newest stamp. It saw that of the snapshots counted so far, and unlinked
    a state that a newer snapshot needs.
    """
    seen: list[int] = []

    class Watched(Snapshots):
        @property
        def newest(self) -> int:  # type: ignore[override]
            return seen[-1]

        @newest.setter
        def newest(self, stamp: int) -> None:
            seen.append(stamp)

    snapshots = Watched()
    for stamp in (3, 5, 7):
        snapshots.open(snapshots.token(), stamp, frozenset())
    snapshots._torn = True
    seen.clear()
    assert not snapshots.names(0)
    assert len(snapshots) == 3
    assert set(seen) == {7}


def test_an_interrupt_leaves_the_lock_of_the_frames_free() -> None:
    """Keeping the head of a large row took the lock without waiting, outside of any `with`. A
    signal right behind that left it taken: no frame was kept any more, and a compaction that let
    the frames of its inputs go waited for ever.
    """
    head = Row(0, STAMP, None, {}, None, [Chunk("a", 0, 100, 1)])
    for n in count(1):
        frames, segment = Frames(1_000_000), OpenSegment(1)
        frame = new_frame(0, b"block", 5)
        frames.add(segment, frame)
        wire = Tripwire(n, KeyboardInterrupt)
        with suppress(KeyboardInterrupt):
            wire.run(partial(frames.keep_head, segment, frame, head))
        assert not frames._lock.locked(), f"at {wire.tripped}"
        if not wire.tripped:
            break
    assert frame.head is head
