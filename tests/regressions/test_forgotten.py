"""Engines that nobody closed: a notebook's cell is run again, a reloader imports the module again.

The name is bound to a new engine, and the old one is gone. Its threads kept it alive for the life
of the process, and with it the lock: the second open failed, and named a process that did nothing
wrong. Now it is collected, closed, and reported.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest

import kvengine
from kvengine import DatabaseLocked


def forget(path: Path) -> list[str]:
    """Open a database, write, and drop the engine; return what was warned of."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        db = kvengine.open(path)
        db.set("S", "k", "v", b"1")
        del db
        gc.collect()
    return [str(one.message) for one in seen if one.category is ResourceWarning]


def threads() -> set[str]:
    gc.collect()  # other tests forget engines too
    return {one.name for one in threading.enumerate() if one.name.startswith("kvengine")}


def test_a_forgotten_engine_gives_its_directory_back(tmp_path: Path) -> None:
    before = threads()
    (warned,) = forget(tmp_path / "db")
    assert str(tmp_path / "db") in warned
    assert "with" in warned
    with kvengine.open(tmp_path / "db") as db:
        assert db.get("S", "k", "v") == b"1"
    assert threads() == before


def test_what_was_made_of_an_engine_keeps_it(tmp_path: Path) -> None:
    """An object, a snapshot, a walk or a method is enough: it may still be used."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        db = kvengine.open(tmp_path / "db")
        db.set("S", "k", "v", b"1")
        db.object("S", "j").set("n", 1)
        kept = [db.object("S", "k"), db.snapshot(), db.scan("S"), db.get]
        close = db.close
        del db
        gc.collect()
        thing, snapshot, walk, get = kept
        assert thing.get("v", serde="bytes") == b"1"  # type: ignore[union-attr]
        assert snapshot.get("S", "k", "v") == b"1"  # type: ignore[union-attr]
        assert next(walk).key == "j"  # type: ignore[call-overload]
        assert get("S", "k", "v") == b"1"  # type: ignore[operator]
        snapshot.close()  # type: ignore[union-attr]
        close()


def made(path: Path) -> kvengine.Engine:
    """An engine that nobody but the caller has."""
    db = kvengine.open(path)
    with db.batch() as batch:
        for n in range(3000):
            batch.set("S", f"k{n:04}", "n", b"1")
    return db


def test_a_walk_keeps_the_engine_that_nobody_else_has(tmp_path: Path) -> None:
    """It was closed beneath its own walk as soon as the collector ran."""
    walk = made(tmp_path / "db").scan("S")
    seen = 0
    for _ in walk:
        seen += 1
        if seen == 1500:
            gc.collect()
    assert seen == 3000
    del walk
    with pytest.warns(ResourceWarning):
        gc.collect()


def test_a_batch_keeps_the_engine_that_nobody_else_has(tmp_path: Path) -> None:
    with made(tmp_path / "db").batch() as batch:
        gc.collect()
        batch.set("S", "k", "n", b"2")
    assert batch.stamp
    del batch
    with pytest.warns(ResourceWarning):
        gc.collect()
    with kvengine.open(tmp_path / "db") as db:
        assert db.get("S", "k", "n") == b"2"


def test_a_closed_engine_is_not_reported(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        db = kvengine.open(tmp_path / "db")
        db.close()
        del db
        gc.collect()


def test_the_collector_may_run_in_a_thread_of_the_database(tmp_path: Path) -> None:
    """There the close waits for that very thread; so the thread does not wait for the close."""
    done = threading.Event()

    def collect() -> None:
        (warned,) = forget(tmp_path / "db")
        assert warned
        done.set()

    threading.Thread(target=collect, name="kvengine-like", daemon=True).start()
    assert done.wait(20)
    for _ in range(200):
        try:
            kvengine.open(tmp_path / "db").close()
            break
        except DatabaseLocked:
            threading.Event().wait(0.05)
    else:
        pytest.fail("the directory stays locked")


def test_the_end_of_the_interpreter_says_nothing(tmp_path: Path) -> None:
    """A script without a `with` loses nothing, and its last lines are its own."""
    script = "import kvengine, sys; db = kvengine.open(sys.argv[1]); db.set('S', 'k', 'v', b'1')"
    ended = subprocess.run(
        [sys.executable, "-W", "always", "-c", script, str(tmp_path / "db")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stderr == ""
    with kvengine.open(tmp_path / "db") as db:
        assert db.get("S", "k", "v") == b"1"


def test_a_second_open_names_this_process(tmp_path: Path) -> None:
    with kvengine.open(tmp_path / "db"), pytest.raises(DatabaseLocked, match="in this process"):
        kvengine.open(tmp_path / "db")
    assert "process 1;" in str(DatabaseLocked("x", 1))
    assert str(os.getpid()) in str(DatabaseLocked("x", os.getpid()))


def test_an_open_that_fails_half_way_gives_everything_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock was taken and threads were started, then the machine had no memory."""
    before = threads()

    def fail(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr("kvengine.share.live_access.serve", fail)
        with pytest.raises(MemoryError):
            kvengine.open(tmp_path / "db")
    assert threads() == before
    kvengine.open(tmp_path / "db").close()
