"""A chain of states, one for each snapshot that is open, is freed without deep recursion."""

from __future__ import annotations

import threading

from kvengine.fs import MemoryFileSystem
from kvengine.storage.clock import ManualClock
from tests.rules.place import opened

SNAPSHOTS = 60_000
STACK = 256 * 1024  # bytes: a frame of C for each state would need ten times as much


def test_a_long_chain_is_freed(fs: MemoryFileSystem, clock: ManualClock) -> None:
    """Each snapshot keeps the state that it sees; all go at once, in a thread of a small stack."""
    lengths: list[int] = []

    def work() -> None:
        db = opened(fs, clock)
        snapshots = []
        for number in range(SNAPSHOTS):
            db.set("s", "k", "n", b"%d" % number)
            snapshots.append(db.snapshot())
        state, length = db._db.view.active.states["s", "k"], 0
        head = state
        while state is not None:
            state, length = state.prev, length + 1
        lengths.append(length)
        for snapshot in snapshots:
            snapshot.close()
        db.close()
        del db, snapshots, snapshot
        del head  # and so the chain

    before = threading.stack_size(STACK)
    try:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    assert lengths and lengths[0] >= SNAPSHOTS - 1
