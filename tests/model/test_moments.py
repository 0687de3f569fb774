"""What one moment is: batches appear at once, and a snapshot's layers come before its now."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest

import kvengine
from kvengine.fs import MemoryFileSystem
from kvengine.storage.clock import EngineClock, ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def db(clock: ManualClock) -> Iterator[kvengine.Engine]:
    options: dict[str, Any] = {"background": "none", "expiry_grace": 0, "durability": "os"}
    with kvengine.open("/db", fs=MemoryFileSystem(), clock=clock, **options) as db:
        yield db


@pytest.mark.plain
def test_a_snapshot_takes_its_layers_before_its_now(
    db: kvengine.Engine, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A compaction that drops what expires just now takes nothing from a snapshot of before.

    Read the other way round, an object that lives at the snapshot's now would
    be missing from its layers.
    """
    db.set("a", "1", "n", b"v")
    db.expire("a", "1", ttl=1)
    db.flush()
    kind = type(db._db.clock)
    original = kind.now
    reads = 0

    def time_passes_and_compaction_runs() -> None:
        clock.advance(2)
        db.compact()

    def now(inner: EngineClock) -> int:
        nonlocal reads
        found = original(inner)
        reads += 1
        if reads == 1:
            monkeypatch.setattr(kind, "now", original)
            other = threading.Thread(target=time_passes_and_compaction_runs)
            other.start()
            # Where the layers are taken under a lock, compaction waits for it.
            other.join(0.3)
            others.append(other)
        return found

    others: list[threading.Thread] = []
    monkeypatch.setattr(kind, "now", now)
    with db.snapshot() as snapshot:
        for other in others:
            other.join()
        assert reads == 1
        assert snapshot.get("a", "1", "n") == b"v", "the snapshot's now came before its layers"
        assert [one.key for one in snapshot.scan()] == ["1"]
    assert db.get("a", "1", "n") is None


@pytest.mark.plain
def test_a_batch_appears_at_once(db: kvengine.Engine) -> None:
    """At no line of its publication does a reader see one object of a batch without the other."""
    counters = (("a", "1"), ("a", "2"), ("b", "1"))
    seen: list[list[bytes | None]] = []

    def look(frame: FrameType, event: str, argument: object) -> Any:
        if frame.f_code.co_name == "publish":
            seen.append([db.get(*name, "n") for name in counters])
            return look
        return None

    for count in range(6):
        batch = kvengine.Batch()
        if count == 4:
            batch.clear_service("a")
        for name in counters:
            batch.set(*name, "n", b"%d" % count)
        sys.settrace(look)
        try:
            db.write(batch)
        finally:
            sys.settrace(None)
    assert len(seen) > 30
    for values in seen:
        assert len(set(values)) == 1, f"a reader saw {values}"
