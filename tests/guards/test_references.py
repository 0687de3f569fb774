"""No verb keeps what it has made: 100,000 uses of each leave as many blocks of memory as before.

A reference that compiled code forgets to give back keeps an object alive, and shows here.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator

import pytest

import kvengine

USES = 100_000

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[kvengine.Engine]:
    """A database with objects in a segment, in frames, in the memo and in the memtable."""
    with kvengine.open(
        tmp_path_factory.mktemp("references") / "db",
        durability="os",
        background="none",
        live_access=False,
        memtable_size=1 << 40,
    ) as db:
        for number in range(50):
            for name in "abc":
                db.set("s", f"{number:02}", name, b"v" * 100)
        db.set("s", "large", "v", b"v" * 100_000)
        db.expire("s", "07", ttl=86_400)
        db.flush()
        db.set("s", "08", "d", b"new")
        yield db


def write_batch(db: kvengine.Engine) -> None:
    with db.batch() as batch:
        batch.set("s", "10", "a", b"1")
        batch.set("s", "11", "a", b"1")
        batch.clear("s", "11", "b")


def conflict(db: kvengine.Engine) -> None:
    batch = kvengine.Batch()
    batch.set("s", "10", "a", b"1")
    with pytest.raises(kvengine.VersionConflict):
        db.write(batch, expect={("s", "10"): 1})


def eager(db: kvengine.Engine) -> None:
    with db.object("s", "12", serde="bytes").session() as session:
        session.set("a", session.get("a"))


def lazy(db: kvengine.Engine) -> None:
    with db.object("s", "13", serde="bytes").session(preload=False) as session:
        session.set("a", session.get("b"))


def read_of_a_snapshot(db: kvengine.Engine) -> None:
    with db.snapshot() as snapshot:
        snapshot.get("s", "14", "a")


def refused(db: kvengine.Engine) -> None:
    with pytest.raises(TypeError):
        db.set("s", "k", "a", "text")  # type: ignore[arg-type]


VERBS: dict[str, tuple[Callable[[kvengine.Engine], object], int]] = {
    "get of an object in use": (lambda db: db.get("s", "00", "a"), 1),
    "get of an object that expires": (lambda db: db.get("s", "07", "a"), 1),
    "get from the memtable": (lambda db: db.get("s", "08", "d"), 1),
    "get of a missing object": (lambda db: db.get("s", "none", "a"), 1),
    "get of a missing key": (lambda db: db.get("s", "09", "none"), 1),
    "get of a large value": (lambda db: db.get("s", "large", "v"), 10),
    "get_all": (lambda db: db.get_all("s", "01"), 1),
    "get_many": (lambda db: db.get_many("s", "01", ["a", "none"]), 1),
    "load": (lambda db: db.load("s", "02"), 1),
    "state_keys": (lambda db: db.state_keys("s", "03"), 1),
    "version": (lambda db: db.version("s", "04"), 1),
    "expires_at": (lambda db: db.expires_at("s", "07"), 1),
    "object_keys": (lambda db: list(db.object_keys("s", limit=3)), 10),
    "scan": (lambda db: list(db.scan("s")), 100),
    "services": (lambda db: db.services(), 10),
    "set": (lambda db: db.set("s", "05", "a", b"value"), 1),
    "clear": (lambda db: db.clear("s", "05", "b"), 1),
    "clear_all": (lambda db: db.clear_all("s", "06"), 1),
    "expire": (lambda db: db.expire("s", "15", ttl=1000), 10),
    "a batch": (write_batch, 1),
    "a conflict": (conflict, 10),
    "an eager session": (eager, 1),
    "a lazy session": (lazy, 1),
    "a read of a snapshot": (read_of_a_snapshot, 1),
    "a value of a wrong type": (refused, 10),
}
"""Each verb, and by how much it is too slow for 100,000 uses."""


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_keeps_nothing(db: kvengine.Engine, name: str) -> None:
    verb, slower = VERBS[name]

    def blocks_after(uses: int) -> int:
        for _ in range(uses):
            verb(db)
        gc.collect()
        return sys.getallocatedblocks()

    blocks_after(2_000)
    before = blocks_after(2_000)
    # A leak of one object in a hundred uses would show; caches of names fill up meanwhile.
    assert blocks_after(USES // slower) - before < USES // slower // 100
