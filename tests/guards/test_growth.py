"""What an operation costs as the database, an object or a run of dead ones grows: by counts.

Costs are counted in lines of Python that run (`steps`: loops that call nothing are seen), in bytes
that are copied (`allocated`: what C code does is seen) and in bytes of rows that are decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import pytest

import kvengine
from kvengine.storage.walk import _MOST_SPANS
from tests.guards.counting import Call, CountingFileSystem, allocated, decoded, frames, steps

pytestmark = [pytest.mark.slow, pytest.mark.plain]

Open = Callable[..., kvengine.Engine]


def put(db: kvengine.Engine, service: str, keys: Iterator[str], size: int = 1000) -> None:
    """Set one entry of each object, so many in a commit."""
    while part := list(islice(keys, size)):
        with db.batch() as batch:
            for key in part:
                batch.set(service, key, "k", b"x" * 100)


# --- a queue that is worked off at its head

QUEUE, TAKEN = 40_000, 20_000


def job(number: int) -> str:
    return f"{number:08d}"


def first(db: kvengine.Engine) -> str:
    return next(iter(db.object_keys("Q", limit=1)))


@pytest.fixture(params=["unflushed", "flushed", "cleared and flushed"])
def queue(request: pytest.FixtureRequest, opened: Open) -> tuple[kvengine.Engine, int]:
    """A queue of which the first half was taken, and the steps to its head before that.

    No compaction removes the dead: what is asked for must be cheap beside them.
    """
    db = opened(tombstone_age=1e6)
    put(db, "Q", map(job, range(QUEUE)))
    if request.param != "unflushed":
        db.flush()
    assert first(db) == job(0)
    before = steps(lambda: first(db))
    for number in range(TAKEN):
        db.clear_all("Q", job(number))
    if request.param == "cleared and flushed":
        db.flush()
    assert first(db) == job(TAKEN)  # this one crosses the dead
    return db, before


def test_the_head_of_a_queue_costs_the_same(queue: tuple[kvengine.Engine, int]) -> None:
    """The first live object costs about the same however many were taken before it."""
    db, before = queue
    assert steps(lambda: first(db)) <= 3 * before
    assert len(frames(lambda: first(db))) <= 200


def test_working_it_off_costs_the_same(queue: tuple[kvengine.Engine, int]) -> None:
    """Each further job that is taken costs the same, with the few dead that no walk has noted."""
    db, before = queue
    costs = []

    def take() -> None:
        db.clear_all("Q", first(db))

    for _ in range(60):
        costs.append(steps(take))
    assert max(costs) <= 8 * before + 250


def test_what_dies_again_leaves_no_gap(queue: tuple[kvengine.Engine, int]) -> None:
    """Objects that come to life among the dead and die again: the next walks cost what they did."""
    db, before = queue
    for number in range(0, TAKEN, TAKEN // (_MOST_SPANS + 20)):
        db.set("Q", job(number), "k", b"again")
        assert first(db) == job(number)
        db.clear_all("Q", job(number))
        assert first(db) == job(TAKEN)
    assert steps(lambda: first(db)) <= 3 * before


def test_a_walk_during_a_commit_does_not_hide_it(opened: Open, fs: CountingFileSystem) -> None:
    """A walk that begins while a commit is being written remembers no span over its objects."""
    db = opened()
    put(db, "Q", map(job, range(200)))
    for number in range(1, 199):
        db.clear_all("Q", job(number))
    walk = db.object_keys("Q")
    wal = db._db.wal
    assert wal is not None
    file: Any = wal._file
    write = file.write

    def while_writing(data: Any) -> None:
        assert next(walk) == job(0)
        write(data)

    file.write = while_writing
    db.set("Q", job(100), "k", b"alive")
    file.write = write
    assert list(walk) == [job(199)]  # as of the moment before the commit
    assert list(db.object_keys("Q")) == [job(0), job(100), job(199)]


# --- walks that are cut short


@pytest.mark.parametrize("options", [{}, {"reverse": True}, {"prefix": "02"}])
def test_a_short_walk_looks_at_little(opened: Open, options: dict[str, Any]) -> None:
    """Ten names among 5,000 that are not flushed: it looks at tens of names."""
    db = opened()
    put(db, "W", (f"{number:05d}" for number in range(5000)))
    list(db.object_keys("W", limit=1))  # takes the names in
    for limit, most in ((10, 20), (None, 40)):
        walk: Any = {"start": "02500", "limit": limit, **options}
        entered = frames(lambda walk=walk: list(islice(db.object_keys("W", **walk), 10)))
        assert entered.count("Memtable.find") <= most


def test_a_scan_that_is_cut_short_looks_at_little(opened: Open) -> None:
    """Who takes ten objects of a scan pays for tens."""
    db = opened()
    put(db, "W", (f"{number:05d}" for number in range(5000)))

    def ten() -> None:
        scan: Any = db.scan("W")
        assert len(list(islice(scan, 10))) == 10
        scan.close()

    ten()
    assert frames(ten).count("Memtable.find") <= 40


@pytest.mark.parametrize("flushed", [False, True])
def test_services_are_found_by_seeks(opened: Open, fs: CountingFileSystem, flushed: bool) -> None:
    """200 services cost 200 seeks of bounded work, however many objects each has."""
    counts = {}
    for objects in (10, 100):
        db = opened()
        for service in range(200):
            put(db, f"s{service:03}", map(str, range(objects)))
        if flushed:
            db.flush()
        assert len(db.services()) == 200
        entered = frames(db.services)
        assert entered.count("live_names") <= 2 * 200 + 2
        assert entered.count("Memtable.find") <= 5 * 200
        # A seek keeps its block, but for the few that share a slot in the memory of reads.
        assert fs.count(db.services).get("pread", 0) <= 10
        counts[objects] = steps(db.services)
        if flushed:
            assert len(db._db.frames) <= 2 * 200 + 1
    assert counts[100] <= 1.5 * counts[10]


# --- objects of many entries

SMALL = 10
SIZES = (16_000, 100_000)


def box(size: int) -> str:
    return f"of {size}"


@pytest.fixture(scope="module", params=["memory", "flushed", "changed since"])
def boxes(request: pytest.FixtureRequest) -> Iterator[tuple[kvengine.Engine, CountingFileSystem]]:
    """One object of each size. None is kept in the memo, which is for small objects only."""
    from kvengine.fs.memory import MemoryFileSystem
    from tests.guards.conftest import TickingClock

    fs = CountingFileSystem(MemoryFileSystem())
    options: Any = {"clock": TickingClock(), "background": "none", "durability": "os"}
    with kvengine.open("/db", fs=fs, memtable_size=1 << 30, **options) as db:
        for size in (SMALL, *SIZES):
            with db.batch() as batch:
                for number in range(size):
                    batch.set("S", box(size), f"k{number:06d}", b"x" * 50)
        if request.param != "memory":
            db.flush()
        if request.param == "changed since":
            for size in (SMALL, *SIZES):
                for number in range(7):
                    db.set("S", box(size), f"k{number:06d}", b"y" * 50)
        db._db.memo.capacity = 0
        yield db, fs


def lazy(db: kvengine.Engine, key: str) -> Any:
    return db.object("S", key, serde="bytes").session(preload=False)


def lazy_session(db: kvengine.Engine, key: str) -> None:
    """A lazy session that reads one entry and sets it."""
    with lazy(db, key) as session:
        session.get("k000003")
        session.set("k000003", b"y")


def commits_in_mid_session(db: kvengine.Engine, key: str) -> None:
    """Two commits in one lazy session, the second of which clears all that the session knows."""
    with lazy(db, key) as session:
        session.set("k000003", b"y")
        session.commit()
        session.clear("k000003")
        session.commit()
        assert session.version()


def first_key_of_a_session(db: kvengine.Engine, key: str) -> None:
    with lazy(db, key) as session:
        session.clear("k000000")
        assert session.state_keys(limit=1) == ["k000001"]
        session.set("k000000", b"y")


OPERATIONS: dict[str, Callable[[kvengine.Engine, str], object]] = {
    "lazy session": lazy_session,
    "commit() in mid-session": commits_in_mid_session,
    "state_keys(limit=1) in a session": first_key_of_a_session,
    "state_keys(limit=1)": lambda db, key: db.state_keys("S", key, limit=1),
    "state_keys(start, limit=1)": lambda db, key: db.state_keys("S", key, start="k000004", limit=1),
    "get": lambda db, key: db.get("S", key, "k000005"),
    "get of a missing key": lambda db, key: db.get("S", key, "k000005x"),
    "get_many": lambda db, key: db.get_many("S", key, ("k000001", "k000009")),
    "load(max_bytes)": lambda db, key: db.load("S", key, max_bytes=200),
    "set": lambda db, key: db.set("S", key, "k000005", b"z"),
    "clear": lambda db, key: db.clear("S", key, "k000007"),
    "version": lambda db, key: db.version("S", key),
    "expires_at": lambda db, key: db.expires_at("S", key),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_it_costs_does_not_grow_with_the_object(
    boxes: tuple[kvengine.Engine, CountingFileSystem],
    operation: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On an object of 16,000 or 100,000 entries it costs at most about three times what it costs
    on one of ten: in steps, in bytes that are copied, and in entries that are decoded."""
    db, fs = boxes

    def of(size: int) -> Call:
        return lambda: OPERATIONS[operation](db, box(size))

    for size in (SMALL, *SIZES):
        for _ in range(2):
            of(size)()  # its blocks are in memory from now on
    base_frames, base_steps = len(frames(of(SMALL))), steps(of(SMALL))
    base_bytes = allocated(of(SMALL))
    for size in SIZES:
        assert len(frames(of(size))) <= 3 * base_frames + 60
        assert steps(of(size)) <= 3 * base_steps + 150
        assert allocated(of(size)) <= 3 * base_bytes + 20_000
        assert fs.count(of(size)).get("read", 0) == 0
        # Decoded are the rows of single commits that a state keeps, and nothing of the large row.
        bytes_decoded, entries = decoded(monkeypatch, of(size))
        assert bytes_decoded <= 6000
        assert entries <= 100


@pytest.mark.parametrize("size", SIZES)
def test_a_commit_to_a_large_object_folds_little(opened: Open, size: int) -> None:
    """A commit to an object of n entries costs O(log n) on average: 200 of them decode few."""
    db = opened()
    with db.batch() as batch:
        for number in range(size):
            batch.set("S", "o", f"k{number:06d}", b"x")
    with pytest.MonkeyPatch.context() as patch:

        def run() -> None:
            for number in range(200):
                db.set("S", "o", f"k{number:06d}", b"y")

        _, entries = decoded(patch, run)
    assert entries <= 200 * 10
    state = db._db.view.active.states["S", "o"]
    assert len(state.rows) <= 20


def test_cold_reads_of_a_large_object_read_one_chunk(opened: Open, fs: CountingFileSystem) -> None:
    """A get of a large object that is in no frame reads its head and one chunk."""
    db = opened(cache_size=0)
    with db.batch() as batch:
        for number in range(100_000):
            batch.set("S", "o", f"k{number:06d}", b"x" * 50)
    db.flush()
    chunk = db._db.options.chunk_size
    found = fs.count(lambda: db.get("S", "o", "k050000"))
    assert found["pread"] == 2
    assert found["read"] <= 2 * chunk
    found = fs.count(lambda: db.state_keys("S", "o", start="k050000", limit=3))
    assert found["pread"] == 2
