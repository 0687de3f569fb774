"""What each operation costs, counted: a frame, a lock, a system call or a copy more fails here.

Bounds are what is there. Who makes an operation cheaper lowers its bound; who makes it dearer must
raise it, and say why. Frames are functions of kvengine that are entered, without those of the file
system and of comprehensions; Python's own work is not in them.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

import kvengine
from kvengine.fs import calls, disk
from tests.guards.counting import Call, CountingFileSystem, decoded, frames, locks

pytestmark = pytest.mark.plain

VALUE = b"v" * 100
OBJECTS = 600
"""Enough for several blocks: an object in another block is cold."""


class Costs(NamedTuple):
    """What an operation may cost at most. Bytes are those of rows, and of files."""

    frames: int
    locks: dict[str, int]
    files: dict[str, int]
    decoded: int = 0
    """Bytes of rows that are decoded."""


class Operation:
    """The same operation on one object after another: each count needs one that is fresh."""

    def __init__(self, db: kvengine.Engine, fs: CountingFileSystem, make: Callable[[str], Call]):
        self._db, self._fs = db, fs
        self._make = make
        self._keys: Iterator[str] = iter(())

    def over(self, keys: Iterator[str]) -> Operation:
        """Take the objects to work on from ``keys``."""
        self._keys = keys
        return self

    def _next(self) -> Call:
        return self._make(next(self._keys))

    def must_cost(self, most: Costs, patch: pytest.MonkeyPatch) -> None:
        """Count each cost on an object of its own."""
        entered = frames(self._next())
        assert len(entered) <= most.frames, entered
        assert within(locks(self._db, self._next()), most.locks)
        assert within(self._fs.count(self._next()), most.files)
        assert decoded(patch, self._next())[0] <= most.decoded


def within(found: dict[str, int], most: dict[str, int]) -> bool:
    """Whether each count is within its bound; one that is not named may not be there."""
    wrong = {name: count for name, count in found.items() if count > most.get(name, 0)}
    assert not wrong, f"{wrong}, allowed {most}"
    return True


@pytest.fixture
def fill(db: kvengine.Engine) -> kvengine.Engine:
    """Objects `00000` and so on of one entry, and one object that is known in whole: `hot`."""
    for number in range(OBJECTS):
        db.set("S", f"{number:05}", "k", VALUE)
    db.set("S", "hot", "k", VALUE)
    for _ in range(5):
        assert db.get("S", "hot", "k") == VALUE
    assert ("S", "hot") in db._db.memo.known
    return db


def fresh() -> Iterator[str]:
    """Objects that are not there, or not yet."""
    return (f"new{number}" for number in range(100))


def spread() -> Iterator[str]:
    """Objects that are there, each in another block of a segment."""
    return (f"{number:05}" for number in range(10, OBJECTS, 100))


def hot() -> Iterator[str]:
    return iter(["hot"] * 10)


RECORD = 59 + len(VALUE)
"""Bytes of the record of a commit of one entry, names of a few letters: head, names, row."""

WRITE = {"write": 1, "written": RECORD}
ONE_COMMIT = {"commit": 1}
ROW = 17 + len(VALUE)
"""Bytes of the row of one entry."""
BLOCK = {"pread": 1, "read": 4096}


def test_set_of_a_new_object(
    fill: kvengine.Engine, fs: CountingFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A set is one record by one write under one lock; nothing is read and nothing decoded.

    A change is made in a frame, the lock is taken in one, and a third makes a stamp of a commit:
    compiled they cost next to nothing.
    """
    made = Operation(fill, fs, lambda key: lambda: fill.set("S", key, "k", VALUE))
    made.over(fresh()).must_cost(Costs(19, ONE_COMMIT, WRITE), monkeypatch)


def test_set_of_an_object_in_the_memo(
    fill: kvengine.Engine, fs: CountingFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An object that is known in whole stays known, for three frames more."""
    made = Operation(fill, fs, lambda key: lambda: fill.set("S", key, "k", VALUE))
    made.over(hot()).must_cost(Costs(22, ONE_COMMIT, WRITE), monkeypatch)
    assert ("S", "hot") in fill._db.memo.known


def test_commit_of_three_keys(
    fill: kvengine.Engine, fs: CountingFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch pays for each key when it is added, and for the commit once."""

    def make(key: str) -> Call:
        def run() -> None:
            with fill.batch() as batch:
                for state_key in "abc":
                    batch.set("S", key, state_key, VALUE)

        return run

    files = {"write": 1, "written": RECORD + 2 * (len(VALUE) + 4)}
    made = Operation(fill, fs, make).over(fresh())
    made.must_cost(Costs(37, ONE_COMMIT, files), monkeypatch)


def test_hot_get(
    fill: kvengine.Engine, fs: CountingFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is read again and again is read at the speed of a dict: two frames, nothing else."""
    made = Operation(fill, fs, lambda key: lambda: fill.get("S", key, "k"))
    made.over(hot()).must_cost(Costs(2, {}, {}), monkeypatch)


def test_hot_get_all(
    fill: kvengine.Engine, fs: CountingFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All entries of an object that is known in whole are a copy of a dict."""
    made = Operation(fill, fs, lambda key: lambda: fill.get_all("S", key))
    made.over(hot()).must_cost(Costs(2, {}, {}), monkeypatch)


def test_get_from_the_memtable(
    fill: kvengine.Engine, fs: CountingFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An entry in memory is found without a lock; its row alone is decoded."""
    made = Operation(fill, fs, lambda key: lambda: fill.get("S", key, "k"))
    made.over(spread()).must_cost(Costs(12, {}, {}, ROW), monkeypatch)


def test_get_all_from_the_memtable(
    fill: kvengine.Engine, fs: CountingFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An object in memory is decoded once, without a lock."""
    made = Operation(fill, fs, lambda key: lambda: fill.get_all("S", key))
    made.over(spread()).must_cost(Costs(21, {}, {}, ROW), monkeypatch)


def test_cold_get(
    fill: kvengine.Engine, fs: CountingFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cold get reads one block by one call, and decodes one row of it.

    Index, seal and frame are functions of their own: compiled, each is a call in C.
    """
    fill.flush()
    made = Operation(fill, fs, lambda key: lambda: fill.get("S", key, "k"))
    made.over(spread()).must_cost(Costs(38, {"frames": 1}, BLOCK, ROW), monkeypatch)


def test_get_from_a_frame(
    fill: kvengine.Engine, fs: CountingFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A block in memory is searched in place: no lock, no call, one row decoded."""
    fill.flush()
    for key in [*spread(), *spread()]:  # a block that is read again becomes a frame
        fill.get("S", key, "k")
    made = Operation(fill, fs, lambda key: lambda: fill.get("S", key, "k"))
    made.over(spread()).must_cost(Costs(24, {}, {}, ROW), monkeypatch)


def test_cold_get_all(
    fill: kvengine.Engine, fs: CountingFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cold object costs one block, and its row is decoded once."""
    fill.flush()
    made = Operation(fill, fs, lambda key: lambda: fill.get_all("S", key))
    made.over(spread()).must_cost(Costs(43, {"frames": 1}, BLOCK, ROW), monkeypatch)


@pytest.mark.parametrize(("flushed", "most"), [(False, 10), (True, 12)])
def test_get_of_a_missing_object(
    fill: kvengine.Engine,
    fs: CountingFileSystem,
    monkeypatch: pytest.MonkeyPatch,
    flushed: bool,
    most: int,
) -> None:
    """A miss touches no block: the filter answers."""
    if flushed:
        fill.flush()
    made = Operation(fill, fs, lambda key: lambda: fill.get("S", f"00{key}", "k"))
    made.over(fresh()).must_cost(Costs(most, {}, {}), monkeypatch)


@pytest.mark.parametrize(("flushed", "most"), [(False, 11), (True, 12)])
def test_get_of_a_missing_key(
    fill: kvengine.Engine,
    fs: CountingFileSystem,
    monkeypatch: pytest.MonkeyPatch,
    flushed: bool,
    most: int,
) -> None:
    """The filter knows entries too; in memory a row without the name is not decoded."""
    if flushed:
        fill.flush()
    made = Operation(fill, fs, lambda key: lambda: fill.get("S", key, "absent"))
    made.over(spread()).must_cost(Costs(most, {}, {}), monkeypatch)


def test_get_from_a_chain_of_rows(fill: kvengine.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the rows that single commits have left of an object, only the one asked for is decoded."""
    for number in range(7):
        fill.set("S", "00001", f"other{number}", VALUE)
    bytes_decoded, entries = decoded(monkeypatch, lambda: fill.get("S", "00001", "k"))
    assert bytes_decoded <= ROW
    assert entries <= 1


@pytest.mark.parametrize("flushed", [False, True])
def test_scan(fill: kvengine.Engine, fs: CountingFileSystem, flushed: bool) -> None:
    """A scan costs ten frames an object in memory, and half of that in segments.

    Frames are those that the compiled form needs to make an object from its bytes; blocks that
    follow each other are read by one call, and no lock is taken for an object.
    """
    if flushed:
        fill.flush()

    def run() -> None:
        assert sum(1 for _ in fill.scan("S")) == OBJECTS + 1

    entered = frames(run)
    most = 5.1 if flushed else 10.3
    assert len(entered) <= most * OBJECTS, Counter(entered).most_common(9)
    assert within(locks(fill, run), {"commit": 1, "snapshots": 2, "order": 6})
    blocks = sum(segment.block_count for segment in fill._db.view.version)
    found = fs.count(run)
    assert found.get("pread", 0) <= blocks / 4
    assert flushed == (blocks > 20)


# --- sessions


def session_of(db: kvengine.Engine, preload: bool) -> Callable[[str], Call]:
    """A session that reads one entry and sets it."""

    def make(key: str) -> Call:
        box = db.object("S", key, serde="bytes")

        def run() -> None:
            with box.session(preload=preload) as session:
                session.get("k")
                session.set("k", VALUE)

        return run

    return make


@pytest.mark.parametrize(("preload", "most"), [(True, 41), (False, 41)])
def test_session_of_an_object_in_the_memo(
    fill: kvengine.Engine,
    fs: CountingFileSystem,
    monkeypatch: pytest.MonkeyPatch,
    preload: bool,
    most: int,
) -> None:
    """A session of an object that is known in whole costs one lock and one write, lazy or not."""
    made = Operation(fill, fs, session_of(fill, preload)).over(hot())
    made.must_cost(Costs(most, ONE_COMMIT, WRITE), monkeypatch)


def test_eager_session(
    fill: kvengine.Engine, fs: CountingFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An eager session decodes its object once and takes one lock, that of its commit."""
    made = Operation(fill, fs, session_of(fill, True)).over(spread())
    made.must_cost(Costs(76, ONE_COMMIT, WRITE, ROW), monkeypatch)


def test_eager_session_of_a_cold_object(
    fill: kvengine.Engine, fs: CountingFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads one block, once: the commit finds it in memory."""
    fill.flush()
    made = Operation(fill, fs, session_of(fill, True)).over(spread())
    made.must_cost(Costs(108, ONE_COMMIT | {"frames": 1}, WRITE | BLOCK, ROW), monkeypatch)


def test_lazy_session(
    fill: kvengine.Engine, fs: CountingFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lazy session holds the rows of its object, and its commit looks nothing up."""
    made = Operation(fill, fs, session_of(fill, False)).over(spread())
    made.must_cost(Costs(56, ONE_COMMIT, WRITE, ROW), monkeypatch)


def test_lazy_session_of_a_cold_object(
    fill: kvengine.Engine, fs: CountingFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads one block, once."""
    fill.flush()
    made = Operation(fill, fs, session_of(fill, False)).over(spread())
    most = Costs(93, ONE_COMMIT | {"frames": 1}, WRITE | BLOCK, 2 * ROW)
    made.must_cost(most, monkeypatch)


# --- system calls


class CountingOs(ModuleType):
    """The module `os`, with its calls counted by name."""

    def __init__(self, tally: Counter[str]) -> None:
        super().__init__("os")
        self._tally = tally

    def __getattr__(self, name: str) -> Any:
        found = getattr(os, name)
        if not callable(found):
            return found

        def counted(*arguments: Any, **options: Any) -> Any:
            self._tally[name] += 1
            return found(*arguments, **options)

        return counted


def test_each_file_call_is_one_system_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a disk a commit is one `write` and a cold get one `pread`; nothing is asked besides."""
    with kvengine.open(tmp_path / "s", background="none", durability="os") as db:
        for number in range(OBJECTS):
            db.set("S", f"{number:05}", "k", VALUE)
        db.flush()
        db.set("S", "a", "k", VALUE)
        tally: Counter[str] = Counter()
        counting = CountingOs(tally)
        monkeypatch.setattr(disk, "os", counting)
        monkeypatch.setattr(calls, "write", counting.write)
        monkeypatch.setattr(calls, "pread", counting.pread)
        db.set("S", "b", "k", VALUE)
        assert tally == {"write": 1}
        tally.clear()
        assert db.get("S", "00300", "k") == VALUE
        assert tally == {"pread": 1}
        tally.clear()
        assert db.get("S", "00301", "k") == VALUE
        assert db.get("S", "missing", "k") is None
        assert not tally
        monkeypatch.undo()


def test_a_sync_commit_is_one_write_and_one_sync(
    opened: Callable[..., kvengine.Engine], fs: CountingFileSystem
) -> None:
    """Durability costs one sync, and the sync lock."""
    db = opened(durability="sync")
    db.set("S", "a", "k", VALUE)
    found = fs.count(lambda: db.set("S", "b", "k", VALUE))
    assert within(found, WRITE | {"datasync": 1})
    assert within(locks(db, lambda: db.set("S", "c", "k", VALUE)), {"commit": 2, "sync": 1})
