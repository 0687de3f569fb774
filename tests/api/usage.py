"""The API as its users write it. Checked with mypy --strict, and run, by test_public_names.py."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import kvengine
from kvengine import Batch, Engine, Snapshot, Stats, Store, StoredObject


def greet(store: Store, key: str) -> int:
    count = int(store.get("Greeter", key, "count") or b"0") + 1
    return store.set("Greeter", key, "count", b"%d" % count, ttl=timedelta(hours=1))


def transfer(store: Store, source: str, target: str, amount: int) -> int | None:
    found: StoredObject | None = store.load("Account", source)
    if found is None:
        return None
    with store.batch() as batch:
        batch.set("Account", source, "balance", b"0")
        batch.set("Account", target, "balance", b"%d" % amount)
    return batch.stamp


def optimistic(store: Store, key: str) -> bool:
    batch = Batch()
    batch.set("Account", key, "n", b"1")
    try:
        store.write(batch, expect={("Account", key): store.version("Account", key)})
    except kvengine.VersionConflict as conflict:
        return conflict.actual == conflict.expected
    return True


def visit(store: Store, key: str) -> int:
    visits: kvengine.VirtualObject = store.object("Visits", key)
    with visits.session() as state:
        state.set("n", state.get("n", 0, type=int) + 1)
    flow: kvengine.Workflow = store.workflow("Order", key, retention=timedelta(hours=1))
    return visits.get("n", 0, type=int) + flow.version()


def look(snapshot: Snapshot) -> list[str]:
    keys: Iterator[str] = snapshot.object_keys("Account", prefix="a", limit=10, reverse=True)
    sizes = [sum(map(len, one.entries.values())) for one in snapshot.scan("Account")]
    return [*keys, str(sum(sizes)), *snapshot.state_keys("Account", "a", start="b")]


def run(directory: Path) -> Stats:
    with kvengine.open(directory, durability="os", background="none") as db:
        engine: Engine = db
        greet(db, "alice")
        transfer(db, "a", "b", 10)
        optimistic(db, "a")
        assert visit(db, "page") == 1
        found: bool = db.expire("Account", "a", ttl=60)
        assert found and db.expires_at("Account", "a") is not None
        with db.snapshot() as snapshot:
            look(snapshot)
        values: dict[str, bytes] = db.get_many("Account", "a", ["n"])
        assert values == db.get_all("Account", "a")
        engine.flush()
        engine.compact("Account")
        engine.checkpoint(directory.with_name("copy"))
        assert not engine.verify()
        stats = db.stats()
    report: kvengine.RepairReport = kvengine.repair(directory, directory.with_name("repaired"))
    assert not report.lost
    return stats
