"""The chain of WAL files: each header names the file before it, across any number of reopens."""

from __future__ import annotations

import kvengine
from kvengine.fs.memory import MemoryFileSystem


def open_quiet(fs: MemoryFileSystem) -> kvengine.Engine:
    """Without background work, so that nothing flushes what the WAL files hold."""
    return kvengine.open("/db", fs=fs, background="none")


def test_reopening_without_writing_keeps_the_chain_of_wals() -> None:
    """A database that was only opened and closed opens again, however often.

    Opened a second time it has two WAL files, the one with its commits and an
    empty one. The third open dropped the empty one, and its own WAL then named
    no predecessor: the fourth open refused the directory as damaged ("follows
    WAL 0, not 2"), though every byte was as written.
    """
    fs = MemoryFileSystem()
    with open_quiet(fs) as db:
        db.set("s", "k", "n", b"1")
    for _ in range(6):
        with open_quiet(fs) as db:
            assert db.get("s", "k", "n") == b"1"
            assert db.stats().frozen_memtables == 1
    with open_quiet(fs) as db:
        assert db.verify() == []


def test_an_empty_wal_between_two_others_keeps_the_chain() -> None:
    """A checkpoint of an idle database leaves an empty WAL amid the chain; it opens all the same.

    A checkpoint seals the WAL in use even where it holds no commit. Recovery
    passed it over, and the WAL behind it then seemed to follow the wrong one.
    """
    fs = MemoryFileSystem()
    with open_quiet(fs) as db:
        db.set("s", "k", "n", b"1")
    with open_quiet(fs) as db:
        db.checkpoint("/copy")
        db.set("s", "k", "n", b"2")
    for _ in range(3):
        with open_quiet(fs) as db:
            assert db.get("s", "k", "n") == b"2"
    with open_quiet(fs) as db:
        db.flush()
        assert db.stats().frozen_memtables == 0
    with open_quiet(fs) as db:
        assert db.get("s", "k", "n") == b"2"
    with kvengine.open("/copy", fs=fs, background="none") as copy:
        assert copy.get("s", "k", "n") == b"1"
